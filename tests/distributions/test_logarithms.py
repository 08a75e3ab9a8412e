"""Products by logarithms, and all that is drawn or asked of chains whose matrices single precision cannot hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import log_domain_sum
from scipy.special import logsumexp
from test_numbers import log_of_cores
from torch import Tensor

from googol.distributions import Categorical, Normal, TensorRing
from googol.distributions.chain import Chain, product_tree
from googol.distributions.logarithms import log_matmul, log_sum_exp

BOUNDARIES = ["ring", "train"]
NAN = math.nan


@given(
    shape=st.tuples(*[st.integers(1, 4)] * 4),
    far=st.sampled_from([1.0, 50.0, 400.0, 1e5]),
    zeros=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    seed=st.integers(0, 2**20),
)
def test_every_entry_of_a_product_is_right(shape, far, zeros, seed):
    generator = torch.Generator().manual_seed(seed)
    batch, i, k, j = shape
    a, b = (far * torch.randn(size, generator=generator) for size in ((batch, i, k), (k, j)))
    a, b = (x.masked_fill(torch.rand(x.shape, generator=generator) < zeros, -math.inf) for x in (a, b))
    with np.errstate(divide="ignore"):
        expected = logsumexp(a.double().numpy()[..., None] + b.double().numpy(), -2)
    np.testing.assert_allclose(log_matmul(a, b), expected, rtol=1e-11, atol=1e-11)


def test_gradients_of_a_product_are_right_and_zero_where_nothing_is():
    a = torch.tensor([[0.0, -2000.0, -math.inf], [-math.inf] * 3], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[-math.inf, -1000.0], [-1.0, 0.5], [3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    found = torch.autograd.grad(log_matmul(a, b)[0].sum(), (a, b))
    expected = torch.autograd.grad(log_sum_exp(a[0].unsqueeze(-1) + b, 0).sum(), (a, b))
    for actual, true in zip(found, expected, strict=True):
        torch.testing.assert_close(actual, true)
    nothing = torch.autograd.grad(log_matmul(a, b)[1].masked_fill(torch.tensor(True), 0.0).sum(), (a, b))
    assert all(bool((gradient == 0).all()) for gradient in nothing)


def test_the_tree_is_of_all_products():
    links = 300 * torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = links[0]
    for link in links[1:]:
        whole = log_sum_exp(whole.unsqueeze(-1) + link, -2)
    levels = product_tree(links, logarithms=True)
    assert [len(level) for level in levels] == [8, 4, 2, 1]
    torch.testing.assert_close(levels[-1][0], whole)


def test_mild_chains():
    log_cores = torch.randn(4, 3, 2, 2)
    assert Chain(log_cores, "ring").is_mild
    assert Chain(log_cores.index_fill(1, torch.tensor(2), -math.inf), "ring").is_mild  # a component that is not there
    log_cores[1, 0, 0, 1] = -100
    assert not Chain(log_cores, "ring").is_mild


# Random chains of binary variables, of which some are observed: all is a sum over few indices.

chains = {
    "kind": st.sampled_from(["sparse", "near zero", "permuted", "blocks"]),
    "boundary": st.sampled_from(BOUNDARIES),
    "n": st.integers(2, 9),
    "m": st.integers(2, 5),
    "off": st.sampled_from([20.0, 60.0, 100.0, 300.0]),
    "seed": st.integers(0, 2**20),
}


def random_ring(kind: str, boundary: str, n: int, m: int, off: float, seed: int) -> tuple[TensorRing, Tensor]:
    """A ring of binary variables, and evidence of some of them that is possible."""
    generator = torch.Generator().manual_seed(seed)
    ring = TensorRing([Categorical(2)] * n, m, boundary)
    with torch.no_grad():
        ring.log_cores[0].copy_(log_of_cores(kind, n, 2, m, off, generator))
    value = torch.randint(2, (n,), generator=generator).float()
    value[torch.rand(n, generator=generator) < 0.5] = NAN
    if not bool(ring().log_prob(value).isfinite()):  # sparse cores may forbid it
        value.fill_(NAN)
    return ring, value


def true_log_sum(ring: TensorRing, value: Tensor) -> float:
    log_cores = ring.log_cores[0].detach().double().numpy()
    seen = value.double().numpy()[:, None]
    with np.errstate(divide="ignore"):
        weights = np.where(np.isnan(seen), 0.0, np.log(seen == np.arange(2)))
        return log_domain_sum(log_cores, weights, ring.boundary)


def with_one(value: Tensor, j: int, number: float) -> Tensor:
    changed = value.clone()
    changed[j] = number
    return changed


def true_probabilities(ring: TensorRing, value: Tensor) -> np.ndarray:
    """P(v_j = 1 given the evidence) of every variable."""
    ones = [
        true_log_sum(ring, with_one(value, j, 1.0)) if math.isnan(value[j]) else value[j] for j in range(len(value))
    ]
    total = true_log_sum(ring, value)
    return np.array([math.exp(x - total) if math.isnan(v) else float(v) for x, v in zip(ones, value, strict=True)])


@settings(max_examples=40, deadline=None)
@given(**chains, kernel=st.booleans())
def test_samples_of_any_chain_have_its_probabilities(kind, boundary, n, m, off, seed, kernel):
    ring, value = random_ring(kind, boundary, n, m, off, seed)
    expected = true_probabilities(ring, value)
    count = 2000
    torch.manual_seed(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGOL_KERNELS", "" if kernel else "0")
        joint = ring()
        many = joint.condition(value).sample((count,))
        of_each = joint.condition(value.expand(count, -1)).sample()
    # Six deviations of a mean, and one of a probability of so few.
    allowed = 6 * np.sqrt(expected * (1 - expected) / count) + 3 / count
    for drawn in (many, of_each):
        assert (np.abs(drawn.double().mean(0).numpy() - expected) <= allowed).all()
    # And their pairs of neighbours, which single frequencies do not tell.
    j = seed % (n - 1)
    if math.isnan(value[j]) and math.isnan(value[j + 1]):
        both = with_one(with_one(value, j, 1.0), j + 1, 1.0)
        pair = math.exp(true_log_sum(ring, both) - true_log_sum(ring, value))
        for drawn in (many, of_each):
            found = (drawn[:, j] * drawn[:, j + 1]).double().mean().item()
            assert abs(found - pair) <= 6 * math.sqrt(max(0.0, pair * (1 - pair)) / count) + 3 / count


@settings(max_examples=40, deadline=None)
@given(**chains)
def test_marginals_of_any_chain(kind, boundary, n, m, off, seed):
    ring, value = random_ring(kind, boundary, n, m, off, seed)
    kept = [j for j in range(n) if not math.isnan(value[j])] or [seed % n]
    part = torch.full_like(value, NAN)
    part[kept] = value[kept].nan_to_num(1.0)
    expected = true_log_sum(ring, part) - true_log_sum(ring, torch.full_like(value, NAN))
    actual = ring().marginal(kept).log_prob(part[kept]).item()
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(**chains)
def test_bonds_of_any_chain(kind, boundary, n, m, off, seed):
    ring, value = random_ring(kind, boundary, n, m, off, seed)
    link = seed % (n - 1)
    log_cores = ring.log_cores[0].detach().double().clone()
    total, expected = true_log_sum(ring, value), []
    for a in range(m):  # only paths through this value of the bond
        through = log_cores.clone()
        through[link, :, :, torch.arange(m) != a] = -math.inf
        changed = TensorRing([Categorical(2)] * n, m, boundary, dtype=torch.float64)
        with torch.no_grad():
            changed.log_cores[0].copy_(through)
        expected.append(math.exp(true_log_sum(changed, value) - total))
    np.testing.assert_allclose(ring().bond_probs(link, value), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("off", [20.0, 60.0, 100.0, 150.0, 400.0])
def test_continuous_variables_that_disagree_about_the_block(off, boundary):
    """Numbers by hand: of six variables two are open, and every change of the block costs the same."""
    log_cores = torch.full((6, 2, 2, 2), -off)
    log_cores[:, 0, 0, 0] = log_cores[:, 1, 1, 1] = 0.0
    ring = TensorRing([Normal(2, loc=[-10.0, 10.0], scale=0.1)] * 6, 2, boundary)
    with torch.no_grad():
        ring.log_cores[0].copy_(log_cores)
    given = ring().condition(torch.tensor([-10.0, NAN, 10.0, -10.0, NAN, 10.0]))
    share = 0.5 if boundary == "ring" else 0.7  # of the first component, by sums over all indices and bonds
    value = torch.tensor([-10.0, -10.0, 10.0, -10.0, 10.0, 10.0])
    u = given.to_uniform(value)  # the value is the mean of that component
    assert u[1].item() == pytest.approx(share / 2, abs=1e-3)
    torch.manual_seed(0)
    drawn = given.rsample((4000,))
    some = drawn[:50].detach()
    torch.testing.assert_close(given.from_uniform(given.to_uniform(some)), some, rtol=0, atol=1e-2)
    assert (drawn[:, 1] > 0).double().mean().item() == pytest.approx(1 - share, abs=0.04)
    gradients = torch.autograd.grad(drawn.square().sum(), tuple(ring.parameters()))
    double = TensorRing([Normal(2, loc=[-10.0, 10.0], scale=0.1)] * 6, 2, boundary, dtype=torch.float64)
    with torch.no_grad():
        double.log_cores[0].copy_(log_cores)
    from googol.distributions.implicit import reparameterize

    rows = given._evidence.double().unsqueeze(0)
    joint = double()
    again = reparameterize(joint.chain, joint.emissions, rows, drawn.detach().double().unsqueeze(1), range(6))
    expected_gradients = torch.autograd.grad(again.square().sum(), tuple(double.parameters()))
    for actual, true in zip(gradients, expected_gradients, strict=True):
        assert (actual - true).abs().max() <= 1e-3 * true.abs().max()
