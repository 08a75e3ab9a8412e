"""The logit-normal against integrals over its pixels."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm
from torch.distributions import Independent, Normal

from googol.distributions import LogitNormal, SparseNormal


def chain(batch=(), dtype=torch.double):
    """Two pixels whose logits have a correlation of 0.6."""
    torch.manual_seed(0)
    loc = torch.tensor([0.4, -0.7], dtype=dtype).expand(*batch, 2)
    return SparseNormal.chain(loc, torch.tensor([1.25, 1.0], dtype=dtype), torch.tensor([-0.75], dtype=dtype))


def test_the_density_of_two_pixels_integrates_to_one_and_to_the_mean():
    pixels = LogitNormal(chain())
    x = (torch.arange(400, dtype=torch.double) + 0.5) / 400
    density = pixels.log_prob(torch.cartesian_prod(x, x)).exp().reshape(400, 400) / 400**2
    assert density.sum().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(torch.stack([(density.sum(1) * x).sum(), (density.sum(0) * x).sum()]), pixels.mean)


def test_samples_follow_the_density():
    torch.manual_seed(0)
    pixels = LogitNormal(chain())
    x = pixels.sample((40_000,))
    edges = torch.linspace(0, 1, 6).double()
    counts, _ = torch.histogramdd(x, bins=[edges, edges])
    middles = (torch.arange(200, dtype=torch.double) + 0.5) / 200
    density = pixels.log_prob(torch.cartesian_prod(middles, middles)).exp() / 200**2
    expected = 40_000 * density.reshape(5, 40, 5, 40).sum((1, 3))
    statistic = ((counts - expected).square() / expected).sum()
    assert abs(statistic - 24) < 5 * math.sqrt(2 * 24)


@pytest.mark.parametrize("scale", [1e-3, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("loc", [-6.0, 0.3, 2.0])
def test_the_mean_agrees_with_quadrature(loc, scale):
    width = 12 * scale
    expected, _ = quad(lambda t: expit(t) * norm.pdf(t, loc, scale), loc - width, loc + width, points=[loc], limit=200)
    normal = Normal(torch.tensor([loc]).double(), torch.tensor([scale]).double())
    assert LogitNormal(Independent(normal, 1)).mean.item() == pytest.approx(expected, abs=2e-5)


def test_the_density_is_that_of_the_logits_and_the_jacobian():
    normal = chain()
    x = torch.tensor([0.2, 0.9], dtype=torch.double, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(torch.logit, x)
    expected = normal.log_prob(x.logit()) + torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(LogitNormal(normal).log_prob(x), expected)


def test_shapes():
    pixels = LogitNormal(Independent(chain((5, 3)), 1), event_shape=(3, 1, 2))
    assert pixels.batch_shape == (5,)
    assert pixels.sample((2,)).shape == (2, 5, 3, 1, 2)
    assert pixels.mean.shape == (5, 3, 1, 2)
    assert pixels.log_prob(pixels.sample((2,))).shape == (2, 5)
    assert pixels.expand((4, 5)).log_prob(torch.rand(3, 1, 2).double()).shape == (4, 5)
    x = pixels.sample()
    torch.testing.assert_close(pixels.log_prob(x), LogitNormal(chain()).log_prob(x.squeeze(-2)).sum(-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_far_out_stay_inside_with_finite_densities_and_gradients(dtype):
    loc = torch.tensor([-300.0, 300.0, 20.0], dtype=dtype, requires_grad=True)
    pixels = LogitNormal(Independent(Normal(loc, torch.ones_like(loc)), 1))
    x = pixels.sample()
    assert (x > 0).all()
    assert (x < 1).all()
    log_prob = pixels.log_prob(x)
    assert log_prob.isfinite()
    assert torch.autograd.grad(log_prob, loc)[0].isfinite().all()


@pytest.mark.parametrize("border", [0.0, 1.0, -0.5, 2.0])
def test_the_border_has_no_density(border):
    loc = torch.zeros(2, requires_grad=True)
    normal = Independent(Normal(loc, torch.ones(2)), 1)
    x = torch.tensor([[0.5, border], [0.5, 0.5]])
    with pytest.raises(ValueError, match=r"strictly between 0 and 1.*\(255 x \+ u\) / 256"):
        LogitNormal(normal).log_prob(x)
    log_prob = LogitNormal(normal, validate_args=False).log_prob(x)
    assert log_prob[0] == -torch.inf
    assert log_prob[1].isfinite()
    assert torch.autograd.grad(log_prob.sum(), loc)[0].isfinite().all()


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="2 elements"):
        LogitNormal(chain(), event_shape=(3,))
    with pytest.raises(ValueError, match="strictly between"):
        LogitNormal(chain()).log_prob(torch.tensor([0.5, math.nan]).double())
    unchecked = Independent(Normal(torch.zeros(2), torch.ones(2), validate_args=False), 1, validate_args=False)
    assert LogitNormal(unchecked, validate_args=False).log_prob(torch.tensor([0.5, math.nan])).isnan()
