"""Points of the plane from 25 normal distributions on a grid: of a generator that forgets modes one sees which."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from googol.data.dataset import Condition, Dataset

__all__ = ["GaussianGrid"]

SIDE = 5
FIRST, SPACING, SPREAD = 28, 50, 2.5  # in 256ths of the side of the square
COUNTS = {"train": 50_000, "valid": 5_000, "test": 10_000}


class GaussianGrid:
    """25 normal distributions on a grid of 5 × 5, a twentieth of their distance wide, as images of two pixels.

    A point (x, y) is the pair of pixels, with 256 levels each that are spread out evenly when they are read. The
    condition is the number of the normal it was drawn from, row by row. The data are made from a seed: 50,000 points
    for training, 5,000 for validation, 10,000 for testing.

    After the toy data of I. Gulrajani et al., `Improved Training of Wasserstein GANs
    <https://arxiv.org/abs/1704.00028>`_, 2017, figure 1.
    """

    name = "gaussian-grid"
    description = "65,000 points of the plane from 25 normals on a grid (embedded)"
    default_conditions = None

    def locate(self, folders: Sequence[Path]) -> Path | None:
        """This file: the points are made here."""
        return Path(__file__)

    def remark(self, folders: Sequence[Path]) -> str:
        """Nothing."""
        return ""

    def get(self, folders: Sequence[Path]) -> Path:
        """The same: there is nothing to download."""
        return Path(__file__)

    def load(self, split: str, folders: Sequence[Path]) -> Dataset:
        """The points of one split."""
        random = np.random.RandomState(list(COUNTS).index(split))  # whose numbers never change
        modes = random.randint(SIDE**2, size=COUNTS[split])
        centres = FIRST + SPACING * np.stack([modes % SIDE, modes // SIDE], 1)
        points = np.clip(np.rint(centres + SPREAD * random.randn(*centres.shape)), 0, 255).astype(np.uint8)
        return Dataset(
            self.name,
            torch.from_numpy(points).view(-1, 1, 1, 2),
            torch.from_numpy(modes.astype(np.float32)).unsqueeze(1),
            (Condition("mode", tuple(str(mode) for mode in range(SIDE**2))),),
            noise="dequantize",
        )
