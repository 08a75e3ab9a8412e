"""What is asked of images in words: values, ranges and sets of values of their conditions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from googol.data.dataset import Condition
from googol.data.names import unknown
from googol.distributions import Event, Interval, OneOf

__all__ = ["Given", "parse_given"]

RANGE, SET = "..", ","


@dataclass(frozen=True, eq=False)
class Given:
    """What is known of the c conditions of an image.

    Args:
        values: Their exact values, ``(c,)``; NaN = not known.
        within: Of others, by number, an interval or a set in which they lie.
    """

    values: Tensor
    within: Mapping[int, Event]

    def with_value(self, condition: int, number: float) -> Given:
        """The same, and one more exact value, in place of whatever was known of that condition."""
        values = self.values.clone()
        values[condition] = number
        return replace(self, values=values, within={k: e for k, e in self.within.items() if k != condition})

    def knows(self, condition: int) -> bool:
        """Whether anything is known of a condition."""
        return condition in self.within or not bool(self.values[condition].isnan())


def parse_given(texts: Sequence[str], schema: Sequence[Condition]) -> Given:
    """What is asked of images, in words.

    A condition is given by its value (``digit=3``), by a set of values (``digit=3,5``), or by a range with both ends
    included (``age=30..40``), one of which may be left out (``age=..40``). A range of a categorical condition goes from
    one of its values to another, in the order that they have.

    Args:
        texts: Like ``["Smiling=1", "age=30..40"]``.
        schema: The ``c`` conditions there are.

    Raises:
        ValueError: A text is not of the form ``name=value``, the name is unknown, the condition cannot take
            the value, a range ends before it begins, or two texts contradict each other.

    Example:
        >>> hair = Condition("hair", ("red", "brown", "grey"))
        >>> schema = [Condition("Smiling", ("0", "1")), Condition("age", None), hair]
        >>> given = parse_given(["Smiling=1", "age=30..", "hair=red,grey"], schema)
        >>> given.values
        tensor([1., nan, nan])
        >>> given.within
        {1: Interval(low=30.0, high=inf), 2: OneOf(values=(0, 2))}
    """
    by_name = {condition.name: number for number, condition in enumerate(schema)}
    found: dict[str, tuple[str, float | Event]] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise ValueError(f"a condition must be given as name=value, got {text!r}")
        if name not in by_name:
            raise ValueError(unknown("condition", name, by_name))
        meant = _meaning(schema[by_name[name]], value)
        if name in found and meant != found[name][1]:
            raise ValueError(f"contradictory conditions: {name}={found[name][0]} and {name}={value}")
        found[name] = (value, meant)
    values, within = torch.full((len(schema),), math.nan), {}
    for name, (_, meant) in found.items():
        if isinstance(meant, Event):
            within[by_name[name]] = meant
        else:
            values[by_name[name]] = meant
    return Given(values, within)


def _meaning(condition: Condition, text: str) -> float | Event:
    """The number of a value, or the event that a text stands for."""
    if condition.values is not None and text in condition.values:  # whatever signs there are in its name
        return condition.encode(text)
    if RANGE in text:
        low, high = (part.strip() for part in text.split(RANGE, 1))
        if not low and not high:
            raise ValueError(f"a range of {condition.name} must have a lower or an upper end, got {text!r}")
        last = math.inf if condition.values is None else len(condition.values) - 1.0
        first = -math.inf if condition.values is None else 0.0
        bounds = condition.encode(low) if low else first, condition.encode(high) if high else last
        if bounds[0] > bounds[1]:
            raise ValueError(f"a range of {condition.name} must not end before it begins, got {text!r}")
        low, high = torch.tensor(bounds).tolist()  # in single precision, as all values are
        return low if low == high else Interval(*bounds)
    if SET in text and condition.values is not None:
        values = sorted({int(condition.encode(part.strip())) for part in text.split(SET)})
        return float(values[0]) if len(values) == 1 else OneOf(values)
    return condition.encode(text)
