"""The mixture of the posteriors of pseudo-inputs."""

import copy
import warnings

import pytest
import torch
from torch.distributions import Independent, Laplace

from googol import posteriors
from googol.distributions import unit_sphere
from googol.likelihoods import Bernoulli
from googol.models import VAE
from googol.networks import MLPDecoder, MLPEncoder
from googol.posteriors import DiagonalNormal, VonMisesFisher
from googol.priors import VampPrior

SHAPE = (1, 4, 4)


class LaplacePosterior(DiagonalNormal):
    """Without a short cut for its density."""

    def forward(self, x):
        normal = super().forward(x)
        return Independent(Laplace(normal.mean, normal.stddev), 1)


def posterior(kind=DiagonalNormal):
    return kind(MLPEncoder(SHAPE, kind.encoder_outputs(3)), 3).double()


# The others wrap posteriors of images and conditions together.
OF_IMAGES = [kind for kind in map(vars(posteriors).get, posteriors.__all__) if hasattr(kind, "encoder_outputs")]


@pytest.mark.parametrize("kind", [*OF_IMAGES, LaplacePosterior])
def test_density_is_the_mean_of_the_posteriors(kind):
    torch.manual_seed(0)
    q = posterior(kind)
    prior = VampPrior(q, SHAPE, components=7).double()
    z = q(torch.rand(2, 5, *SHAPE, dtype=torch.double)).sample()
    each = torch.stack([q(u).log_prob(z).exp() for u in prior.pseudo_inputs])
    torch.testing.assert_close(prior().log_prob(z), each.mean(0).log(), rtol=1e-5, atol=1e-5)
    assert prior.support is (unit_sphere if kind is VonMisesFisher else None)


def test_samples_are_those_of_the_posteriors():
    torch.manual_seed(0)
    q = posterior()
    prior = VampPrior(q, SHAPE, components=4).double()
    z = prior().sample((50_000,))
    each = q(prior.pseudo_inputs)
    torch.testing.assert_close(z.mean(0), each.mean.mean(0).detach(), atol=0.03, rtol=0)
    assert z.shape == (50_000, 3)


def test_pseudo_inputs_and_the_encoder_learn():
    q = posterior()
    prior = VampPrior(q, SHAPE, components=4).double()
    with torch.no_grad():
        prior.raw.mul_(10)
    assert (prior.pseudo_inputs > 0).all()
    assert (prior.pseudo_inputs < 1).all()
    prior().log_prob(torch.zeros(3, dtype=torch.double)).backward()
    assert (prior.raw.grad != 0).any()
    assert all(parameter.grad is not None for parameter in q.parameters())


def model() -> VAE:
    q = posterior()
    return VAE(VampPrior(q, SHAPE, components=4), q, Bernoulli(MLPDecoder(3, SHAPE))).double()


def test_the_posterior_is_shared_and_kept_once():
    vae = model()
    assert [name for name in vae.state_dict() if name.startswith("prior")] == ["prior.raw"]
    assert list(vae.prior.parameters()) == [vae.prior.raw]
    copied = copy.deepcopy(vae)
    z = torch.zeros(3, dtype=torch.double)
    with torch.no_grad():
        for parameter in copied.posterior.parameters():
            parameter.add_(0.1)
    assert copied.prior._shared[0] is copied.posterior
    assert copied.log_prior(z) != vae.log_prior(z)
    copied.load_state_dict(vae.state_dict())
    assert copied.log_prior(z) == vae.log_prior(z)


def batches(images):
    return iter(images.split(3))


@pytest.mark.parametrize("learnable", [True, False])
def test_starts_from_images(learnable):
    torch.manual_seed(0)
    images = torch.rand(20, *SHAPE).round()
    prior = VampPrior(posterior(), SHAPE, components=6, start="data", learnable=learnable)
    prior.start_from(batches(images))
    distance = (prior.pseudo_inputs.detach().unsqueeze(1) - images).abs().flatten(2).amax(-1)
    assert (distance.amin(1) <= (0.011 if learnable else 0)).all()
    assert distance.argmin(1).unique().numel() == 6
    assert len(list(prior.parameters())) == learnable
    loaded = VampPrior(posterior(), SHAPE, components=6, start="data", learnable=learnable)
    loaded.load_state_dict(prior.state_dict())
    assert torch.equal(loaded.pseudo_inputs, prior.pseudo_inputs)


def test_pseudo_inputs_that_were_not_given_are_told():
    posterior = DiagonalNormal(MLPEncoder((1, 4, 4), 4), 2)
    prior = VampPrior(posterior, (1, 4, 4), components=3, start="data", learnable=False)
    with pytest.warns(UserWarning, match="all pseudo-inputs are grey: start_from"):
        prior()
    prior.start_from([torch.rand(5, 1, 4, 4)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prior()


def test_any_image_is_as_likely_to_be_taken():
    torch.manual_seed(0)
    images = torch.arange(10.0).div(10).view(10, 1, 1, 1)
    prior = VampPrior(posterior(), (1, 1, 1), components=4, start="data", learnable=False)
    taken = torch.zeros(10)
    for _ in range(500):
        prior.start_from(batches(images))
        taken[(10 * prior.pseudo_inputs.flatten()).round().long()] += 1
    assert ((taken - 200).abs() < 55).all()  # five standard deviations


def test_a_random_start_stays():
    prior = VampPrior(posterior(), SHAPE, components=4)
    before = prior.raw.clone()
    prior.start_from(iter([torch.rand(9, *SHAPE)]))
    assert torch.equal(prior.raw, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 0}, "components to be at least 1; got 0"),
        ({"start": "images"}, "random or data; got 'images'"),
        ({"learnable": False}, "not learned; got 'random'"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        VampPrior(posterior(), SHAPE, **options)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="components = 6 images; got 5"):
        VampPrior(posterior(), SHAPE, components=6, start="data").start_from(batches(torch.rand(5, *SHAPE)))
