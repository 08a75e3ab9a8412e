"""What somebody chose on the page, as a model takes it and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from googol.data import Condition, Given
from googol.distributions import Event, Interval, OneOf
from googol.explorer.scales import Scale
from googol.explorer.words import listed

# Of a categorical condition the values that are ticked, none for any; of a continuous one the ends of a range.
Pick = Sequence[str] | tuple[float, float]


@dataclass(frozen=True, eq=False)
class Choice:
    """What a picture or a row shall be like.

    Arguments:
        given: As the model takes it.
        words: The same in words; empty where everything is open.
    """

    given: Given
    words: str


class ContradictionError(ValueError):
    """A choice that nothing can fulfil; the message says why, and what to do."""


def choose(picks: Sequence[Pick], conditions: Sequence[Condition], scales: Sequence[Scale | None]) -> Choice:
    """What was picked, taken together.

    Arguments:
        picks: One for each condition.
        conditions: What they are.
        scales: Of each continuous condition its scale, None of each other one.

    Raises:
        ContradictionError: A range ends before it begins.
    """
    values, within, words = torch.full((len(conditions),), math.nan), {}, []
    for number, (pick, condition, scale) in enumerate(zip(picks, conditions, scales, strict=True)):
        if scale is None:
            meant, text = _of_names([str(name) for name in pick], condition)
        else:
            low, high = (float(end) for end in pick)
            meant, text = _of_range(low, high, condition, scale)
        if isinstance(meant, Event):
            within[number] = meant
        elif meant is not None:
            values[number] = meant
        if meant is not None:
            words.append(f"{condition.name} {text}")
    return Choice(Given(values, within), listed(words) if words else "")


def describe(numbers: Sequence[float], conditions: Sequence[Condition], scales: Sequence[Scale | None]) -> str:
    """Exact values of all conditions in words."""
    return ", ".join(name_value(*each) for each in zip(numbers, conditions, scales, strict=True))


def name_value(number: float, condition: Condition, scale: Scale | None) -> str:
    """A condition with its value, in words."""
    return f"{condition.name} {condition.decode(number) if scale is None else scale.text(number)}"


def _of_names(names: Sequence[str], condition: Condition) -> tuple[float | Event | None, str]:
    every = condition.values or ()
    indices = sorted({int(condition.encode(name)) for name in names})
    if len(indices) in (0, len(every)):
        return None, ""
    text = listed([every[index] for index in indices], "or")
    return (float(indices[0]) if len(indices) == 1 else OneOf(indices)), text


def _of_range(low: float, high: float, condition: Condition, scale: Scale) -> tuple[Event | None, str]:
    """The range between two sliders, open at the ends of the scale."""
    begins, ends = low > scale.low, high < scale.high
    if low > high and begins and ends:
        raise ContradictionError(
            f"The range of {condition.name} begins at {scale.text(low)} and ends at {scale.text(high)}, so nothing "
            "lies in it: move one of its ends."
        )
    if low == high and begins and ends:
        # A single number has no probability of its own; what is shown as that number has one.
        return Interval(low - scale.step / 2, high + scale.step / 2), f"about {scale.text(low)}"
    event = Interval(low if begins else -math.inf, high if ends else math.inf)
    if begins and ends:
        return event, f"{scale.text(low)} to {scale.text(high)}"
    if begins or ends:
        return event, f"at least {scale.text(low)}" if begins else f"at most {scale.text(high)}"
    return None, ""
