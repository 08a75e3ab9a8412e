"""Pictures of the rows of a table: what their models draw, under conditions or none, and the codes of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from googol.data import parse_given
from googol.experiments.reproduction import Cell, Reproduction
from googol.experiments.run import Run, open_run
from googol.experiments.table import Row, Table
from googol.metrics import evaluating
from googol.training import image_grid, to_png, write_file
from googol.training.figures import latent_space
from googol.training.figures import samples as draw_samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8  # images under each choice of conditions
KINDS = ("samples", "codes")


def picture_path(results: Path, table: Table, row: Row, data: str, kind: str) -> Path:
    """The file of a picture; it is drawn from the run of seed 0."""
    return results / table.name / f"{row.name}-{data}-{kind}.png"


def draw_pictures(where: Reproduction, cell: Cell) -> None:
    """Draws what is to be seen of a finished run, unless that is done: of the adversarial ones samples; where the table
    has choices of conditions, images under each of them, and the codes of test images by their first condition.

    Runs of other seeds than 0, and those that are not there, are left out.
    """
    choices, folder = cell.table.pictures[cell.data], where.folder(cell)
    weights = folder / "model.safetensors"
    is_game = hasattr(cell.experiment().model, "critic_steps")
    if not (choices or is_game) or cell.seed != 0 or not (folder / "model.json").is_file():
        return
    samples, codes = (picture_path(where.results, cell.table, cell.row, cell.data, kind) for kind in KINDS)
    if samples.exists() and samples.stat().st_mtime >= weights.stat().st_mtime:
        return
    run = open_run(folder)
    data = run.load(split="test", data_dir=where.data_dir)
    with evaluating(run.model, seed=0):
        drawn = images_under(run, choices) if choices else draw_samples(run.model, data)
        for path, figure in ((codes, latent_space(run.model, data)), (samples, drawn)):
            if figure is not None:
                write_file(path, to_png(figure))


@torch.no_grad()
def images_under(run: Run, choices: Mapping[str, Sequence[str]]) -> Figure:
    """A row of images for each choice of conditions.

    Arguments:
        run: A run of a model that knows conditions.
        choices: What the picture calls each, and what is given in words, as in :func:`googol.data.parse_given`.

    Raises:
        ValueError: A condition is unknown, or cannot be as it is given.
    """
    from matplotlib.figure import Figure

    given = [parse_given(texts, run.conditions) for texts in choices.values()]
    images = torch.cat([run.model.generate(COLUMNS, each.values, within=each.within)[0] for each in given])
    height, width = (pixels + 1 for pixels in run.image_shape[1:])
    figure = Figure(figsize=(6, 6 * len(choices) * height / (COLUMNS * width)), layout="constrained")
    axis = figure.add_subplot()
    axis.imshow(image_grid(images, columns=COLUMNS), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set_yticks([(row + 0.5) * height for row in range(len(choices))], list(choices))
    axis.tick_params(length=0)
    axis.set_xticks([])
    axis.spines[:].set_visible(False)
    return figure


def pictures_markdown(table: Table, data: str, rows: Sequence[Row], results: Path) -> list[str]:
    """The pictures of some rows side by side, with a caption; nothing where none were drawn."""
    shown = [row for row in rows if picture_path(results, table, row, data, "samples").is_file()]
    if not shown:
        return []
    under = table.pictures[data]
    texts = {"samples": "rows of images, each drawn under the conditions beside it" if under else "samples"}
    texts["codes"] = "codes of test images"
    lines = [[row.title for row in shown], ["---"] * len(shown)]
    for kind in KINDS:
        paths = [picture_path(results, table, row, data, kind) for row in shown]
        cells = [(f"![{row.title}: {texts[kind]}]({path.name})", path) for row, path in zip(shown, paths, strict=True)]
        if any(path.is_file() for path in paths):
            lines.append([text if path.is_file() else "" for text, path in cells])
    caption = (
        "Each row of images was drawn under the conditions beside it, and the others left open. Below, the codes of "
        "test images on their two principal axes, in the colours of their first condition."
        if under
        else "Samples of the models of seed 0."
    )
    return ["\n".join("| " + " | ".join(line) + " |" for line in lines), caption]
