"""`googol explore`: the web page of a run."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

from googol.cli import arguments as shared
from googol.experiments import open_run
from googol.explorer import serve

DESCRIPTION = """\
Explore a model in the browser: choose conditions and see what it draws and what goes with them, look at single
pictures, and change their conditions or those of your own pictures.

Examples:
  googol explore RUN
  googol explore RUN --port 8000
  googol explore RUN --host 0.0.0.0

Whoever reaches the address can use the page: by default that is only this machine."""


@dataclass(frozen=True)
class Explore:
    """What to show, and where."""

    folder: shared.RunFolder
    """folder of a finished run"""
    host: str = "127.0.0.1"
    """address to listen on; 0.0.0.0 for all of this machine"""
    port: int = 7860
    """port to listen on; 0 for any that is free"""

    def run(self) -> None:
        """Serves the page until Ctrl-C."""
        # To be stopped in another way is no reason to leave the visitors' files behind.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        serve(open_run(self.folder), host=self.host, port=self.port)


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    return shared.parse(Explore, arguments, prog="googol explore", description=DESCRIPTION)
