"""The posteriors with sparse precision."""

import math

import pytest
import torch
from torch import nn

from googol.likelihoods import Bernoulli
from googol.models import VAE
from googol.networks import ConvEncoder, MLPDecoder
from googol.posteriors import SparseNormal
from googol.priors import NormalMixture, StandardNormal

STRUCTURES = ["chain", "grid", "extended-grid"]


def said(numbers, latents, structure, **options):
    """The posterior of an encoder that gives these numbers."""
    return SparseNormal(nn.Identity(), latents, structure=structure, **options)(numbers)


@pytest.mark.parametrize("leading", [(), (4,), (3, 4)])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_shapes(structure, leading):
    outputs = SparseNormal.encoder_outputs(6, structure=structure)
    part = SparseNormal(ConvEncoder((1, 8, 8), outputs), 6, structure=structure)
    posterior = part(torch.rand(*leading, 1, 8, 8))
    assert posterior.batch_shape == leading
    assert posterior.event_shape == (part.latents,) == (6,)
    z = posterior.rsample((2,))
    assert z.shape == (2, *leading, 6)
    assert posterior.log_prob(z).shape == (2, *leading)


@pytest.mark.parametrize("trace", ["exact", "stochastic"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_loss_in_closed_form_has_the_same_mean_and_less_noise(structure, trace):
    torch.manual_seed(0)
    outputs = SparseNormal.encoder_outputs(6, structure=structure)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, outputs))
    posterior = SparseNormal(encoder, 6, structure=structure, trace=trace)
    model = VAE(StandardNormal(6), posterior, Bernoulli(MLPDecoder(6, (1, 4, 4), hidden=(8,))))
    x, y = torch.rand(1, 1, 4, 4), torch.zeros(1, 0)
    with torch.no_grad():
        closed = torch.stack([model.loss(x, y)["loss"] for _ in range(300)])
        drawn = -model.elbo(x.expand(3000, -1, -1, -1))
        kl = model.elbo_terms(x.expand(3000, -1, -1, -1))[1]
    error = math.hypot(closed.std() / 300**0.5, drawn.std() / 3000**0.5)
    assert abs(closed.mean() - drawn.mean()) < 5 * error
    assert closed.var() < 0.6 * drawn.var()
    exact = model.posterior(x).kl_to_standard_normal()
    assert abs(kl.mean() - exact) < 5 * kl.std() / 3000**0.5
    for parameter in encoder.parameters():
        parameter.grad = None
    model.loss(x, y)["kl"].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_only_a_standard_normal_prior_has_the_closed_form():
    torch.manual_seed(0)
    posterior = SparseNormal(nn.Sequential(nn.Flatten(), nn.Linear(16, 6)), 2)
    model = VAE(NormalMixture(2, components=2), posterior, Bernoulli(MLPDecoder(2, (1, 4, 4))), warmup_epochs=1)
    x, y = torch.rand(5, 1, 4, 4), torch.zeros(5, 0)
    assert model.loss(x, y)["kl"] == posterior(x).kl_to_standard_normal().mean()  # in the warm-up
    model.started.fill_(True)
    assert model.loss(x, y)["kl"] != model.loss(x, y)["kl"]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_an_encoder_that_says_nothing_gives_independent_latents(structure):
    outputs = torch.zeros(SparseNormal.encoder_outputs(6, structure=structure))
    covariance = said(outputs, 6, structure).covariance()
    torch.testing.assert_close(covariance, 0.6933**2 * torch.eye(6), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("latents", "rows", "linked"), [(6, None, (2, 3)), (16, None, (4, 4)), (7, None, (1, 7)), (6, 3, (3, 2))]
)
def test_the_grid_is_as_square_as_can_be_or_as_asked(latents, rows, linked):
    torch.manual_seed(0)
    outputs = torch.randn(4 * latents, dtype=torch.double)
    links = (said(outputs, latents, "grid", rows=rows).precision().abs() > 1e-10).sum()
    height, width = linked
    assert links == latents + 2 * (height * (width - 1) + (height - 1) * width)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("number", [-1e15, -1e6, -1e3, 0.0, 1e3, 1e15])
