"""Positions as an index of tensors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch


def as_int(value: Any) -> int:
    """A position or a number: an int of any library, but no truth value, as those of a mask are.

    Raises:
        TypeError: It is something else.

    Example:
        >>> as_int(torch.tensor(3))
        3
    """
    if isinstance(value, bool) or getattr(value, "dtype", None) == torch.bool:
        raise TypeError(f"expected an int, got {value!r}")
    return operator.index(value)


def index_of(positions: Sequence[int]) -> slice | list[int]:
    """Neighbours in their order as a slice, others as they are.

    A list is copied to the device of the tensor, and a GPU is waited for; a slice costs nothing.

    Example:
        >>> index_of([2, 3, 4]), index_of(range(2)), index_of([4, 2])
        (slice(2, 5, None), slice(0, 2, None), [4, 2])
    """
    first = positions[0] if positions else 0
    if first >= 0 and list(positions) == list(range(first, first + len(positions))):
        return slice(first, first + len(positions))
    return list(positions)
