"""The three parts of a data set, and how a set that names none is divided."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

from googol.data.batches import permutation
from googol.data.files import DataError
from googol.data.names import unknown

__all__ = ["SPLITS", "divide", "divide_by_name", "members"]

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


def divide_by_name(names: Sequence[str]) -> np.ndarray:
    """A division of things by their names: about 80 % "train", 10 % "valid", 10 % "test".

    Each name decides for itself, so that others may come and go.

    Returns:
        ``(n,)`` of these texts. From three names on, no part is empty: the largest gives one up.

    Example:
        >>> divide_by_name(["a.png", "b.png", "c.png", "d.png"]).tolist()
        ['train', 'valid', 'train', 'test']
    """
    digests = [blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names]
    numbers = np.array([int.from_bytes(digest, "big") for digest in digests], np.uint64)
    parts = np.array(["valid", "test", *["train"] * 8])[numbers % np.uint64(10)]
    for part in SPLITS if len(names) >= len(SPLITS) else ():
        if part not in parts:
            largest = max(SPLITS, key=lambda other: int((parts == other).sum()))
            rows = np.flatnonzero(parts == largest)
            parts[rows[numbers[rows].argmin()]] = part
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
