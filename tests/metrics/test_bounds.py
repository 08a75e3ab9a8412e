"""Bounds on a linear-Gaussian model, whose likelihood and evidence lower bound have closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from googol.data import Dataset
from googol.metrics import (
    Estimate,
    bits_per_dim,
    elbo,
    elbo_terms,
    importance_bound,
    importance_bounds,
    importance_impute,
)

SIGMA = 0.5


class Linear(nn.Module):
    """z ~ N(0, 1), every pixel ~ N(z, σ²), and q(z given x) = N(0.3, 0.6²): far from the exact posterior."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.double))
        self.calls = []

    def terms(self, x, k):
        q = Normal(torch.full((len(x),), 0.3, dtype=torch.double), 0.6)
        z = q.sample((k,))
        pixels = Independent(Normal(z[..., None], SIGMA), 1)
        return pixels.log_prob(x.flatten(1).double()), q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)

    def elbo_terms(self, x):
        return tuple(term[0] for term in self.terms(x, 1))

    def importance_bound(self, x, k):
        self.calls.append((len(x), k))
        log_likelihood, kl = self.terms(x, k)
        return (log_likelihood - kl).logsumexp(0) - math.log(k)


@pytest.fixture(scope="module")
def data():
    images = torch.randint(256, (600, 1, 1, 2), generator=torch.Generator().manual_seed(0)).byte()
    return Dataset("noise", images, torch.zeros(600, 0), ())


def exact_log_likelihood(x):
    covariance = torch.ones(2, 2, dtype=torch.double) + SIGMA**2 * torch.eye(2, dtype=torch.double)
    zero = torch.zeros(2, dtype=torch.double)
    return torch.distributions.MultivariateNormal(zero, covariance).log_prob(x.flatten(1).double())


def exact_elbo(x):
    """E log p(x | z) + E log p(z) + entropy of q."""
    mean, scale = 0.3, 0.6
    error = (x.flatten(1).double() - mean).square() + scale**2
    reconstruction = (-0.5 * error / SIGMA**2 - math.log(SIGMA * math.sqrt(2 * math.pi))).sum(1)
    prior = -0.5 * (mean**2 + scale**2) - 0.5 * math.log(2 * math.pi)
    return reconstruction + prior + 0.5 * math.log(2 * math.pi * math.e * scale**2)


def test_elbo(data):
    x = data.pixels()
    noise = torch.stack([torch.sub(*Linear().elbo_terms(x)) for _ in range(200)]).std(0).mean().item() / math.sqrt(
        len(data)
    )
    estimate = elbo(Linear(), data, batch_size=100)
    assert estimate.mean == pytest.approx(exact_elbo(x).mean().item(), abs=4 * noise)


def test_the_elbo_is_the_difference_of_its_terms(data):
    bound, log_likelihood, kl = elbo_terms(Linear(), data, batch_size=100)
    assert bound == elbo(Linear(), data, batch_size=100)
    assert bound.mean == pytest.approx(log_likelihood.mean - kl.mean)
    exact_kl = math.log(1 / 0.6) + (0.6**2 + 0.3**2 - 1) / 2
    assert kl.mean == pytest.approx(exact_kl, abs=4 * kl.standard_error)


def test_bits_of_levels_that_are_all_as_probable(data):
    """A pixel of 256 levels takes 8 bits, said by probabilities, or by the density of x in [0, 1]."""
    dimensions = math.prod(data.image_shape)
    for log_density, log_bin in [(-math.log(256), 0.0), (0.0, -math.log(256))]:
        bits = bits_per_dim(Estimate(dimensions * log_density, 1.0), data, log_bin)
        assert bits.mean == pytest.approx(8)
        assert bits.standard_error == pytest.approx(1 / (dimensions * math.log(2)))


