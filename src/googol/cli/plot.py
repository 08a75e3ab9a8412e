"""`googol plot`: pictures of what a finished run has learned."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from googol.cli import arguments as shared
from googol.data import unknown
from googol.experiments import open_run
from googol.training import STANDARD_FIGURES, to_png, write_file

DESCRIPTION = """\
Draw what a finished run has learned.

Examples:
  googol plot modes RUN --out modes.png
  googol plot prior RUN --out prior.png"""


@dataclass(frozen=True)
class _Plot:
    folder: shared.RunFolder
    """folder of a finished run"""
    out: Path
    """picture to write (.png)"""
    seed: int = 0
    """seed of what is drawn at random"""
    overwrite: bool = False
    """replace the file if it exists"""

    def run(self) -> None:
        """Draws, and writes the file."""
        if self.out.suffix != ".png":
            raise ValueError(f"--out must end with .png, got {self.out}")
        shared.refuse_existing(self.out, overwrite=self.overwrite)
        write_file(self.out, self.content())
        shared.note(f"written to {self.out}")

    def content(self) -> bytes:
        """The content of the file."""
        raise NotImplementedError


@dataclass(frozen=True)
class Modes(_Plot):
    """Images while the indices of a tensor ring's lattice change, some at a time, from one sample to another."""

    rows: int = 8
    """pairs of samples"""
    columns: int = 12
    """images from the one to the other"""

    def content(self) -> bytes:
        from googol.experiments.hopping_figure import hopping_figure

        content = io.BytesIO()
        picture = hopping_figure(open_run(self.folder), rows=self.rows, columns=self.columns, seed=self.seed)
        picture.save(content, "png", optimize=True)
        return content.getvalue()


@dataclass(frozen=True)
class Prior(_Plot):
    """The density of the learned prior over pairs of latent variables, with its components and codes."""

    data: shared.Text = None
    """name or path of the images whose codes are drawn; by default the data that the run was trained on"""
    data_dir: shared.DataDir = None
    """folder of data files"""

    def content(self) -> bytes:
        from googol.metrics import evaluating

        run = open_run(self.folder)
        images = run.load(self.data, "test", data_dir=self.data_dir)
        with evaluating(run.model, seed=self.seed):
            figure = STANDARD_FIGURES["prior"](run.model, images)
        if figure is None:
            raise ValueError(
                f"the prior of the run in {self.folder} has no density over pairs of latent variables to draw"
            )
        return to_png(figure)


PLOTS = {"modes": Modes, "prior": Prior}


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(f"usage: googol plot {{{','.join(PLOTS)}}} RUN --out PICTURE\n\n{DESCRIPTION}\n")
        raise SystemExit(0)
    if name not in PLOTS:
        raise ValueError(f"{unknown('plot', name, PLOTS)}; see googol plot --help")
    return shared.parse(PLOTS[name], rest, prog=f"googol plot {name}", description=PLOTS[name].__doc__ or DESCRIPTION)
