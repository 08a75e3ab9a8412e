"""Small parts for models of images of two pixels with two conditions, a category and a number, and one latent."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from googol.networks import ConditionCoding

NAN = math.nan
SHAPE = (1, 1, 2)
X = torch.tensor([[0.5, -1.0], [2.0, 1.5], [-1.0, -1.0], [0.1, 0.0]], dtype=torch.float64).view(4, *SHAPE)
Y = torch.tensor([[0.0, 1.2], [NAN, -0.5], [2.0, NAN], [NAN, NAN]], dtype=torch.float64)
STEP = 0.02
CODES = torch.arange(-10, 10, STEP, dtype=torch.float64)  # of the one latent
NUMBERS = torch.arange(-8, 8, 0.1, dtype=torch.float64)
NUMBER_STEP = 0.1


class Flat(nn.Module):
    """A linear map of all numbers of an image; the last output is larger by some number."""

    def __init__(self, channels: int, outputs: int, last: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * channels, outputs)
        self.linear.bias.data[-1] += last

    def forward(self, x: Tensor) -> Tensor:
        return 0.7 * self.linear(x.flatten(-3))


class Pixels(nn.Module):
    """p(x given a vector), normal around a linear map of it."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 2)

    def forward(self, v: Tensor) -> Independent:
        return Independent(Normal(self.linear(v).unflatten(-1, SHAPE), 0.8), 3)


def coding() -> ConditionCoding:
    """That of a category with three values and a number, whose scale is known."""
    made = ConditionCoding([3, None])
    made.loc[1], made.scale[1] = 0.3, 1.5
    return made


def completions(y: Tensor) -> Iterator[tuple[Tensor, float]]:
    """All ways to complete a row of conditions: (values, volume) of the category in turn, with a grid of numbers."""
    for category in [y[0]] if not y[0].isnan() else torch.arange(3.0):
        numbers = NUMBERS if y[1].isnan() else y[1:]
        rows = torch.stack([category.to(numbers).expand(len(numbers)), numbers], -1)
        yield rows, NUMBER_STEP if y[1].isnan() else 1.0


def repeated(n: int) -> tuple[Tensor, Tensor]:
    """Every object n times: X and Y as (n · 4, …), all rows of the first repetition first."""
    return X.repeat(n, 1, 1, 1), Y.repeat(n, 1)


def within(draws: Tensor, expected: Tensor, errors: float = 4.5) -> bool:
    """Whether the mean of draws (n, …) is as many standard errors away from what is expected at most."""
    return bool(((draws.mean(0) - expected).abs() <= errors * draws.std(0) / math.sqrt(len(draws)) + 1e-9).all())
