"""How a wrong name is answered: with the names that exist, and the nearest of them."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["unknown"]


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The one-line message for a name that does not exist.

    Args:
        what: What it should be the name of.
        name: The name.
        known: Those that there are.

    Example:
        >>> unknown("data set", "mnits", ["digits", "mnist"])
        "unknown data set 'mnits': expected one of 'digits', 'mnist'; did you mean 'mnist'?"
        >>> unknown("value of digit", "x", "012")
        "unknown value of digit 'x': expected one of '0', '1', '2'"
    """
    known = list(known)
    if not known:
        return f"unknown {what} {name!r}: there are none"
    # The upper and lower case of a name is what people get wrong most often.
    by_lower = {k.lower(): k for k in known}
    nearest = get_close_matches(name.lower(), by_lower, n=1)
    hint = f"; did you mean {by_lower[nearest[0]]!r}?" if nearest else ""
    shown = ", ".join(map(repr, known[:50])) + (f", … ({len(known)} in all)" if len(known) > 50 else "")
    return f"unknown {what} {name!r}: expected one of {shown}{hint}"
