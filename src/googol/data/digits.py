"""The digits that come with scikit-learn: 1,797 images, no download."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from googol.data.dataset import Condition, Dataset
from googol.data.files import DataError

__all__ = ["Digits"]


class Digits:
    """Handwritten digits, 8 × 8 grey, of 43 writers.

    Grey values 0 … 16 become 0 … 255. Of every nine successive images of a digit, the first six are for
    training, the seventh for validation and the last two for testing: 1,206, 198 and 393 images, each digit
    in the same proportion.

    E. Alpaydin and C. Kaynak, `Optical Recognition of Handwritten Digits
    <https://archive.ics.uci.edu/dataset/80>`_, UCI Machine Learning Repository, 1998 (the test part).
    """

    name = "digits"
    description = "1,797 handwritten digits, 8 x 8 grey (embedded)"
    default_conditions = None

    def locate(self, folders: Sequence[Path]) -> Path | None:
        """The file inside scikit-learn's package."""
        spec = find_spec("sklearn")
        return None if spec is None or spec.origin is None else Path(spec.origin).parent / "datasets" / "data"

    def remark(self, folders: Sequence[Path]) -> str:
        """Nothing: they are the published ones."""
        return ""

    def get(self, folders: Sequence[Path]) -> Path:
        """The same: there is nothing to download."""
        path = self.locate(folders)
        if path is None:
            raise DataError("digits come with scikit-learn, which is not installed: pip install scikit-learn")
        return path

    def load(self, split: str, folders: Sequence[Path]) -> Dataset:
        """The images of one split."""
        from sklearn.datasets import load_digits

        source = load_digits()
        rank = np.zeros(len(source.target), dtype=int)  # of an image among those of its digit
        for digit in range(10):
            same = source.target == digit
            rank[same] = np.arange(same.sum())
        part = np.array(["train"] * 6 + ["valid"] + ["test"] * 2)[rank % 9]
        index = np.flatnonzero(part == split)
        images = np.rint(source.images[index] * (255 / 16)).astype(np.uint8)
        return Dataset(
            self.name,
            torch.from_numpy(images).unsqueeze(1),
            torch.from_numpy(source.target[index]).to(torch.float32).unsqueeze(1),
            (Condition("digit", tuple("0123456789")),),
        )
