"""What the start of a tensor ring is worth: training from data, from random and from constant cores.

    python -m benchmarks.initialization

The joint density of the first sixteen principal components of the embedded digits and of the digit itself, whose
label is missing in half of the training rows, is learned from each start. Each has the learning rate that does best
for it, by the validation rows; the table is of the test rows. Writes ``results/initialization``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.timing import machine, markdown_table, write, write_json
from googol.data import Dataset, load
from googol.distributions import Categorical, Normal, TensorRing

OUT = Path("results/initialization")
LATENTS, RANK, COMPONENTS = 16, 20, 10
STEPS, EVERY, BATCH = 600, 20, 128
LEARNING_RATES = (0.01, 0.03, 0.1)
SEEDS = (0, 1, 2)


def random_cores(ring: TensorRing, rows: Tensor) -> None:
    """The module as it is made: random cores, components on a grid."""


def constant_cores(ring: TensorRing, rows: Tensor) -> None:
    """All entries of the cores alike but for a little noise, without which they would stay alike."""
    with torch.no_grad():
        for log_core in ring.log_cores:
            log_core.copy_(0.01 * torch.randn_like(log_core))


def with_fitted_components(start: Callable[[TensorRing, Tensor], None]) -> Callable[[TensorRing, Tensor], None]:
    """A start of the cores, with each variable's components on its data as :meth:`fit_initial` puts them."""

    def place(ring: TensorRing, rows: Tensor) -> None:
        cores = [log_core.detach().clone() for log_core in ring.log_cores]
        ring.fit_initial(rows)
        with torch.no_grad():
            for log_core, before in zip(ring.log_cores, cores, strict=True):
                log_core.copy_(before)
        start(ring, rows)

    return place


STARTS: dict[str, Callable[[TensorRing, Tensor], None]] = {
    "from data (`fit_initial`)": lambda ring, rows: ring.fit_initial(rows),
    "random cores, components on data": with_fitted_components(random_cores),
    "constant cores, components on data": with_fitted_components(constant_cores),
    "random cores, components on a grid": random_cores,
}


def rows_of(splits: dict[str, Dataset]) -> dict[str, Tensor]:
    """Whitened principal components and the digit of every image, with the components of the training images."""
    pixels = {name: data.images.flatten(1).float() / 255 for name, data in splits.items()}
    mean = pixels["train"].mean(0)
    _, scale, directions = torch.linalg.svd(pixels["train"] - mean, full_matrices=False)
    scale = scale[:LATENTS] / len(pixels["train"]) ** 0.5
    return {
        name: torch.cat([(x - mean) @ directions[:LATENTS].mT / scale, splits[name].conditions[:, :1]], 1)
        for name, x in pixels.items()
    }


def train(start: str, learning_rate: float, seed: int, rows: dict[str, Tensor]) -> list[dict[str, float]]:
    """Log-densities of validation and test rows, and how many of their digits are found, along the way."""
    torch.manual_seed(seed)
    ring = TensorRing([Normal(COMPONENTS)] * LATENTS + [Categorical(10)], RANK)
    seen = rows["train"].clone()
    seen[torch.rand(len(seen)) < 0.5, -1] = torch.nan
    STARTS[start](ring, seen)
    optimizer = torch.optim.Adam(ring.parameters(), lr=learning_rate)
    curve = []
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            curve.append(
                {"step": step} | {k: v for s in ("valid", "test") for k, v in scores(ring, rows[s], s).items()}
            )
        batch = seen[torch.randint(len(seen), (BATCH,))]
        optimizer.zero_grad()
        (-ring().log_prob(batch).mean()).backward()
        optimizer.step()
    return curve


@torch.no_grad()
def scores(ring: TensorRing, rows: Tensor, split: str) -> dict[str, float]:
    """The mean log-density in nats, and the share of digits that are the most probable given the rest."""
    open_label = rows.clone()
    open_label[:, -1] = torch.nan
    found = ring().component_probs(open_label)[:, -1, :10].argmax(-1) == rows[:, -1]
    return {split: ring().log_prob(rows).mean().item(), f"{split}_found": found.float().mean().item()}


def best_of(curves: list[list[dict[str, float]]]) -> tuple[float, float, float]:
    """Averages over seeds: validation at its best step, and the test figures at that step."""
    picked = [max(curve, key=lambda point: point["valid"]) for curve in curves]
    return tuple(statistics.mean(point[k] for point in picked) for k in ("valid", "test", "test_found"))  # type: ignore[return-value]


def draw(curves: dict[str, list[list[dict[str, float]]]]) -> None:
    """The validation curves, one line a start, the seeds' range shaded."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for start, of_seeds in curves.items():
        values = torch.tensor([[point["valid"] for point in curve] for curve in of_seeds])
        steps = [point["step"] for point in of_seeds[0]]
        axes.plot(steps, values.mean(0), label=start.replace("`", ""))
        axes.fill_between(steps, values.amin(0), values.amax(0), alpha=0.2)
    top = max(point["valid"] for of_seeds in curves.values() for curve in of_seeds for point in curve)
    axes.set(xlabel="steps", ylabel="log-density of validation rows, nats", ylim=(top - 8, top + 0.5))
    axes.legend(loc="lower right")
    figure.savefig(OUT / "curves.png", dpi=120)


def main() -> None:
    """Measures, prints, and writes the page and the picture."""
    rows = rows_of({split: load("digits", split) for split in ("train", "valid", "test")})
    table, curves = [], {}
    for start in STARTS:
        tried = {rate: [train(start, rate, seed, rows) for seed in SEEDS] for rate in LEARNING_RATES}
        rate = max(tried, key=lambda rate: best_of(tried[rate])[0])
        curves[start] = tried[rate]
        _, test, found = best_of(tried[rate])
        begin, early = (statistics.mean(c[i]["test"] for c in tried[rate]) for i in (0, 100 // EVERY))
        spread = statistics.stdev(max(c, key=lambda point: point["valid"])["test"] for c in tried[rate])
        values = [f"{begin:.2f}", f"{early:.2f}", f"{test:.2f} ± {spread:.2f}", f"{found:.1%}"]
        table.append([start, f"{rate:g}", *values])
        print(*table[-1], sep="  ", flush=True)
    header = ["start", "learning rate", "at the start", "after 100 steps", "best", "digits found"]
    page = "# What the start of a tensor ring is worth\n\n`python -m benchmarks.initialization`: "
    page += f"log-densities of test rows in nats, means of {len(SEEDS)} seeds (± standard deviation), "
    page += "at the step that is best on validation rows.\n\n"
    OUT.mkdir(parents=True, exist_ok=True)
    write(OUT / "initialization.md", page + markdown_table(header, table) + "\n\n![Validation curves](curves.png)\n")
    write_json(OUT / "initialization.json", {"machine": machine(), "curves": curves})
    draw(curves)


if __name__ == "__main__":
    main()
