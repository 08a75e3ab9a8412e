"""The page that shows what a run can do: one HTML file with its pictures inside."""

from __future__ import annotations

import base64
import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import googol
from googol.data import Dataset, parse_given
from googol.experiments.experiment import Experiment
from googol.experiments.run import Run
from googol.metrics import evaluating
from googol.training import STANDARD_FIGURES, grid_png, to_png, write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 12  # images in a row, and held-out images whose labels are shown
CURVES = {"reconstruction": "reconstruction", "kl": "KL divergence", "log_p_y_given_z": "−log p(labels given code)"}


@dataclass(frozen=True)
class Picture:
    """A picture inside the page: its data, what it shows to those who do not see it, and its caption."""

    source: str
    alt: str
    caption: str = ""

    @classmethod
    def of_images(cls, images: Tensor, alt: str, caption: str = "", *, columns: int = SHOWN) -> Picture:
        """Images side by side."""
        return cls(_inside(grid_png(images, columns=columns, tile=48)), alt, caption)

    @classmethod
    def of_figure(cls, figure: Figure, alt: str, caption: str = "") -> Picture:
        """A figure of matplotlib."""
        return cls(_inside(to_png(figure)), alt, caption)


@dataclass(frozen=True)
class FilledIn:
    """A held-out image with the value filled in, its probability, and the true value."""

    picture: Picture
    value: str
    probability: float
    truth: str


def write_report(path: Path, run: Run, experiment: Experiment, metrics: dict[str, Any], *, command: str) -> None:
    """Writes the page.

    Arguments:
        path: The HTML file.
        run: A run of a `JointVAE` whose first condition is categorical.
        experiment: What was run.
        metrics: What `googol.experiments.evaluate` found, with the seconds it took.
        command: What made the page.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("googol.experiments"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    train, test = experiment.load("train"), run.load(split="test")
    with evaluating(run.model, seed=experiment.training.seed):
        page = environment.get_template("report.html.jinja").render(
            command=command,
            version=googol.__version__,
            run=run,
            experiment=experiment,
            metrics=metrics,
            train=train,
            test=test,
            without_labels=int(train.conditions.isnan().all(1).sum()),
            parameters=sum(parameter.numel() for parameter in run.model.parameters()),
            lattice=_power_of_ten(run),
            of_each=_of_each(run),
            open_=Picture.of_images(run.model.sample(3 * SHOWN), f"{3 * SHOWN} generated images of all kinds"),
            partial=_partial(run),
            reconstructions=_reconstructions(run, test),
            filled_in=_filled_in(run, test),
            latent_space=_figure("latent_space", run, test, "Scatter plot of codes, coloured by their label"),
            prior=_figure("prior", run, test, "Densities of the prior over pairs of latent variables"),
            curves=Picture.of_figure(_curves(run), "Curves of the loss terms over the epochs"),
        )
    write_file(path, page.encode())


def _inside(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _power_of_ten(run: Run) -> int:
    """The power of ten nearest to the number of normal distributions in the lattice of the ring."""
    return round(sum(math.log10(variable.components) for variable in run.model.prior.variables[: run.model.latents]))


def _of_each(run: Run) -> list[tuple[str, Picture]]:
    """A row of images for each value of the first condition."""
    condition = run.conditions[0]
    return [
        (value, _given(run, [f"{condition.name}={value}"], columns=SHOWN, count=SHOWN))
        for value in condition.values or ()
    ]


def _partial(run: Run) -> list[tuple[str, Picture]]:
    """Images under each value of the other conditions alone, with the first left open."""
    asked = [f"{other.name}={value}" for other in run.conditions[1:] for value in (other.values or ())]
    return [(text, _given(run, [text], columns=SHOWN, count=SHOWN)) for text in asked]


def _given(run: Run, texts: list[str], *, columns: int, count: int) -> Picture:
    images = run.model.sample(count, given=parse_given(texts, run.conditions).values)
    return Picture.of_images(images, f"{count} images generated given {', '.join(texts)}", columns=columns)


def _reconstructions(run: Run, test: Dataset) -> Picture:
    x = test.pixels(slice(SHOWN))
    return Picture.of_images(
        torch.cat([x, run.model.reconstruct(x)]), "A row of held-out images above a row of their reconstructions"
    )


def _filled_in(run: Run, test: Dataset) -> list[FilledIn]:
    """The first held-out images, and those of which the model is least certain."""
    condition = run.conditions[0]
    probabilities, values = run.model.impute(test.pixels())[0].max(-1)
    order = probabilities.argsort().tolist()
    shown = [*range(SHOWN), *[index for index in order if index >= SHOWN][:SHOWN]]
    found = []
    for index in shown:
        value, truth = (condition.decode(float(v[index])) for v in (values, test.conditions[:, 0]))
        picture = Picture.of_images(test.pixels(slice(index, index + 1)), f"A held-out image of {truth}")
        found.append(FilledIn(picture, value, probabilities[index].item(), truth))
    return found


def _figure(name: str, run: Run, test: Dataset, alt: str) -> Picture | None:
    figure = STANDARD_FIGURES[name](run.model, test)
    return None if figure is None else Picture.of_figure(figure, alt)


def _curves(run: Run) -> Figure:
    """The terms of the loss over the epochs, from `metrics.csv`."""
    from matplotlib.figure import Figure

    with (run.folder / "metrics.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    for number, (term, title) in enumerate(CURVES.items()):
        axis = figure.add_subplot(1, len(CURVES), number + 1)
        for split, colour in {"train": "0.7", "valid": "tab:blue"}.items():
            points = [(int(row["epoch"]), float(row[term])) for row in rows if row["split"] == split and row[term]]
            epochs, values = zip(*points, strict=True)
            axis.plot(epochs, [-value for value in values] if title[0] == "−" else values, label=split, color=colour)
        axis.axvline(getattr(run.choice, "warmup_epochs", 0), color="0.3", linestyle=":", linewidth=1)
        axis.set(title=title, xlabel="epoch", ylabel="nats" if number == 0 else None)
        axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return figure
