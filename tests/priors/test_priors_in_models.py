"""Every prior, with each posterior that lies where it does, in a model."""

import pytest
import torch

from googol.distributions import Normal, TensorRing
from googol.likelihoods import Bernoulli
from googol.models import VAE
from googol.networks import MLPDecoder, MLPEncoder
from googol.posteriors import DiagonalNormal, VonMisesFisher
from googol.priors import FlowPrior, HypersphericalUniform, NormalMixture, StandardNormal, VampPrior

SHAPE = (1, 4, 4)
LATENTS = 3
PRIORS = {
    "standard normal": (DiagonalNormal, lambda q: StandardNormal(LATENTS)),
    "mixture": (DiagonalNormal, lambda q: NormalMixture(LATENTS, components=4)),
    "vamp": (DiagonalNormal, lambda q: VampPrior(q, SHAPE, components=4)),
    "vamp of images": (DiagonalNormal, lambda q: VampPrior(q, SHAPE, components=4, start="data", learnable=False)),
    "flow": (DiagonalNormal, lambda q: FlowPrior(StandardNormal(LATENTS), LATENTS)),
    "flow over mixture": (DiagonalNormal, lambda q: FlowPrior(NormalMixture(LATENTS, components=4), LATENTS)),
    "flow over ring": (DiagonalNormal, lambda q: FlowPrior(TensorRing([Normal(3)] * LATENTS, rank=2), LATENTS)),
    "flow over vamp": (DiagonalNormal, lambda q: FlowPrior(VampPrior(q, SHAPE, components=4), LATENTS, flow="maf")),
    "sphere": (VonMisesFisher, lambda q: HypersphericalUniform(LATENTS)),
    "vamp on the sphere": (VonMisesFisher, lambda q: VampPrior(q, SHAPE, components=4)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PRIORS)
def test_bounds_samples_and_gradients(name, dtype):
    torch.manual_seed(0)
    kind, build = PRIORS[name]
    posterior = kind(MLPEncoder(SHAPE, kind.encoder_outputs(LATENTS)), LATENTS)
    model = VAE(build(posterior), posterior, Bernoulli(MLPDecoder(LATENTS, SHAPE))).to(dtype)
    x = torch.rand(20, *SHAPE, dtype=dtype)
    for epoch in (0, 1):
        model.on_epoch_start(epoch, lambda: iter([(x, torch.empty(20, 0))]))
    model.train()
    assert model.importance_bound(x, 4).shape == (20,)
    with torch.no_grad():
        elbo = model.elbo(x.repeat(20, 1, 1, 1)).mean()
        assert model.importance_bound(x, 400).mean() > elbo
    model.elbo(x).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
    assert all(parameter.grad is not None for parameter in posterior.parameters())
    learned = list(model.prior.parameters())
    assert not learned or any((parameter.grad != 0).any() for parameter in learned)
    samples = model.sample(3)
    assert samples.shape == (3, *SHAPE)
    assert samples.dtype == dtype
    assert model.reconstruct(x).shape == x.shape


@pytest.mark.parametrize("name", PRIORS)
def test_state_is_restored_exactly(name):
    def build() -> VAE:
        kind, prior = PRIORS[name]
        posterior = kind(MLPEncoder(SHAPE, kind.encoder_outputs(LATENTS)), LATENTS)
        return VAE(prior(posterior), posterior, Bernoulli(MLPDecoder(LATENTS, SHAPE)))

    one, other = build(), build()
    other.load_state_dict(one.state_dict())
    z = torch.nn.functional.normalize(torch.randn(5, LATENTS), dim=-1)
    assert torch.equal(one.log_prior(z), other.log_prior(z))
