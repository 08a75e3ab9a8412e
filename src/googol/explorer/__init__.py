"""The web page of a run: choose conditions, see pictures, what goes with the choice, and change pictures."""

from googol.explorer.server import serve
from googol.explorer.view import Changed, Explorer, Portrait, View

__all__ = ["Changed", "Explorer", "Portrait", "View", "serve"]
