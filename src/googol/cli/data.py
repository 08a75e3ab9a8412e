"""`googol data`: list or download data sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import Positional, arg, subcommand

from googol.cli import arguments as shared
from googol.data import available, get

DESCRIPTION = """\
List or download data sets. They go to --data-dir, $GOOGOL_DATA or the platform's cache folder.

Examples:
  googol data list
  googol data get mnist

Your own data need no name: give --data the path of an .npz file or a folder of images, or of a table (.csv)."""


@dataclass(frozen=True)
class List:
    """List the data sets that have a name, and where they are."""

    data_dir: shared.DataDir = None
    """folder of data files"""

    def run(self) -> None:
        """Prints a line for each."""
        for entry in available(data_dir=self.data_dir):
            remark = f" ({entry.remark})" if entry.remark else ""
            print(f"{entry.name:<14} {entry.description}\n{'':<14} {entry.path or 'not here yet'}{remark}")


@dataclass(frozen=True)
class Get:
    """Download a data set and check it; files that are there are used as they are."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """one of those that googol data list lists"""
    data_dir: shared.DataDir = None
    """where to"""

    def run(self) -> None:
        """Downloads, and prints where it is."""
        before = {entry.name: entry for entry in available(data_dir=self.data_dir)}.get(self.name)
        print(get(self.name, data_dir=self.data_dir))
        if before is not None and before.path is not None and before.remark:
            shared.note(
                f"{self.name}: {before.remark}; once these files are moved away, the same command brings the published "
                "ones, or says where they are to be had"
            )


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    command = Annotated[List, subcommand("list")] | Annotated[Get, subcommand("get")]
    return shared.parse(command, arguments, prog="googol data", description=DESCRIPTION)
