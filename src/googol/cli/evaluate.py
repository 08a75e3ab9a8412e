"""`googol evaluate`: measure a model on images that it was not trained on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from googol.cli import arguments as shared
from googol.experiments import evaluate, open_run
from googol.experiments.caveats import GREY, about_exactness, exactness_notes, takes_grey_for_probabilities
from googol.metrics import metric_names

DESCRIPTION = """\
Measure a model on images, or rows of a table, that it was not trained on.

Examples:
  googol evaluate RUN
  googol evaluate RUN --metrics elbo,iwae,fid,condition-accuracy,imputation-accuracy
  googol evaluate RUN --metrics elbo --json

metrics:
  log-likelihood       log p itself, in nats, of what is known of a row of a table (and of an image, of a pixelcnn)
  elbo                 lower bound of log p(x), in nats an image, and its two terms
  iwae                 importance-weighted bound with k samples, in nats an image
  elbo-bits-per-dim    the bounds of grey images as bits for each pixel and channel; smaller is better
  iwae-bits-per-dim
  active-units         how many latents vary between images (variance of their posterior means above 0.01)
  parameters           how many the model has, in all and by part
  fid                  Fréchet distance between features of generated and of real images; smaller is better
  precision, recall    shares of generated images among real ones, and of real ones among generated ones (features)
  density, coverage    how densely real images surround generated ones (1 is right), and the share that is reached
  modes, mode-kl       combinations of the conditions in generated images, as the classifier sees them, and their
                       divergence from the uniform distribution, in nats
  condition-accuracy   how often generated images have the conditions they were asked for
  imputation-accuracy  how often the most probable value given the image is the true one; in a table, given the other
                       columns, and of a number the share of its variance that is explained
  imputation-baseline  how often the value is that which is commonest among the images; beside the above
  group-accuracy       how often the commonest value in the group of an image is its own: groups are those that the ring
                       divides codes into without being told, and their number is told, too
  classifier-accuracy  how often the classifier that judges images is right about real ones; beside what it judges

The judge is trained apart, on the training images with all their labels, and kept for the next time."""


@dataclass(frozen=True)
class Evaluate:
    """What to measure."""

    folder: shared.RunFolder
    """folder of a finished run"""
    metrics: Annotated[str | None, arg(metavar="NAME,NAME,…")] = None
    """what to measure; by default all that the model has"""
    data: shared.Text = None
    """name or path of the images; by default the data that the run was trained on"""
    split: str = "test"
    """which of them: train, valid or test"""
    features: Literal["classifier", "inception"] = "classifier"
    """whose features fid, precision, recall, density and coverage compare; inception needs pip install 'googol[fid]'"""
    weights: Annotated[Path | None, arg(metavar="FILE")] = None
    """weights of inception, instead of a download"""
    k: int = 100
    """samples for each image in iwae"""
    n: Annotated[int, arg(aliases=["-n"])] = 10_000
    """images to generate, for all metrics of generated images"""
    seed: int = 0
    """seed of all samples"""
    json: bool = False
    """print one JSON object"""
    data_dir: shared.DataDir = None
    """folder of data files"""

    def run(self) -> dict[str, Any]:
        """Measures, and tells."""
        for option, number in (("-n", self.n), ("--k", self.k)):
            if number < 1:
                raise ValueError(f"{option} must be at least 1, got {number}")
        names = None if self.metrics is None else metric_names(shared.names(self.metrics))
        run = open_run(self.folder)
        images = run.load(self.data, self.split, data_dir=self.data_dir)
        found = evaluate(
            run,
            names,
            data=images,
            data_dir=self.data_dir,
            features=self.features,
            weights=self.weights,
            k=self.k,
            n=self.n,
            seed=self.seed,
            progress=sys.stderr.isatty(),
        )
        for name, value in found.items():
            _tell(name, value, found)
        grey = takes_grey_for_probabilities(run.model, images)
        shared.note(*exactness_notes(images), *([GREY] if grey and {"elbo", "iwae"} & found.keys() else []))
        return found | about_exactness(images) | {"grey_as_probabilities": grey}


def _tell(name: str, value: Any, found: dict[str, Any]) -> None:
    if isinstance(value, dict):
        if len(value) > 1:
            for part, each in value.items():
                print(f"  {part:<20} {_number(each)}")
    elif isinstance(value, str):
        print(f"{name:<22} {value}")
    elif not name.endswith("_standard_error"):
        error = found.get(f"{name}_standard_error")
        print(f"{name:<22} {_number(value)}" if error is None else f"{name:<22} {value:8.2f} ± {error:.2f}")


def _number(value: float) -> str:
    return f"{value:8,}" if isinstance(value, int) else f"{value:8.4f}"


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    return shared.parse(Evaluate, arguments, prog="googol evaluate", description=DESCRIPTION)
