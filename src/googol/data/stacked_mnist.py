"""Three digits in three colours: a thousand modes whose number in generated images can be counted."""

from collections.abc import Sequence
from pathlib import Path

import torch

from googol.data.batches import permutation
from googol.data.dataset import Condition, Dataset
from googol.data.mnist import MNIST, FromMnist, Mnist

__all__ = ["STACKED_MNIST", "StackedMnist"]

COLOURS = ("red", "green", "blue")


class StackedMnist(FromMnist):
    """Images whose red, green and blue are three digits of MNIST, drawn independently of each other.

    Each digit of a split comes once in each colour, in three orders that a seed gives. The conditions are the three
    digits. Its files are those of ``mnist``.

    After L. Metz et al., `Unrolled Generative Adversarial Networks <https://arxiv.org/abs/1611.02163>`_, 2017, section
    3.3.1, where images are drawn anew.

    Args:
        source: The grey images.
    """

    name = "stacked-mnist"
    description = "70,000 images of three handwritten digits, one a colour, 28 x 28: a thousand modes"

    def __init__(self, source: Mnist = MNIST) -> None:
        super().__init__(source)

    def load(self, split: str, folders: Sequence[Path]) -> Dataset:
        """The images of one split."""
        data = self.source.load(split, folders)
        orders = [permutation(len(data), 0, colour) for colour in range(len(COLOURS))]
        return Dataset(
            self.name,
            torch.cat([data.images[order] for order in orders], 1),
            torch.cat([data.conditions[order] for order in orders], 1),
            tuple(Condition(colour, self.source.condition.values) for colour in COLOURS),
        )


STACKED_MNIST = StackedMnist()
