"""What a step of the training loop costs beside a bare hand-written loop.

    python -m benchmarks.training_step

Both train the same network on the same batches in one process, taking turns at every step: whenever `fit` asks
its model for a loss, the bare loop does one whole step of its own. What `fit` does from there to the next time it
asks is its step: gradient, update, and everything that a loop does between two steps. Writes
``results/bench/training_step.md``.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.tensor_ring import OUT
from benchmarks.timing import markdown_table, two_threads, write
from googol.data import Condition, Dataset, batches
from googol.training import TrainingSettings, fit

BATCH_SIZE = 128
WIDTHS = (300, 512, 1024)
SKIPPED = 5  # first steps, in which memory is allocated


class Autoencoder(nn.Module):
    """An autoencoder of fully connected layers that first calls a function when it is asked for its loss."""

    def __init__(self, width: int, first: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        torch.manual_seed(0)
        sizes = (784, width, width, 32, width, width, 784)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.first = first

    def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The cross-entropy of the pixels and the size of the output."""
        self.first()
        logits = self.layers(x.flatten(1))
        error = nn.functional.binary_cross_entropy_with_logits(logits, x.flatten(1))
        size = 1e-3 * logits.square().mean()
        return {"loss": error + size, "error": error, "size": size}


def measure(data: Dataset, width: int, settings: TrainingSettings) -> tuple[list[float], list[float]]:
    """Seconds of each step of a bare loop and of `fit`, in one epoch."""
    model = Autoencoder(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
    indices = iter(batches(len(data), BATCH_SIZE, seed=0, epoch=0))
    bare, asked, answered = [], [], []

    def bare_step() -> None:
        asked.append(time.perf_counter())
        if model.training and (index := next(indices, None)) is not None:
            x, y = data.images[index].float() / 255, data.conditions[index]
            optimizer.zero_grad()
            model.loss(x, y)["loss"].backward()
            optimizer.step()
            bare.append(time.perf_counter() - asked[-1])
        answered.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        fit(Autoencoder(width, bare_step), data, data.subset(slice(1)), Path(folder), settings)
    ours = [after - before for before, after in zip(answered, asked[1:], strict=False)]
    return bare[SKIPPED:-1], ours[SKIPPED : len(bare) - 1]


def main() -> None:
    """Measures several widths, with and without averaged weights, and writes the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    two_threads()
    generator = torch.Generator().manual_seed(0)
    shape = (given.steps * BATCH_SIZE, 1, 28, 28)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    data = Dataset("noise", images, torch.zeros(len(images), 1), (Condition("none", None),))
    rows = []
    for width, average in product(WIDTHS, (0.0, 0.999)):
        settings = TrainingSettings(epochs=1, batch_size=BATCH_SIZE, accelerator="cpu", average_weights=average)
        # A process's first round is slower, and unequally so, until its memory has settled.
        rounds = [measure(data, width, settings) for _ in range(given.rounds + 1)][1:]
        medians = [[statistics.median(times) for times in pair] for pair in rounds]
        bare, ours = (1000 * statistics.median(times) for times in zip(*medians, strict=True))
        ratios = sorted(mine / other for other, mine in medians)
        cells = [f"{bare:.2f}", f"{ours:.2f}", f"{statistics.median(ratios):.3f}", f"{ratios[0]:.3f}-{ratios[-1]:.3f}"]
        rows.append([str(width), "yes" if average else "no", *cells])
    header = ["width", "averaged weights", "bare loop, ms", "fit, ms", "ratio", "of the rounds"]
    text = (
        "# A step of training beside a bare loop\n\n`python -m benchmarks.training_step`: an autoencoder "
        f"784-w-w-32-w-w-784 on {BATCH_SIZE} images, the same batches for both, in turns at every step; "
        f"{given.rounds} rounds, {torch.get_num_threads()} threads. Besides, `fit` fetches the batch from the data "
        "set, averages what it logs, follows a schedule, and looks for losses that are not finite.\n\n"
        f"{markdown_table(header, rows)}\n"
    )
    write(OUT / "training_step.md", text)
    print(text)


if __name__ == "__main__":
    main()
