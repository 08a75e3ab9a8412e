"""`googol sample`: generate images or rows of a table, under any conditions or none."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor
from tyro.conf import UseAppendAction, arg

from googol.cli import arguments as shared
from googol.data import Given, decoded, packed, parse_given, unknown
from googol.experiments import Run, open_run
from googol.experiments.questions import is_rare
from googol.metrics import evaluating
from googol.models import JointVAE
from googol.training import grid_png, write_file

DESCRIPTION = """\
Generate images, or rows of a table, under any conditions or none; those that are left open are drawn too.

Examples:
  googol sample RUN --out grid.png
  googol sample RUN --given digit=3 -n 64 --out threes.png
  googol sample RUN --given Smiling=1 --given Eyeglasses=1 --out faces.png
  googol sample RUN --given age=30..40 --given hair=brown,grey --out people.png
  googol sample RUN --each digit -n 10 --out table.png
  googol sample RUN -n 10000 --out images.npz
  googol sample TABLE_RUN --given cultivar=2 --given alcohol=13.. -n 100 --out rows.csv"""


@dataclass(frozen=True)
class Sample:
    """What to generate."""

    folder: shared.RunFolder
    """folder of a finished run"""
    out: Path
    """picture to write (.png), or the images and their conditions as arrays (.npz), which other commands read as the
    split test; rows of a table as a table (.csv)"""
    given: Annotated[UseAppendAction[list[str]], arg(metavar="NAME=VALUE")] = field(default_factory=list)
    """a condition: a value, a range such as 30..40 or 30.., or a set such as red,blue; repeat it for several"""
    each: shared.Text = None
    """name of a condition, to generate n images (or rows of a table) for each of its values, a row each"""
    n: Annotated[int, arg(aliases=["-n"])] = 64
    """number of images, or of rows of a table"""
    temperature: float = 1.0
    """of a joint-vae: what the distances of codes from the means of their components are multiplied by; below 1 for
    typical images; conditions are drawn as they are"""
    seed: int = 0
    """seed of the images"""
    overwrite: bool = False
    """replace the file if it exists"""

    def run(self) -> None:
        """Generates the images and writes the file."""
        if not 1 <= self.n < 2**31:
            raise ValueError(f"-n must be from 1 to {2**31 - 1}, got {self.n}")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"--temperature must be at least 0 and finite, got {self.temperature}")
        shared.check_output(self.out, ".png", ".npz", ".csv", overwrite=self.overwrite)
        run = open_run(self.folder)
        if (self.out.suffix == ".csv") != run.is_table:
            what, suffix = ("rows of a table", ".csv") if run.is_table else ("images", ".png or .npz")
            raise ValueError(f"the run in {run.folder} draws {what}: --out must end with {suffix}, got {self.out}")
        if self.temperature != 1 and not isinstance(run.model, JointVAE):
            raise ValueError(f"the model in {run.folder} takes no --temperature; train a joint-vae")
        given, rows = self._given(run)
        if run.conditions and hasattr(run.model, "label_distribution"):
            labels = run.model.label_distribution()
            if any(is_rare(labels, replace(given, values=row)) for row in rows[:: self.n]):
                shared.note("the model has hardly ever met what is given: what it draws is a guess")
        with evaluating(run.model, seed=self.seed):
            if run.conditions:
                options = {} if self.temperature == 1 else {"temperature": self.temperature}
                images, conditions = run.model.generate(len(rows), rows, within=given.within, **options)
            else:
                images, conditions = run.model.sample(self.n), rows
        if run.is_table:
            content = _table(run, conditions)
        elif self.out.suffix == ".npz":
            levels = (images * 255).round().to(torch.uint8)
            # One split, the one that commands read by themselves: nobody trains on part of them and tests on the rest.
            content = packed(levels, conditions, run.conditions, ["test"] * len(images))
        else:
            content = grid_png(images, columns=self.n if self.each else math.ceil(math.sqrt(self.n)))
        write_file(self.out, content)
        shared.note(f"{len(images)} {'rows' if run.is_table else 'images'} in {self.out}")

    def _given(self, run: Run) -> tuple[Given, Tensor]:
        """What is known of the conditions of all images, and a row of values for each."""
        if (self.given or self.each) and not run.conditions:
            raise ValueError(f"the model in {self.folder} knows no conditions; leave out --given, or train a joint-vae")
        given = parse_given(self.given, run.conditions)
        if self.each is None:
            return given, given.values.expand(self.n, -1)
        by_name = {condition.name: condition for condition in run.conditions}
        if self.each not in by_name:
            raise ValueError(unknown("condition", self.each, by_name))
        values = by_name[self.each].values
        if values is None:
            raise ValueError(f"--each needs a condition with named values, and {self.each} is continuous")
        column = list(by_name).index(self.each)
        if given.knows(column):
            raise ValueError(f"{self.each} cannot be both given and each of its values")
        rows = [given.with_value(column, number).values for number in range(len(values))]
        return given, torch.stack(rows).repeat_interleave(self.n, 0)


def _table(run: Run, rows: Tensor) -> bytes:
    """Rows in the form of the user's own table."""
    from pandas import DataFrame

    return DataFrame(decoded(run.conditions, rows)).to_csv(index=False).encode()


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    return shared.parse(Sample, arguments, prog="googol sample", description=DESCRIPTION)
