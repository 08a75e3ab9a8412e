"""One page of all that was measured of speed and memory, with plots.

Run: ``python -m benchmarks.page``; reads what the other benchmarks left in ``results/bench``, and writes ``README.md``
and the pictures beside it.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.tensor_ring import OUT, parse_size
from benchmarks.timing import write
from googol.training import to_png, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The order on the page: those that are on it whole, and those that are named.
WHOLE = ("tensor_ring", "peers", "prior_cost")
COLORS = {10: "C0", 20: "C1", 40: "C3"}
PICTURES = {
    "ratios.png": (
        "Plain algorithm / ours, over the number of variables",
        "How many times as fast as the plain algorithm: the densities of [many sizes](grid.md). Lines that "
        "break off are sizes at which that algorithm ran out of memory, or that have not been measured.",
    ),
    "rates.png": (
        "Share of the matrix rate, over the number of variables",
        "How much of the rate of a large matrix product is reached, counting the formula's own operations alone: the "
        "limit for whoever computes this formula on this machine, but for the noise of the measurements.",
    ),
    "history.png": ("Ratios over the dates of the measurements", "The same ratios over time, so that a loss is seen."),
}


def draw_grid(path: Path, rows: list[dict[str, float | str]], key: str, label: str) -> None:
    """Four panels, forward and with the gradient, of few rows and many: a line for each rank and N."""
    from matplotlib.figure import Figure

    lines = defaultdict[tuple[str, int, int, int], list[tuple[int, float]]](list)
    for row in rows:
        size = parse_size(str(row["what"]))
        if key in row:
            lines[size.what, size.batch, size.rank, size.components].append((size.variables, float(row[key])))
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    for across, what in enumerate(("forward", "forward + backward")):
        for down, batch in enumerate((128, 1024)):
            axis: Axes = panels[down][across]
            for (of, rows_at_once, rank, components), points in sorted(lines.items()):
                if (of, rows_at_once) == (what, batch):
                    style = "-" if components == 10 else "--"
                    axis.plot(
                        *zip(*sorted(points), strict=True),
                        style,
                        color=COLORS[rank],
                        marker="o",
                        markersize=3,
                        label=f"rank {rank}, N {components}",
                    )
            axis.set(title=f"{what}, {batch} rows", xscale="log")
            axis.set_xticks([16, 100, 256, 1000], ["16", "100", "256", "1000"], minor=False)
            axis.minorticks_off()
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="y", alpha=0.3)
            if across == 0:
                axis.set_ylabel(label)
            if down:
                axis.set_xlabel("variables")
    panels[0][0].set_ylim(0, 1.05 * max(value for points in lines.values() for _, value in points))
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper center", frameon=False, ncols=6)
    write_file(path, to_png(figure))


def draw_history(path: Path, lines: list[dict[str, str]]) -> None:
    """A line for each kind of measurement that was made more than once with two threads."""
    from matplotlib.figure import Figure

    found = defaultdict[str, list[tuple[int, float]]](list)
    dates = sorted({line["date"] for line in lines})
    for line in lines:
        if line["threads"] == "2":
            found[line["what"]].append((dates.index(line["date"]), float(line["ratio"])))
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axis, start in zip(panels, ("forward:", "forward + backward:", "sampling"), strict=True):
        for what, points in found.items():
            if what.startswith(start) and len(points) > 1:
                axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=what.removeprefix(start).strip())
        axis.set(title=start.rstrip(":"), yscale="log")
        axis.set_yticks([3, 5, 10, 20, 50, 100, 200], ["3", "5", "10", "20", "50", "100", "200"])
        axis.minorticks_off()
        axis.set_xticks(range(len(dates)), [date[5:] for date in dates], rotation=45)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
        axis.legend(frameon=False, fontsize="x-small", loc="upper left")
    panels[0].set_ylabel("plain / ours")
    write_file(path, to_png(figure))


def title(page: Path) -> str:
    """The heading of a page."""
    return page.read_text().splitlines()[0].removeprefix("# ")


def main() -> None:
    """Draws, and writes the page."""
    grid = json.loads((OUT / "grid.json").read_text())
    draw_grid(OUT / "ratios.png", grid["rows"], "ratio", "plain / ours")
    draw_grid(OUT / "rates.png", grid["rows"], "of the matrix rate", "of the matrix rate")
    with (OUT / "history.csv").open(newline="") as stream:
        draw_history(OUT / "history.png", list(csv.DictReader(stream)))
    others = [page for page in sorted(OUT.glob("*.md")) if page.stem not in (*WHOLE, "README")]
    machine = grid["machine"]
    parts = [
        "# Speed and memory",
        "`make bench`, on two cores (pages that say so: on one) of a processor of the kind "
        f"{machine['processor']}, with PyTorch {machine['torch']}. "
        "All are ratios of times taken in turns, in one process. Pages of their own: "
        + ", ".join(f"[{title(page)}]({page.name})" for page in others)
        + ".",
        *(f"{text}\n\n![{alternative}]({name})" for name, (alternative, text) in PICTURES.items()),
        *((OUT / f"{name}.md").read_text().replace("# ", "## ", 1).strip() for name in WHOLE),
    ]
    write(OUT / "README.md", "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
