"""The picture of a scoring: where known images and strangers lie, and what the model says of some of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from googol.experiments.caveats import NOT_PUBLISHED
from googol.experiments.scoring import Scores, Scoring

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 10  # images in a row
BINS = 90
WARNING = "tab:red"


def scoring_figure(scoring: Scoring) -> Figure:
    """Histograms of log p(x), and of each data set the most and the least probable images with the answers.

    The answer is that to the first condition. The axis is linear around the known images and becomes logarithmic
    away from them, so that a stranger that is ten times as far is still in the picture.
    """
    from matplotlib.figure import Figure

    scoring.run.require_images("the picture of a scoring")
    each = list(scoring.each.values())
    answers = f", with the {scoring.run.conditions[0].name} that the model sees" if scoring.run.conditions else ""
    figure = Figure(figsize=(10.5, 3.9 + 2.5 * len(each)), layout="constrained")
    histogram, pictures = figure.subfigures(2, 1, squeeze=False, height_ratios=[3.9, 2.5 * len(each)])[:, 0]
    histogram.suptitle("How probable the model finds each image", fontsize=12)
    _histograms(histogram.add_subplot(), scoring)
    pictures.suptitle(f"The most and the least probable images{answers}", fontsize=12)
    axes = pictures.subplots(2 * len(each), SHOWN, squeeze=False)
    for number, scores in enumerate(each):
        order = scores.log_px.argsort(descending=True, stable=True)
        for row, (which, chosen) in enumerate([("most probable", order), ("least probable", order.flip(0))]):
            row_axes = axes[2 * number + row]
            row_axes[0].set_ylabel(
                f"{scores.data.name}\n{which}", rotation=0, ha="right", va="center", labelpad=8, color=_colour(number)
            )
            for column, axis in enumerate(row_axes):
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
                if column < len(chosen):
                    _image(axis, scoring, scores, int(chosen[column]))
    return figure


def _histograms(axis: Axes, scoring: Scoring) -> None:
    from matplotlib.ticker import PercentFormatter

    known = scoring.known.log_px.double()
    middle = known.median().item()
    width = max(3 * known.std(correction=0).item(), 1e-3)

    def squeezed(value: Tensor) -> Tensor:
        return ((value - middle) / width).asinh()

    scores = list(scoring.each.values())
    places = [squeezed(each.log_px.double()) for each in scores]
    line = squeezed(torch.tensor(scoring.threshold, dtype=torch.double)).item()
    low = min(line, *(place.min().item() for place in places))
    high = max(line, *(place.max().item() for place in places))
    margin = 0.02 * (high - low) + 1e-3
    edges = torch.linspace(low - margin, high + margin, BINS + 1, dtype=torch.double)
    for number, (each, place) in enumerate(zip(scores, places, strict=True)):
        name = each.data.name
        kind = "" if each.data.exact else f" ({NOT_PUBLISHED})"
        label = f"{name}{kind}: {scoring.uncertain[name]:.1%} uncertain"
        if name in scoring.auroc:
            label += f", AUROC {scoring.auroc[name]:.3f}"
        shares = torch.histogram(place, edges).hist.numpy() / len(place)
        axis.stairs(shares, edges.numpy(), fill=True, alpha=0.35, color=_colour(number), label=label)
        axis.stairs(shares, edges.numpy(), linewidth=1.2, color=_colour(number))
    label = f"uncertain: less probable than {100 * (1 - scoring.level):.4g} % of the validation images"
    axis.axvline(line, color=WARNING, linestyle="--", linewidth=1.2, label=label)
    ticks = torch.linspace(low, high, 9, dtype=torch.double)
    values = sorted({_round(value) for value in (middle + width * ticks.sinh()).tolist()})
    axis.set_xticks(
        squeezed(torch.tensor(values, dtype=torch.double)).tolist(),
        [f"{value:,.0f}".replace("-", "−") for value in values],
    )
    axis.set(
        xlim=(low - margin, high + margin),
        xlabel=f"log p(x), nats (an axis that is stretched around {scores[0].data.name})",
        ylabel="share of the images",
    )
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)


def _image(axis: Axes, scoring: Scoring, scores: Scores, number: int) -> None:
    image = scores.data.pixels(slice(number, number + 1))[0].permute(1, 2, 0).squeeze(-1)
    axis.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    uncertain = bool(scores.uncertain[number])
    answer = ""
    if scoring.run.conditions:
        condition, value = scoring.run.conditions[0], scores.values[number, 0].item()
        chance = scores.probabilities[number, 0].item()
        answer = f"{condition.decode(value)}: {100 * chance:.0f} %" if condition.is_categorical else f"{value:.3g}"
    text = f"uncertain\n({answer})" if uncertain and answer else "uncertain" if uncertain else answer
    axis.set_xlabel(text, fontsize=8.5, labelpad=2, color=WARNING if uncertain else "black")


def _colour(number: int) -> str:
    """The first is the known data set; red is the colour of warnings."""
    return ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:olive", "tab:cyan")[number % 7]


def _round(value: float) -> float:
    """The value with two significant digits."""
    return round(value, 1 - math.floor(math.log10(abs(value)))) if value else 0.0
