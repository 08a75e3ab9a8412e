"""The groups that a ring divides codes into, and what one gets without a model."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from googol.data import Condition, Dataset
from googol.distributions import Categorical, TensorRing
from googol.distributions import Normal as NormalVariable
from googol.metrics import group_accuracy, imputation_baseline

SCHEMA = (Condition("level", ("dark", "light")), Condition("noise", ("0", "1", "2")), Condition("grey", None))


class Bright(nn.Module):
    """A posterior of two codes that both tell how bright an image is."""

    def forward(self, x: torch.Tensor) -> Independent:
        loc = 4 * (x.flatten(1).mean(1, keepdim=True).expand(-1, 2) - 0.5)
        return Independent(Normal(loc, 0.1), 1)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.posterior = Bright()
        variables = [NormalVariable(2, loc=[-2.0, 2.0], scale=0.5)] * 2 + [Categorical(2)]
        self.prior = TensorRing(variables, rank=2, boundary="train")
        with torch.no_grad():  # the value of each bond is the component of the code before it
            for core in self.prior.log_cores:
                core.copy_(torch.full_like(core, -30.0))
                for s in range(2):
                    core[:, s, :, s] = 0.0


@pytest.fixture
def images() -> Dataset:
    bright = torch.arange(300) % 2
    noise = torch.arange(300) % 3
    conditions = torch.stack([bright, noise, bright], 1).float()
    conditions[:20, 0] = math.nan
    conditions[30] = torch.tensor([1.0, 0.0, 1.0])  # told wrongly, once: the image is dark
    return Dataset("grey", (bright * 255).to(torch.uint8).reshape(-1, 1, 1, 1), conditions, SCHEMA)


def test_groups_agree_with_what_codes_tell_and_not_with_noise(images):
    found = group_accuracy(Model(), images)
    assert found.number == 2
    assert found.accuracy.each["level"] == 279 / 280
    assert found.accuracy.each["noise"] == pytest.approx(1 / 3, abs=0.02)
    assert found.accuracy.mean == sum(found.accuracy.each.values()) / 2
    assert found.accuracy.each.keys() == {"level", "noise"}


def test_the_commonest_value_is_always_said(images):
    found = imputation_baseline(images)
    assert found.each == {"level": 141 / 280, "noise": pytest.approx(1 / 3, abs=0.01)}


def test_what_is_refused(images):
    with pytest.raises(ValueError, match="must have a tensor ring of at least 2 variables as its prior, got NoneType"):
        group_accuracy(nn.Identity(), images)
    bare = Dataset("bare", images.images, torch.empty(300, 0), ())
    with pytest.raises(ValueError, match="bare has none"):
        group_accuracy(Model(), bare)
    with pytest.raises(ValueError, match="bare has none"):
        imputation_baseline(bare)
