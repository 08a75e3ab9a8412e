"""The bounds of a VAE against exact values on a model that is linear and Gaussian."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

from googol.distributions import Normal as NormalVariable
from googol.distributions import TensorRing
from googol.models import VAE
from googol.priors import StandardNormal


class Linear(nn.Module):
    """N(A v + b, diag s²), as a posterior or a likelihood."""

    def __init__(self, matrix: torch.Tensor, scale: float):
        super().__init__()
        self.matrix = nn.Parameter(matrix)
        self.scale = scale

    def forward(self, v: torch.Tensor) -> Independent:
        return Independent(Normal(v @ self.matrix.mT, torch.full((), self.scale, dtype=v.dtype)), 1)


def standard_ring() -> TensorRing:
    return TensorRing([NormalVariable(1, loc=[0.0], scale=1.0)] * 2, rank=1, dtype=torch.float64)


@pytest.fixture(params=[lambda: StandardNormal(2).double(), standard_ring], ids=["standard-normal", "ring of one"])
def model(request) -> VAE:
    generator = torch.Generator().manual_seed(1)
    decoder = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    # Near the exact posterior, so that the bounds are tight enough to be compared with few draws.
    encoder = torch.linalg.solve(decoder.mT @ decoder + 0.25 * torch.eye(2), decoder.mT)
    return VAE(request.param(), Linear(encoder, 0.35), Linear(decoder, 0.5))


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def exact(model: VAE, x: torch.Tensor) -> torch.Tensor:
    decoder = model.likelihood.matrix
    covariance = decoder @ decoder.mT + model.likelihood.scale**2 * torch.eye(4)
    return MultivariateNormal(torch.zeros(4, dtype=x.dtype), covariance).log_prob(x)


def exact_elbo(model: VAE, x: torch.Tensor) -> torch.Tensor:
    """E log p(x|z) − KL in closed form."""
    q = model.posterior(x)
    scale, decoder = model.posterior.scale, model.likelihood.matrix
    noise = model.likelihood.scale
    spread = (scale**2 * decoder.square().sum()) / (2 * noise**2)
    fit = model.likelihood(q.mean).log_prob(x) - spread
    kl = 0.5 * (2 * scale**2 + q.mean.square().sum(-1) - 2 - 4 * math.log(scale))
    return fit - kl


def test_the_elbo_agrees_with_its_closed_form(model, x):
    torch.manual_seed(0)
    draws = torch.stack([model.elbo(x) for _ in range(4000)]).detach()
    error = 4 * draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - exact_elbo(model, x)).abs() < error).all()


def test_the_importance_bound_rises_to_the_exact_value(model, x):
    torch.manual_seed(0)
    with torch.no_grad():
        bounds = [torch.stack([model.importance_bound(x, k) for _ in range(400)]).mean(0).mean() for k in (1, 8, 64)]
        tight = model.importance_bound(x, 200_000)
    assert bounds[0] < bounds[1] < bounds[2] < exact(model, x).mean() + 0.01
    torch.testing.assert_close(tight, exact(model, x).detach(), atol=0.02, rtol=0)


def test_the_loss_is_the_mean_negative_elbo_in_two_terms(model, x):
    torch.manual_seed(3)
    terms = model.loss(x, torch.empty(6, 0))
    torch.manual_seed(3)
    q = model.posterior(x)
    z = q.rsample()
    torch.testing.assert_close(terms["reconstruction"], -model.likelihood(z).log_prob(x).mean())
    torch.testing.assert_close(terms["kl"], (q.log_prob(z) - model.prior().log_prob(z)).mean())
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["kl"])


def test_samples_and_reconstructions_are_means_of_the_likelihood(model, x):
    torch.manual_seed(0)
    sample = model.sample(50_000)
    decoder = model.likelihood.matrix.detach()
    torch.testing.assert_close(sample.mT.cov(), decoder @ decoder.mT, atol=0.1, rtol=0.05)
    assert not sample.requires_grad
    torch.testing.assert_close(model.reconstruct(x), model.likelihood(model.posterior(x).mean).mean)


def test_k_below_one_is_refused(model, x):
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        model.importance_bound(x, 0)


def test_the_weight_of_the_divergence_rises_in_training_and_is_one_elsewhere(x):
    model = VAE(
        StandardNormal(2).double(), Linear(torch.ones(2, 4).double(), 0.5), Linear(torch.ones(4, 2).double(), 0.5)
    )
    model.kl_warmup_epochs = 4
    for epoch, weight in [(0, 0.25), (2, 0.75), (9, 1.0)]:
        model.on_epoch_start(epoch, lambda: iter(()))
        terms = model.train().loss(x, torch.empty(6, 0))
        torch.testing.assert_close(terms["loss"], terms["reconstruction"] + weight * terms["kl"])
        terms = model.eval().loss(x, torch.empty(6, 0))
        torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["kl"])


def test_a_ring_starts_from_the_codes_when_the_warm_up_is_over(x):
    torch.manual_seed(0)
    ring = TensorRing([NormalVariable(3)] * 2, rank=2, dtype=torch.float64)
    part = Linear(torch.ones(2, 4).double(), 0.5)
    model = VAE(ring, part, Linear(torch.ones(4, 2).double(), 0.5), warmup_epochs=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert not model.on_epoch_start(0, lambda: iter([(x, torch.empty(6, 0))]))
    terms = model.loss(x, torch.empty(6, 0))
    terms["loss"].backward()
    assert all(parameter.grad is None for parameter in ring.parameters())
    assert model.on_epoch_start(1, lambda: iter([(x, torch.empty(6, 0))]))
    after = model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"prior", "started"}


@pytest.mark.parametrize("name", ["warmup_epochs", "kl_warmup_epochs"])
def test_a_negative_number_of_epochs_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must not be negative, got -1"):
        VAE(StandardNormal(2), nn.Identity(), nn.Identity(), **{name: -1})


def test_the_elbo_is_the_difference_of_its_terms(model, x):
    torch.manual_seed(3)
    log_likelihood, kl = model.elbo_terms(x)
    torch.manual_seed(3)
    torch.testing.assert_close(model.elbo(x), log_likelihood - kl)


def test_whether_the_prior_has_started_is_read_when_it_changes_only(model, monkeypatch):
    """To read a number of a tensor waits for a GPU."""
    assert model._has_started()
    reads = []
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda tensor: reads.append(tensor) or bool(tensor.item()))
    assert model._has_started()
    assert not reads
    model.started.fill_(False)
    assert not model._has_started()
    copied = copy.deepcopy(model)
    copied.started.copy_(torch.tensor(True))
    assert copied._has_started()
    copied.load_state_dict(model.state_dict(), assign=True)
    assert not copied._has_started()
    with torch.inference_mode():
        assert not copy.deepcopy(copied)._has_started()


def test_a_prior_of_another_length_is_told(x):
    posterior, likelihood = (Linear(torch.zeros(shape, dtype=x.dtype), 1.0) for shape in ((2, 4), (4, 2)))
    vae = VAE(StandardNormal(1).double(), posterior, likelihood)
    with pytest.raises(ValueError, match=r"expected a prior of the posterior's 2 latents, got one of \(1,\)"):
        vae.loss(x)


def test_a_likelihood_of_single_pixels_is_told():
    class Pixels(nn.Module):
        def forward(self, z: torch.Tensor) -> Normal:
            return Normal(z.mean(-1, keepdim=True).expand(*z.shape[:-1], 8), 1.0)

    class Code(nn.Module):
        def forward(self, x: torch.Tensor) -> Independent:
            return Independent(Normal(x[..., :3], 1.0), 1)

    model = VAE(StandardNormal(3), Code(), Pixels())
    for ask in (model.loss, model.elbo, lambda x: model.importance_bound(x, 2)):
        with pytest.raises(
            ValueError, match=r"likelihood must give log p.* of whole images, of the shape .*; got .*5, 8"
        ):
            ask(torch.zeros(5, 8))
