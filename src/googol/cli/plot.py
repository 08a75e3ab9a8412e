"""`googol plot`: pictures of what finished runs have learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from googol.cli import arguments as shared
from googol.data import SPLITS, unknown
from googol.experiments import open_run
from googol.experiments.latent_figure import latent_figure
from googol.training import to_png, write_file

DESCRIPTION = """\
Draw what finished runs have learned.

latent: the latent spaces of runs with two latents side by side, codes by label, and over them the pseudo-inputs or the
components of the prior.

Example:
  googol plot latent RUN RUN2 --out latent.png"""


@dataclass(frozen=True)
class Latent:
    """What to draw."""

    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN")]
    """folders of finished runs"""
    out: Path
    """picture to write (.png)"""
    data: shared.Text = None
    """name or path of the images; by default the data that each run was trained on"""
    split: str = "test"
    """which of them: train, valid or test"""
    seed: int = 0
    """seed of the codes"""
    overwrite: bool = False
    """replace the file if it exists"""
    data_dir: shared.DataDir = None
    """folder of data files"""

    def run(self) -> None:
        """Draws, and writes the file."""
        if self.split not in SPLITS:
            raise ValueError(unknown("split", self.split, SPLITS))
        if self.out.suffix != ".png":
            raise ValueError(f"--out must end with .png, got {self.out}")
        shared.refuse_existing(self.out, overwrite=self.overwrite)
        runs = [open_run(folder) for folder in self.folders]
        data = [run.load(self.data, self.split, data_dir=self.data_dir) for run in runs]
        write_file(self.out, to_png(latent_figure(runs, data, seed=self.seed)))
        shared.note(f"written to {self.out}")


PLOTS = {"latent": Latent}


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        rest, name = ["--help"], "latent"
    if name not in PLOTS:
        raise ValueError(f"{unknown('plot', name, PLOTS)}; see googol plot --help")
    return shared.parse(PLOTS[name], rest, prog=f"googol plot {name}", description=DESCRIPTION)
