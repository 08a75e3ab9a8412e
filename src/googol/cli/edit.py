"""`googol edit`: change conditions of an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from tyro.conf import Positional, UseAppendAction, arg

from googol.cli import arguments as shared
from googol.data import load_image, parse_given
from googol.experiments import edit, open_run
from googol.metrics import evaluating
from googol.training import grid_png, write_file

DESCRIPTION = """\
Change conditions of an image and keep the others: the image is encoded, its code moved to the same place of the
distribution of codes under the new conditions, and decoded.

Examples:
  googol edit RUN face.png --set Eyeglasses=1
  googol edit RUN digit.png --given digit=3 --set digit=8 --out edited.png

An image of another size is cropped to the proportions of those that the model knows, from its middle, and scaled."""

ENLARGED = 128  # pixels that a small picture is enlarged to, about


@dataclass(frozen=True)
class Edit:
    """What to change."""

    folder: shared.RunFolder
    """folder of a finished run"""
    image: Annotated[Positional[Path], arg(metavar="IMAGE")]
    """image to change"""
    out: Path | None = None
    """picture to write (.png): the image, what the model makes of it, and the changed one; by default NAME-edited.png
    in the folder that you are in, for an image NAME"""
    set: Annotated[UseAppendAction[list[str]], arg(metavar="NAME=VALUE")] = field(default_factory=list)
    """a condition that the image shall have; repeat it for several"""
    given: Annotated[UseAppendAction[list[str]], arg(metavar="NAME=VALUE")] = field(default_factory=list)
    """a condition that the image is known to have; the others are filled in"""
    seed: int = 0
    """seed of the codes that the conditions are filled in from"""
    overwrite: bool = False
    """replace the file if it exists"""

    def run(self) -> None:
        """Edits, and writes the picture."""
        out = Path(f"{self.image.stem}-edited.png") if self.out is None else self.out
        shared.check_output(out, ".png", overwrite=self.overwrite)
        if not self.set:
            raise ValueError("nothing to change: give at least one --set NAME=VALUE")
        run = open_run(self.folder)
        run.require_images("an edit")
        change, known = (parse_given(texts, run.conditions) for texts in (self.set, self.given))
        x = load_image(self.image, run.image_shape)
        with evaluating(run.model, seed=self.seed):
            edited = edit(run, x, change, known=known)
            images = [x, run.model.reconstruct(x), edited.images]
        write_file(out, grid_png(torch.cat(images), columns=3, tile=ENLARGED))
        (before,), (after,) = edited.before, edited.after
        for what, conditions in (("taken to be", before), ("changed to", after)):
            shared.note(f"{what} " + ", ".join(f"{name}={value}" for name, value in conditions.items()))
        for name in before.keys() - after.keys():
            shared.note(f"{name}={before[name]} could not be kept, since it does not go with what was set")
        if edited.is_guess:
            shared.note("the model has hardly ever met what was set: the image is a guess")
        shared.note(f"the image, what the model makes of it, and the changed one in {out}")


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    return shared.parse(Edit, arguments, prog="googol edit", description=DESCRIPTION)
