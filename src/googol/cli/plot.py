"""`googol plot`: pictures of what finished runs have learned."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, UseAppendAction, arg

from googol.cli import arguments as shared
from googol.data import unknown
from googol.experiments import open_run
from googol.training import names_as_they_are, to_png, write_file
from googol.training.figures import prior as draw_prior

HELP = """\
usage: googol plot {PLOTS} RUN --out PICTURE

Draw what finished runs have learned.

plots:
  modes   images while the indices of a tensor ring's lattice change, some at a time, from one sample to another
  prior   the density of the learned prior over pairs of latent variables, with its components and codes
  latent  the latent spaces of runs with two latents side by side, with the pseudo-inputs or components of their priors

Examples:
  googol plot modes RUN --out modes.png
  googol plot prior RUN --pair 0,1 --pair 2,5 --out prior.png
  googol plot latent RUN RUN2 --out latent.png"""


@dataclass(frozen=True, kw_only=True)
class _Plot:
    out: Path
    """picture to write (.png)"""
    seed: int = 0
    """seed of what is drawn at random"""
    overwrite: bool = False
    """replace the file if it exists"""

    def run(self) -> None:
        """Draws, and writes the file."""
        shared.check_output(self.out, ".png", overwrite=self.overwrite)
        write_file(self.out, self._content())
        shared.note(f"written to {self.out}")

    def _content(self) -> bytes:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Modes(_Plot):
    """Images while the indices of a tensor ring's lattice change, some at a time, from one sample to another."""

    folder: shared.RunFolder
    """folder of a finished run"""
    rows: int = 8
    """pairs of samples"""
    columns: int = 12
    """images from the one to the other; one more than there are latents, and one index changes at a time"""

    def _content(self) -> bytes:
        from googol.experiments.hopping_figure import hopping_figure

        content = io.BytesIO()
        picture = hopping_figure(open_run(self.folder), rows=self.rows, columns=self.columns, seed=self.seed)
        picture.save(content, "png", optimize=True)
        return content.getvalue()


@dataclass(frozen=True, kw_only=True)
class _PlotOfCodes(_Plot):
    data: shared.Text = None
    """name or path of the images whose codes are drawn; by default the data that each run was trained on"""
    split: str = "test"
    """which of them: train, valid or test"""
    data_dir: shared.DataDir = None
    """folder of data files"""


@dataclass(frozen=True, kw_only=True)
class Prior(_PlotOfCodes):
    """The density of the learned prior over pairs of latent variables, with its components and codes."""

    folder: shared.RunFolder
    """folder of a finished run"""
    pair: Annotated[UseAppendAction[list[str]], arg(metavar="I,J")] = field(default_factory=list)
    """numbers of two latents; repeat it for several pairs. By default those that tell most about images, or of a model
    without codes of images those that depend most on each other"""

    def _content(self) -> bytes:
        from googol.metrics import evaluating

        run = open_run(self.folder)
        run.require_images("a picture of the prior of codes")
        images = run.load(self.data, self.split, data_dir=self.data_dir)
        with evaluating(run.model, seed=self.seed), names_as_they_are():
            figure = draw_prior(run.model, images, [_pair(text) for text in self.pair] or None)
            if figure is None:
                raise ValueError(f"the prior of the run in {self.folder} has no density over pairs of latents to draw")
            return to_png(figure)


def _pair(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+),(\d+)", text)
    if match is None:
        raise ValueError(f"--pair must be the numbers of two latents such as 0,1, got {text}")
    return int(match[1]), int(match[2])


@dataclass(frozen=True, kw_only=True)
class Latent(_PlotOfCodes):
    """Latent spaces of runs with two latents side by side: codes by label, and what their priors are made of."""

    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN")]
    """folders of finished runs"""

    def _content(self) -> bytes:
        from googol.experiments.latent_figure import latent_figure

        runs = [open_run(folder) for folder in self.folders]
        data = [run.load(self.data, self.split, data_dir=self.data_dir) for run in runs]
        with names_as_they_are():
            return to_png(latent_figure(runs, data, seed=self.seed))


PLOTS = {"modes": Modes, "prior": Prior, "latent": Latent}


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(HELP.format(PLOTS=f"{{{','.join(PLOTS)}}}"))
        raise SystemExit(0)
    if name not in PLOTS:
        raise ValueError(f"{unknown('plot', name, PLOTS)}; see googol plot --help")
    return shared.parse(PLOTS[name], rest, prog=f"googol plot {name}", description=PLOTS[name].__doc__ or "")
