"""What all tests share. Being here also lets them import ``oracles``, the file beside this one."""

# It looks at all builtins when it is imported, and stumbles over a list that a doctest left in `_`.
import tyro  # noqa: F401
from hypothesis import settings

# The same examples on every machine, and no time limits on machines that are shared.
settings.register_profile("googol", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("googol")
