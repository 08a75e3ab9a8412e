"""What may be known of a variable, short of its value: an interval, or a set of values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from googol.distributions.indexing import as_int


@dataclass(frozen=True)
class Interval:
    """The values from ``low`` to ``high``, both included; of a discrete variable the values 0 … N − 1 between them.

    Args:
        low: The lower bound, or minus infinity.
        high: The upper bound, or infinity.

    Raises:
        ValueError: A bound is NaN, or ``low`` is above ``high``.

    Example:
        >>> 2 in Interval(low=1.5)
        True
    """

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"an interval must have low ≤ high, got {self.low} and {self.high}")

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, init=False)
class OneOf:
    """A few values of a discrete variable.

    Args:
        values: At least one index of a value.

    Raises:
        ValueError: There is none.
        TypeError: They are not ints.

    Example:
        >>> OneOf([2, 0, 2])
        OneOf(values=(0, 2))
    """

    values: tuple[int, ...]

    def __init__(self, values: Iterable[int]) -> None:
        try:
            found = tuple(sorted({as_int(value) for value in values}))
        except TypeError:
            raise TypeError(f"values must be indices (ints) of a discrete variable, got {values!r}") from None
        if not found:
            raise ValueError("values must hold at least one value, got none")
        object.__setattr__(self, "values", found)

    def __contains__(self, value: float) -> bool:
        return value in self.values


Event = Interval | OneOf
