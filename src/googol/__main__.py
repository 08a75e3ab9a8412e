"""``python -m googol`` is the program ``googol``."""

import sys

from googol.cli import main

sys.exit(main())