def test_extreme_outputs_stay_finite(structure, number):
    torch.manual_seed(0)
    outputs = torch.full((3, SparseNormal.encoder_outputs(50, structure=structure)), number, requires_grad=True)
    posterior = said(outputs, 50, structure)
    z = posterior.rsample()
    log_prob = posterior.log_prob(z)
    for loss in (log_prob, z):
        (gradient,) = torch.autograd.grad(loss.sum(), outputs, retain_graph=True)
        assert gradient.isfinite().all()
    assert z.isfinite().all()
    assert log_prob.isfinite().all()
    assert (posterior.variance > 0).all()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_used_number_of_the_encoder_gets_a_gradient(structure):
    torch.manual_seed(0)
    outputs = torch.randn(SparseNormal.encoder_outputs(6, structure=structure), requires_grad=True)
    posterior = said(outputs, 6, structure)
    (gradient,) = torch.autograd.grad(posterior.kl_to_standard_normal(), outputs)
    # Beyond the border: the last of a chain; the last column's to the right and the last row's below on a 2 × 3 grid.
    assert (gradient == 0).sum() == (1 if structure == "chain" else 2 + 3)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_learns_a_posterior_whose_neighbours_are_correlated(structure):
    links = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]])
    if structure == "chain":
        links = torch.diag(torch.ones(3), 1) + torch.diag(torch.ones(3), -1)
    precision = torch.diag(torch.tensor([2.5, 9.0, 4.0, 30.0])).double() - 2 * links
    target = torch.distributions.MultivariateNormal(torch.ones(4).double(), precision_matrix=precision)
    numbers = torch.zeros(SparseNormal.encoder_outputs(4, structure=structure), dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([numbers], max_iter=300, line_search_fn="strong_wolfe")

    def divergence():
        optimizer.zero_grad()
        q = said(numbers, 4, structure)
        error = q.mean - target.mean
        square = (precision @ q.covariance()).trace() + error @ precision @ error
        kl = 0.5 * (square - torch.linalg.slogdet(precision).logabsdet + 4 * math.log(2 * math.pi)) - q.entropy()
        kl.backward()
        return kl

    optimizer.step(divergence)
    independent = 0.5 * (precision.diagonal().log().sum() - torch.linalg.slogdet(precision).logabsdet)
    # The extended grid cannot leave out its diagonal links: 0.0778 is the best that any of its factors comes to.
    assert divergence().item() == pytest.approx(0.0778 if structure == "extended-grid" else 0, abs=1e-4)
    assert independent > 0.15


@pytest.mark.parametrize("structure", STRUCTURES)
def test_works_in_a_vae(structure):
    torch.manual_seed(0)
    shape = (1, 8, 8)
    outputs = SparseNormal.encoder_outputs(4, structure=structure)
    posterior = SparseNormal(ConvEncoder(shape, outputs), 4, structure=structure)
    model = VAE(StandardNormal(4), posterior, Bernoulli(MLPDecoder(4, shape)))
    x = torch.rand(5, *shape)
    assert model.importance_bound(x, 3).shape == (5,)
    model.loss(x, torch.zeros(5, 1))["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    kl = torch.distributions.kl_divergence(posterior(x), StandardNormal(4)())
    torch.testing.assert_close(kl, posterior(x).kl_to_standard_normal())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_mixed_precision_keeps_single_precision_where_it_matters(structure):
    torch.manual_seed(0)
    posterior = SparseNormal(nn.Linear(5, SparseNormal.encoder_outputs(6, structure=structure)), 6, structure=structure)
    x = torch.randn(4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        q = posterior(x)
        z = q.rsample()
        loss = q.log_prob(z) + q.kl_to_standard_normal()
        loss.sum().backward()
    assert q.mean.dtype == z.dtype == loss.dtype == torch.float32
    torch.testing.assert_close(loss, q.log_prob(z) + q.kl_to_standard_normal())
    assert all(parameter.grad.isfinite().all() for parameter in posterior.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: said(torch.zeros(5), 6, "chain"), "give 18 numbers; got 5"),
        (lambda: SparseNormal(nn.Identity(), 6, structure="tree"), "chain, grid, extended-grid; got 'tree'"),
        (lambda: SparseNormal.encoder_outputs(6, structure="grid", rows=4), "divisor of latents = 6; got 4"),
        (lambda: SparseNormal.encoder_outputs(6, structure="chain", rows=2), "no rows for a chain; got 2"),
        (lambda: SparseNormal.encoder_outputs(0), "latents to be at least 1; got 0"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
