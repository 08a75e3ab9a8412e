"""`googol demo`: the main job on embedded data."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from googol.cli import arguments as shared
from googol.experiments.demo import EPOCHS, demo

DESCRIPTION = """\
Train on embedded digits, half of their labels hidden; generate digits under any conditions, fill in the hidden
labels, and write it all up on a page, in about three minutes.

Examples:
  googol demo
  googol demo --out somewhere --json"""


@dataclass(frozen=True)
class Demo:
    """The main job on embedded data."""

    out: Annotated[Path, arg(metavar="DIR")] = Path("demo")
    """folder for the page, the run and the data; an earlier demo there is moved aside"""
    seed: int = 0
    """seed of the hidden labels, the training and the samples"""
    epochs: int = EPOCHS
    """passes over the training data; fewer for a quick look"""
    json: bool = False
    """print what was measured as one JSON object"""

    def run(self) -> dict[str, Any]:
        """Trains, measures and writes the page."""
        options = {"--out": (self.out, Path("demo")), "--seed": (self.seed, 0), "--epochs": (self.epochs, EPOCHS)}
        given = [text for name, (value, usual) in options.items() if value != usual for text in (name, str(value))]
        command = shlex.join(["googol", "demo", *given])
        metrics = demo(self.out, seed=self.seed, epochs=self.epochs, command=command, tell=shared.note)
        for name in ("imputation", "condition", "classifier"):
            shares = metrics[f"{name}_accuracy_each"].items()
            print(f"{name + ' accuracy':<22}", ", ".join(f"{condition} {share:.1%}" for condition, share in shares))
        report = self.out / "report.html"
        print(f"{metrics['seconds']:.0f} seconds; open {report}")
        return {**metrics, "report": str(report)}


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    return shared.parse(Demo, arguments, prog="googol demo", description=DESCRIPTION)