def test_importance_bound_rises_to_the_log_likelihood(data):
    exact = exact_log_likelihood(data.pixels()).mean().item()
    bounds = [importance_bound(Linear(), data, k).mean for k in (1, 4, 30, 3000)]
    assert bounds == sorted(bounds)
    assert bounds[0] < exact - 0.5
    assert bounds[-1] == pytest.approx(exact, abs=0.01)


def test_parts_give_the_same_bound_with_bounded_work(data):
    few = data.subset(slice(10))
    model = Linear()
    exact = exact_log_likelihood(few.pixels()).mean().item()
    assert importance_bound(model, few, 5001, batch_size=4, at_once=1000).mean == pytest.approx(exact, abs=0.05)
    assert max(n * k for n, k in model.calls) <= 1000
    assert sum(n * k for n, k in model.calls) == 10 * 5001
    model.calls.clear()
    importance_bound(model, few, 3, batch_size=128, at_once=2)
    assert max(n * k for n, k in model.calls) <= 2


def test_parts_are_weighted_by_their_sizes(data):
    class Known(Linear):
        """Every weight is the size of the part, so the mean weight is Σ sizes² / k."""

        def importance_bound(self, x, k):
            return torch.full((len(x),), math.log(k), dtype=torch.double)

    bound = importance_bound(Known(), data.subset(slice(2)), 7, batch_size=2, at_once=6)
    assert bound.mean == pytest.approx(math.log((9 + 9 + 1) / 7))


def test_every_image_has_its_own_bound(data):
    few = data.subset(slice(10))
    bounds = importance_bounds(Linear(), few, 5001, batch_size=4, at_once=1000)
    torch.testing.assert_close(bounds, exact_log_likelihood(few.pixels()), atol=0.1, rtol=0)
    assert Estimate.of(bounds) == importance_bound(Linear(), few, 5001, batch_size=4, at_once=1000)


def test_the_answers_of_parts_are_weighted_by_their_weights(data):
    """Where nothing is random but the weights of the parts, the parts give what all samples at once would."""

    class Given(Linear):
        def __init__(self):
            super().__init__()
            generator = torch.Generator().manual_seed(1)
            self.log_w = 3 * torch.randn(7, 2, generator=generator, dtype=torch.double)
            self.probs = torch.rand(7, 2, 4, generator=generator, dtype=torch.double)
            self.used = 0

        def importance_impute(self, x, k):
            rows = slice(self.used, self.used + k)
            self.used += k
            log_w, probs = self.log_w[rows], self.probs[rows]
            return log_w.logsumexp(0) - math.log(k), [torch.einsum("kb,kbn->bn", log_w.softmax(0), probs)]

    model = Given()
    bounds, (answers,) = importance_impute(model, data.subset(slice(2)), 7, batch_size=2, at_once=6)
    assert model.used == 7
    torch.testing.assert_close(bounds, model.log_w.logsumexp(0) - math.log(7))
    torch.testing.assert_close(answers, torch.einsum("kb,kbn->bn", model.log_w.softmax(0), model.probs))


def test_standard_error():
    values = torch.tensor([1.0, 4.0, 7.0])
    assert Estimate.of(values) == Estimate(4.0, pytest.approx(3 / math.sqrt(3)))
    assert math.isnan(Estimate.of(values[:1]).standard_error)


def test_the_seed_decides(data):
    assert elbo(Linear(), data, seed=1) == elbo(Linear(), data, seed=1)
    assert elbo(Linear(), data, seed=1) != elbo(Linear(), data, seed=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda data: importance_bound(Linear(), data, 0), "at least 1; got 0"),
        (lambda data: importance_bound(Linear(), data, 5, at_once=0), "Expected at_once to be at least 1; got 0"),
        (lambda data: elbo(Linear(), data.subset(slice(0))), "got 0 and 256"),
        (lambda data: elbo(Linear(), data, batch_size=0), "got 600 and 0"),
    ],
)
def test_wrong_arguments_are_refused(data, call, message):
    with pytest.raises(ValueError, match=message):
        call(data)
