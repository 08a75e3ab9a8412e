"""The prior that is uniform on the sphere."""

import math

import pytest
import torch

from googol.distributions import unit_sphere
from googol.priors import HypersphericalUniform


def test_density_and_samples():
    prior = HypersphericalUniform(3)
    z = prior().sample((7,))
    assert prior.support is unit_sphere
    assert z.shape == (7, 3)
    assert unit_sphere.check(z).all()
    torch.testing.assert_close(prior().log_prob(z), torch.full((7,), -math.log(4 * math.pi)))


def test_follows_its_module():
    prior = HypersphericalUniform(2)
    assert prior.double()().sample().dtype == torch.double
    assert prior.to("meta")().sample().device.type == "meta"
    assert not prior.state_dict()


def test_one_latent_is_refused():
    with pytest.raises(ValueError, match="latents to be at least 2; got 1"):
        HypersphericalUniform(1)
