"""How many latents are in use, and how many parameters there are."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from googol.data import Dataset
from googol.metrics import active_units, parameter_counts


class TwoOfThree(nn.Module):
    """A posterior whose third latent does not depend on the image; the second one hardly does."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.spread = spread

    def forward(self, x: torch.Tensor) -> Independent:
        bright = x.flatten(1).mean(1)
        loc = torch.stack([bright, self.spread * bright, torch.zeros_like(bright)], 1)
        return Independent(Normal(loc, 1.0), 1)


class Model(nn.Module):
    def __init__(self, spread: float) -> None:
        super().__init__()
        self.posterior = TwoOfThree(spread)


@pytest.fixture
def grey() -> Dataset:
    levels = (torch.arange(2000) % 2 * 255).to(torch.uint8)
    return Dataset("grey", levels.reshape(-1, 1, 1, 1), torch.empty(2000, 0), ())


@pytest.mark.parametrize(("spread", "expected"), [(1.0, 2), (0.3, 2), (0.05, 1)])
def test_noise_of_the_posterior_is_not_activity(grey, spread, expected):
    """The variance of the mean is 1/4 of the spread squared; draws alone would have a variance of 1."""
    assert active_units(Model(spread), grey, draws=32) == expected


def test_parameters_by_part():
    model = nn.ModuleDict({"prior": nn.Identity(), "posterior": nn.Linear(3, 2).requires_grad_(False)})
    assert parameter_counts(model) == {"prior": 0, "posterior": 8}


def test_a_single_image_does_not_vary(grey):
    with pytest.raises(ValueError, match="at least 2 images and draws of at least 1; got 1 and 8"):
        active_units(Model(1.0), grey.subset(slice(1)))
