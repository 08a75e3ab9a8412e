"""The picture of a model of tables while it trains: what it draws beside the data, column by column."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from googol.data import Condition, Dataset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 2000  # that are drawn, at least as many as those of the data
PANELS, ACROSS = 24, 4  # columns of the table that are shown, and panels side by side
BINS = 30
LONGEST = 12  # characters of the name of a value
COLOURS = {"data": "0.6", "drawn": "tab:blue"}


def columns(model: Any, data: Dataset) -> Figure:
    """How often values come in each column, in the data and in rows drawn from the model."""
    from matplotlib.figure import Figure

    drawn = model.sample(max(ROWS, len(data))).cpu()
    shown = data.schema[:PANELS]
    down = math.ceil(len(shown) / ACROSS)
    across = min(ACROSS, len(shown))
    figure = Figure(figsize=(3 * across, 2.3 * down), layout="constrained")
    for column, condition in enumerate(shown):
        axis = figure.add_subplot(down, across, column + 1)
        sets = {"data": data.conditions[:, column].cpu(), "drawn": drawn[:, column]}
        _panel(axis, condition, {name: values[~values.isnan()] for name, values in sets.items()})
        axis.set_title(condition.name, fontsize=9)
        axis.set_yticks([])
        axis.tick_params(labelsize=7)
    more = f" (the first {PANELS} of {len(data.schema)} columns)" if len(data.schema) > PANELS else ""
    figure.suptitle(f"grey: validation data, blue: drawn from the model{more}", fontsize=10)
    return figure


def _panel(axis: Axes, condition: Condition, sets: dict[str, Tensor]) -> None:
    if condition.values is not None:
        places = torch.arange(len(condition.values))
        for number, (name, values) in enumerate(sets.items()):
            shares = values.long().bincount(minlength=len(places)) / max(1, len(values))
            axis.bar((places - 0.2 + 0.4 * number).numpy(), shares.numpy(), width=0.4, color=COLOURS[name])
        few = len(places) <= 6
        labels = [value if len(value) <= LONGEST else value[:LONGEST] + "…" for value in condition.values]
        axis.set_xticks(places.tolist() if few else [], labels if few else [])
        return
    every = torch.cat(list(sets.values()))
    low, high = (every.quantile(share).item() for share in (0.005, 0.995))
    for name, values in sets.items():
        filled = name == "data"
        heights, edges = torch.histogram(values, BINS, range=(low, high), density=True)
        axis.stairs(heights.numpy(), edges.numpy(), fill=filled, color=COLOURS[name])


TABLE_FIGURES = {"columns": columns}
