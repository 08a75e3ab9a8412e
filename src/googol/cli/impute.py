"""`googol impute`: fill in the missing conditions of images, and the holes of tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from googol.cli import arguments as shared
from googol.data import ALL, Condition
from googol.experiments import impute, open_run
from googol.experiments.caveats import about_exactness, exactness_notes
from googol.training import write_file

DESCRIPTION = """\
Fill in the missing conditions of images, or the holes of a table, and see how well that does on what is known.

Examples:
  googol impute RUN --split test --out labels.csv
  googol impute RUN --data faces/ --split train --out labels.csv
  googol impute TABLE_RUN --out filled.csv

The CSV file has a row for each image, or row of a table: its number in the split, its name in a folder of images, and
for each condition, say digit, the columns
  digit              the known value, or the one filled in
  digit_imputed      what the model says: of a missing value, given the image and the known conditions; of a known
                     one, given the image alone, or in a table the other columns
  digit_probability  the probability of that (empty for a continuous condition)"""


@dataclass(frozen=True)
class Impute:
    """What to fill in."""

    folder: shared.RunFolder
    """folder of a finished run"""
    out: Path
    """CSV file to write"""
    data: shared.Text = None
    """name or path of the images; by default the data that the run was trained on"""
    split: str | None = None
    """which of them: train, valid or test, or all of a table; by default test, of a table all"""
    seed: int = 0
    """seed of the codes that are drawn"""
    overwrite: bool = False
    """replace the file if it exists"""
    json: bool = False
    """print the accuracy as one JSON object"""
    data_dir: shared.DataDir = None
    """folder of data files"""

    def run(self) -> dict[str, Any]:
        """Writes the file, and tells how well it did on known values."""
        shared.check_output(self.out, overwrite=self.overwrite)
        run = open_run(self.folder)
        data = run.load(self.data, self.split or (ALL if run.is_table else "test"), data_dir=self.data_dir)
        table, accuracy = impute(run, data, seed=self.seed)
        shared.note(*exactness_notes(data))
        write_file(self.out, table.to_csv(index=False).encode())
        missing = data.conditions.isnan().sum(0).tolist()
        filled = {condition.name: int(count) for condition, count in zip(run.conditions, missing, strict=True)}
        for condition in run.conditions:
            found = f"{condition.name}: {filled[condition.name]} of {len(data)} filled in"
            print(found + _judged(condition, accuracy.each.get(condition.name)))
        print(f"written to {self.out}")
        return {
            "imputation_accuracy": accuracy.mean,
            "imputation_accuracy_each": accuracy.each,
            "rows": len(data),
            "filled_in": filled,
            **about_exactness(data),
            "out": str(self.out),
        }


def _judged(condition: Condition, accuracy: float | None) -> str:
    """How well a condition is filled in, in words."""
    if accuracy is None:
        return ""
    if condition.is_categorical:
        return f", right for {accuracy:.2%} of the known ones"
    return f", explains {accuracy:.2%} of the variance of the known ones"


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    return shared.parse(Impute, arguments, prog="googol impute", description=DESCRIPTION)
