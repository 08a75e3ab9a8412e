"""The scale of a continuous condition: what its sliders span, and the bins that its distribution is shown in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from googol.distributions import TensorRingDistribution

BINS = 8  # about so many, such that they end at round numbers
STEPS = 10  # of a slider in each bin
TAIL = 0.005  # what may lie beyond each end of the scale


@dataclass(frozen=True)
class Scale:
    """Equal bins between round numbers, the first and the last of which are open.

    Arguments:
        edges: Where they begin and end, at least three increasing numbers.
    """

    edges: tuple[float, ...]

    @property
    def low(self) -> float:
        """Where a slider begins."""
        return self.edges[0]

    @property
    def high(self) -> float:
        """Where a slider ends."""
        return self.edges[-1]

    @property
    def step(self) -> float:
        """The step of a slider."""
        return (self.edges[1] - self.edges[0]) / STEPS

    def text(self, number: float, *, digits: int | None = None) -> str:
        """A number, rounded as finely as a slider tells numbers apart.

        Example:
            >>> Scale((0.0, 2.0, 4.0)).text(1234.5678)
            '1,234.6'
        """
        digits = decimals(self.step) if digits is None else digits
        return f"{round(number, digits) + 0.0:,.{digits}f}"

    def names(self) -> list[str]:
        """What the bins are called.

        Example:
            >>> Scale((0.0, 2.0, 4.0, 6.0)).names()
            ['under 2', '2 to 4', 'over 4']
        """
        edges = [self.text(edge, digits=decimals(self.edges[1] - self.edges[0])) for edge in self.edges[1:-1]]
        inner = [f"{low} to {high}" for low, high in pairwise(edges)]
        return [f"under {edges[0]}", *inner, f"over {edges[-1]}"]

    @property
    def inner(self) -> Tensor:
        """The edges between the bins."""
        return torch.tensor(self.edges[1:-1])

    def shares(self, below: Tensor) -> dict[str, float]:
        """The probabilities of the bins by their names.

        Arguments:
            below: The distribution function at the edges between them.
        """
        ends = below.new_zeros(1), below.new_ones(1)
        shares = torch.cat([ends[0], below, ends[1]]).diff().clamp(0, 1).tolist()
        return dict(zip(self.names(), shares, strict=True))


def scale_of(marginal: TensorRingDistribution) -> Scale:
    """The scale that suits a distribution of one continuous variable."""
    ends = marginal.from_uniform(torch.tensor([[TAIL], [1 - TAIL]]).to(marginal.log_normalizer))
    low, high = ends.flatten().tolist()
    return round_scale(low, high)


def round_scale(low: float, high: float) -> Scale:
    """About eight bins between round numbers that cover an interval.

    Example:
        >>> round_scale(0.3, 7.7).edges
        (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
    """
    width = max((high - low) / BINS, 1e-6 * max(abs(low), abs(high), 1e-6))
    power = 10.0 ** math.floor(math.log10(width))
    width = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.999 * width)
    first, last = math.floor(low / width + 1e-6), math.ceil(high / width - 1e-6)
    last = max(last, first + 2)
    return Scale(tuple(float(f"{number * width:.12g}") for number in range(first, last + 1)))


def decimals(step: float) -> int:
    """How many digits after the point tell multiples of a step apart."""
    return max(0, -math.floor(math.log10(step) + 1e-9))
