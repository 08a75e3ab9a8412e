"""The standard normal prior."""

import math

import pytest
import torch

from googol.priors import StandardNormal


def test_density_and_shape():
    prior = StandardNormal(3)()
    assert prior.event_shape == (3,)
    z = torch.tensor([[0.0, 1.0, -2.0], [0.5, 0.0, 0.0]])
    expected = -0.5 * z.square().sum(-1) - 1.5 * math.log(2 * math.pi)
    torch.testing.assert_close(prior.log_prob(z), expected)
    assert prior.sample((7,)).shape == (7, 3)


def test_follows_its_module():
    prior = StandardNormal(2).double()
    assert prior().sample().dtype == torch.double
    assert prior.to("meta")().mean.device.type == "meta"
    assert not StandardNormal(2).state_dict()


def test_no_latents_are_refused():
    with pytest.raises(ValueError, match="latents to be at least 1; got 0"):
        StandardNormal(0)
