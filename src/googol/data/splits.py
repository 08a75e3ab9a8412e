"""The three parts of a data set, and how a set that names none is divided."""

from collections.abc import Iterable

import numpy as np

from googol.data.batches import permutation
from googol.data.files import DataError
from googol.data.names import unknown

__all__ = ["SPLITS", "divide", "members"]

SPLITS = ("train", "valid", "test")


def divide(n: int) -> np.ndarray:
    """A fixed pseudo-random division of ``n`` images: 80 % "train", 10 % "valid", 10 % "test".

    Returns:
        (n,) of these texts, a function of ``n`` alone. From three images on, no part is empty.

    Example:
        >>> sorted(divide(10).tolist())
        ['test', 'train', 'train', 'train', 'train', 'train', 'train', 'train', 'train', 'valid']
    """
    held_out = max(1, n // 10) if n >= len(SPLITS) else 0
    parts = np.full(n, "train")
    order = permutation(n, 0).numpy()
    parts[order[:held_out]] = "valid"
    parts[order[held_out : 2 * held_out]] = "test"
    return parts


def members(parts: Iterable[str], split: str, where: str, what: str = "images") -> np.ndarray:
    """The indices of the images, or whatever they are, whose part is ``split``.

    Raises:
        DataError: There is none, or a part is none of "train", "valid" and "test".
    """
    parts = np.asarray(list(parts))
    wrong = sorted(set(parts.tolist()) - set(SPLITS))
    if wrong:
        raise DataError(f"{where}: {unknown('split', wrong[0], SPLITS)}")
    index = np.flatnonzero(parts == split)
    if len(index) == 0:
        raise DataError(f"{where} has {len(parts)} {what}, but none for the split {split!r}")
    return index
