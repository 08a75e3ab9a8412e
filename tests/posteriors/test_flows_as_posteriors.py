"""The laws of posteriors, for every one that is made of a flow."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from googol.likelihoods import Bernoulli
from googol.models import VAE
from googol.networks import MLPDecoder, MLPEncoder
from googol.posteriors import HouseholderFlow, InverseAutoregressiveFlow, PlanarFlow, SylvesterFlow
from googol.posteriors.flow import FlowPosterior
from googol.priors import StandardNormal

FAMILIES = {
    "planar": (PlanarFlow, {"flows": 3}),
    "householder": (HouseholderFlow, {"flows": 4}),
    "sylvester-orthogonal": (SylvesterFlow, {"flows": 3, "orthogonalization": "orthogonal", "columns": 2}),
    "sylvester-orthogonal-one-column": (SylvesterFlow, {"flows": 2, "orthogonalization": "orthogonal", "columns": 1}),
    "sylvester-householder": (SylvesterFlow, {"flows": 2, "orthogonalization": "householder", "reflections": 3}),
    "sylvester-triangular": (SylvesterFlow, {"flows": 3, "orthogonalization": "triangular"}),
    "autoregressive": (InverseAutoregressiveFlow, {"flows": 2, "hidden": (16, 16), "context": 5}),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def build(family, latents: int, dtype: torch.dtype = torch.float64) -> FlowPosterior:
    torch.manual_seed(0)
    kind, options = family
    return kind(nn.Identity(), latents, **options).to(dtype)


def said(family, latents: int, *batch: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """What an encoder could have said."""
    kind, options = family
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(*batch, kind.encoder_outputs(latents, **options), generator=generator, dtype=torch.float64)
    return (scale * outputs).to(dtype)


@pytest.mark.parametrize("latents", [2, 5])
def test_density_of_a_draw_is_the_density_of_its_value(family, latents):
    q = build(family, latents)(said(family, latents, 6))
    z, log_prob = q.rsample_and_log_prob((4,))
    assert (q.batch_shape, q.event_shape) == ((6,), (latents,))
    assert (z.shape, log_prob.shape) == ((4, 6, latents), (4, 6))
    torch.testing.assert_close(q.log_prob(z), log_prob, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(q.log_prob(z[1]), log_prob[1], rtol=1e-8, atol=1e-8)
    torch.manual_seed(3)
    draw = q.rsample((4,))
    torch.manual_seed(3)
    torch.testing.assert_close(q.rsample_and_log_prob((4,))[0], draw)


def test_density_is_that_of_the_dense_jacobian(family):
    outputs = said(family, 4)
    q = build(family, 4)(outputs)
    forward = q.transform.inv
    start = q.base.sample()
    dense = torch.autograd.functional.jacobian(forward, start)
    z, ladj = forward.call_and_ladj(start)
    torch.testing.assert_close(ladj, torch.linalg.slogdet(dense).logabsdet, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(forward.inv(z), start, rtol=1e-8, atol=1e-8)
    expected = q.base.log_prob(start) - torch.linalg.slogdet(dense).logabsdet
    torch.testing.assert_close(q.log_prob(z), expected, rtol=1e-8, atol=1e-8)


def test_density_integrates_to_one_and_fits_the_draws(family):
    """In the plane, by quadrature; as do the probabilities of the quadrants around the median draw."""
    q = build(family, 2)(said(family, 2, scale=0.7))
    torch.manual_seed(0)
    draws = q.sample((20_000,))
    low, high = draws.min(0).values - 3, draws.max(0).values + 3
    steps = 300
    sides = [torch.linspace(low[i], high[i], steps, dtype=torch.float64) for i in range(2)]
    cell = float((high - low).prod()) / (steps - 1) ** 2
    grid = torch.cartesian_prod(*sides)
    mass = q.log_prob(grid).detach().exp() * cell
    assert mass.sum().item() == pytest.approx(1.0, abs=2e-3)
    centre = draws.median(0).values
    for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        there, drawn = (((points - centre) * torch.tensor(signs) > 0).all(-1) for points in (grid, draws))
        # Five standard errors, and the width of the cells along the borders.
        assert mass[there].sum().item() == pytest.approx(drawn.double().mean().item(), abs=0.0175 + 5e-3)
    for of_grid, of_draws in (((mass @ grid), draws.mean(0)), (mass @ grid.square(), draws.square().mean(0))):
        error = 5 * draws.square().std(0) / len(draws) ** 0.5
        assert ((of_grid - of_draws).abs() < error + 1e-2).all()


def loss(posterior: FlowPosterior, outputs: Tensor) -> Tensor:
    """A negative bound whose target is no normal, so that every parameter matters."""
    torch.manual_seed(2)
    z, log_prob = posterior(outputs).rsample_and_log_prob((3,))
    return (log_prob + (z - 0.3).pow(4).sum(-1) + torch.sin(2 * z.cumsum(-1)).sum(-1)).mean()


def test_zero_outputs_give_a_start_near_the_identity(family):
    posterior = build(family, 4)
    outputs = torch.zeros_like(said(family, 4, 2000))
    q = posterior(outputs)
    start = q.base.sample()
    z, ladj = q.transform.inv.call_and_ladj(start)
    assert z.mean(0).abs().max() < 0.3
    assert z.std(0).min() > 0.4
    assert z.std(0).max() < 1.0
    assert ladj.abs().max() < 1.0
    if isinstance(posterior, InverseAutoregressiveFlow):  # its networks start at random, and small
        assert (z - start).abs().max() < 0.5
    else:
        torch.testing.assert_close(z, start)
    # At zero itself what switches flows on has a gradient, beside it everything.
    zero = outputs[:5].requires_grad_()
    (gradient,) = torch.autograd.grad(loss(posterior, zero), zero)
    assert gradient.isfinite().all()
    assert (gradient[..., 8:] != 0).any(-1).all()
    near = said(family, 4, 5, scale=1e-2).requires_grad_()
    gradients = torch.autograd.grad(loss(posterior, near), [near, *posterior.parameters()])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0] != 0).all()


@pytest.mark.parametrize("extreme", [-1e3, 1e3, None])
def test_extreme_outputs_stay_finite(family, extreme):
    posterior = build(family, 6, torch.float32)
    outputs = 1e3 * said(family, 6, 20, dtype=torch.float32).sign()
    if extreme is not None:
        outputs = torch.full_like(outputs, extreme)
    outputs.requires_grad_()
    z, log_prob = posterior(outputs).rsample_and_log_prob((2,))
    gradients = torch.autograd.grad((z.mean() + log_prob.mean()), [outputs, *posterior.parameters()])
    assert z.isfinite().all()
    assert log_prob.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_half_precision_of_an_encoder_is_enough(family):
    kind, options = family
    encoder = nn.Linear(3, kind.encoder_outputs(4, **options))
    posterior, x = kind(encoder, 4, **options), torch.randn(5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        z, log_prob = posterior(x).rsample_and_log_prob()
    assert z.dtype == log_prob.dtype == torch.float32
    (z.sum() + log_prob.sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_gradient_agrees_with_finite_differences(family):
    posterior, outputs = build(family, 3), said(family, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(partial(loss, posterior), outputs, atol=1e-4)


@pytest.mark.parametrize("latents", [1, 2])
def test_few_latents(family, latents):
    kind, options = family
    options = {name: value for name, value in options.items() if name != "columns"}
    posterior = kind(nn.Linear(3, kind.encoder_outputs(latents, **options)), latents, **options)
    z, log_prob = posterior(torch.zeros(2, 3)).rsample_and_log_prob()
    torch.testing.assert_close(posterior(torch.zeros(2, 3)).log_prob(z), log_prob, rtol=1e-3, atol=1e-3)


def test_a_step_of_a_vae(family):
    kind, options = family
    shape = (1, 4, 4)
    posterior = kind(MLPEncoder(shape, kind.encoder_outputs(3, **options)), 3, **options)
    vae = VAE(StandardNormal(3), posterior, Bernoulli(MLPDecoder(3, shape)))
    x = torch.rand(7, *shape)
    vae.loss(x, torch.zeros(7, 1))["loss"].backward()
    assert all(parameter.grad.isfinite().all() for parameter in vae.parameters())
    assert vae.importance_bound(x, 5).shape == (7,)
    assert vae.reconstruct(x).shape == x.shape


MISTAKES = [
    (PlanarFlow, {"flows": 0}, "flows to be at least 1; got 0"),
    (HouseholderFlow, {"flows": -1}, "flows to be at least 1; got -1"),
    (SylvesterFlow, {"flows": 0}, "flows to be at least 1; got 0"),
    (SylvesterFlow, {"columns": 0}, "columns to be at least 1; got 0"),
    (SylvesterFlow, {"columns": 5}, "columns to be at most latents = 4; got 5"),
    (SylvesterFlow, {"orthogonalization": "householder", "reflections": 0}, "reflections to be at least 1; got 0"),
    (SylvesterFlow, {"orthogonalization": "qr"}, "one of 'orthogonal', 'householder', 'triangular'; got 'qr'"),
    (InverseAutoregressiveFlow, {"flows": 0}, "flows to be at least 1; got 0"),
    (InverseAutoregressiveFlow, {"context": 0}, "context to be at least 1; got 0"),
    (InverseAutoregressiveFlow, {"hidden": (8, 0)}, "hidden to be at least 1; got 0"),
]


@pytest.mark.parametrize(("kind", "options", "message"), MISTAKES)
def test_mistaken_options_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(nn.Identity(), 4, **options)
    with pytest.raises(ValueError, match=message):
        kind.encoder_outputs(4, **options)


def test_mistaken_numbers_are_refused(family):
    kind, options = family
    with pytest.raises(ValueError, match="latents"):
        kind(nn.Identity(), 0, **options)
    with pytest.raises(ValueError, match=r"encoder_outputs\(…\) = \d+ numbers; got 3"):
        build(family, 4)(torch.zeros(2, 3, dtype=torch.float64))
