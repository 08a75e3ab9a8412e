"""`googol score`: tell how well images fit what the model was trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from googol.cli import arguments as shared
from googol.data import Dataset
from googol.experiments import Run, noise, open_run, score, scoring_figure
from googol.experiments.caveats import GREY, about_exactness, exactness_notes, takes_grey_for_probabilities
from googol.experiments.scoring import LEVEL
from googol.metrics import Estimate
from googol.training import names_as_they_are, to_png, write_file

DESCRIPTION = """\
Tell how well images fit what the model was trained on, which of them are the least likely, and what it says of their
conditions. An image that is unlike the training data gets an uncertain answer.

Examples:
  googol score RUN --out scores.csv
  googol score RUN --data faces/ --split train --out scores.csv
  googol score RUN --data generated.npz --least 10
  googol score RUN --strangers fashion-mnist,noise --out scores.csv --figure scores.png

The CSV file has a row for each image, with the columns
  data               the name of its data set
  index              its number in the split
  file               its name in a folder of images
  log_px             log p(x) in nats, an importance-weighted bound from below
  typicality         the share of validation images with no higher log p(x), itself among them: if it is one more image
                     of their kind, this is at most 0.01 with a probability of at most 0.01
  uncertain          whether the typicality is below --level
and for each condition, say digit,
  digit_imputed      the most probable value given the image, or the mean of a continuous condition
  digit_probability  p(digit given image) of that value (empty for a continuous condition)"""


@dataclass(frozen=True)
class Score:
    """What to score."""

    folder: shared.RunFolder
    """folder of a finished run"""
    data: shared.Text = None
    """name or path of the images; by default the data that the run was trained on"""
    split: str = "test"
    """which of them, and of the strangers: train, valid or test"""
    strangers: Annotated[str | None, arg(metavar="NAME,NAME,…")] = None
    """names or paths of other images, to be told from these; noise is uniformly random pixels"""
    out: Path | None = None
    """CSV file to write"""
    figure: Path | None = None
    """picture to write (.png)"""
    k: int = 100
    """codes drawn for each image"""
    level: float | None = None
    """typicality below which an answer is uncertain; by default 0.01 or, with fewer than 100 validation images, that of
    what is less probable than all of them"""
    least: int = 5
    """how many of the least likely images of each data set to name; 0 for none"""
    limit: Annotated[int | None, arg(metavar="N")] = None
    """take at most N images of each data set, the validation images included, chosen at random"""
    seed: int = 0
    """seed of the codes that are drawn, of the choice, and of the noise"""
    overwrite: bool = False
    """replace the files if they exist"""
    json: bool = False
    """print one JSON object"""
    data_dir: shared.DataDir = None
    """folder of data files"""

    def run(self) -> dict[str, Any]:
        """Scores, writes the files, and tells."""
        if self.least < 0:
            raise ValueError(f"--least must be at least 0, got {self.least}")
        if self.out is not None:
            shared.check_output(self.out, overwrite=self.overwrite)
        if self.figure is not None:
            shared.check_output(self.figure, ".png", overwrite=self.overwrite, option="--figure")
        if self.out is not None and self.figure is not None and self.out.resolve() == self.figure.resolve():
            raise ValueError(f"--out and --figure must be two files, got {self.out} for both")
        run = open_run(self.folder)
        known = self._load(run, run.data if self.data is None else self.data)
        names = () if self.strangers is None else shared.names(self.strangers)
        strangers = [noise(known, seed=self.seed) if name == "noise" else self._load(run, name) for name in names]
        valid = run.load(split="valid", data_dir=self.data_dir)
        grey = takes_grey_for_probabilities(run.model, known)
        found = score(run, known, strangers, valid=valid, k=self.k, level=self.level, limit=self.limit, seed=self.seed)
        few = f"{len(valid)} validation images are few: uncertain is what is less probable than all of them"
        is_few = self.level is None and found.level > LEVEL
        shared.note(*exactness_notes(known, *strangers), *([GREY] if grey else []), *([few] if is_few else []))
        if self.out is not None:
            write_file(self.out, found.table().to_csv(index=False).encode())
        if self.figure is not None:
            with names_as_they_are():
                write_file(self.figure, to_png(scoring_figure(found)))
        bounds = {name: Estimate.of(scores.log_px) for name, scores in found.each.items()}
        auroc, uncertain = found.auroc, found.uncertain
        least = {name: scores.least(self.least) for name, scores in found.each.items()}
        for name, bound in bounds.items():
            print(f"{name}: log p(x) {bound.mean:.2f} nats, {uncertain[name]:.2%} uncertain", end="")
            print(f", AUROC {auroc[name]:.4f}" if name in auroc else "")
            if lowest := least[name]:
                print("  least likely: " + ", ".join(f"{image} ({value:.2f})" for image, value in lowest.items()))
        for path in (self.out, self.figure):
            if path is not None:
                print(f"written to {path}")
        first = bounds[found.known.data.name]
        return {
            "log_px": first.mean,
            "log_px_standard_error": first.standard_error,
            "log_px_each": {name: bound.mean for name, bound in bounds.items()},
            "auroc": auroc,
            "uncertain": uncertain,
            "level": found.level,
            "least_likely": least,
            "images": {name: len(scores.data) for name, scores in found.each.items()},
            **about_exactness(known),
            "grey_as_probabilities": grey,
            "remark_each": {name: scores.data.remark for name, scores in found.each.items()},
            "out": None if self.out is None else str(self.out),
            "figure": None if self.figure is None else str(self.figure),
        }

    def _load(self, run: Run, name: str) -> Dataset:
        """A data set under its name, or that of its file or folder."""
        return replace(run.load(name, self.split, data_dir=self.data_dir), name=Path(name).stem or name)


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    return shared.parse(Score, arguments, prog="googol score", description=DESCRIPTION)
