"""Where single precision gives out: far values, narrow components, tiny cores, long chains, and all of it at once."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import log_domain_sum, normal_log_pdf
from torch import Tensor

from googol.distributions import Categorical, Normal, TensorRing
from googol.distributions.chain import Chain

BOUNDARIES = ["ring", "train"]
NAN = float("nan")


def true_log_prob(ring: TensorRing, value: Tensor) -> np.ndarray:
    """For normal variables of one size, from the logarithms of all numbers in float64."""
    log_cores = ring.log_cores[0].detach().double().numpy()
    loc, log_scale = (ring.components[0][name].detach().double() for name in ("loc", "log_scale"))
    log_normalizer = log_domain_sum(log_cores, np.zeros(loc.shape), ring.boundary)
    rows = [normal_log_pdf(row, loc, log_scale.exp()) for row in value]
    return np.array([log_domain_sum(log_cores, row, ring.boundary) - log_normalizer for row in rows])


def check(ring: TensorRing, value: Tensor) -> None:
    """Values right to 1e-3 nats and 1e-5 of themselves; gradients finite and, up to 1e-3 of the largest, right."""
    value = value.clone().requires_grad_()
    log_prob = ring().log_prob(value)
    assert log_prob.dtype == torch.float32
    np.testing.assert_allclose(log_prob.detach().double(), true_log_prob(ring, value), rtol=1e-5, atol=1e-3)
    actual = torch.autograd.grad(log_prob.sum(), (*ring.parameters(), value))
    double, exact = copy.deepcopy(ring).double(), value.detach().double().requires_grad_()
    expected = torch.autograd.grad(double().log_prob(exact).sum(), (*double.parameters(), exact))
    for a, b in zip(actual, expected, strict=True):
        assert a.isfinite().all()
        assert (a - b).abs().max() <= 1e-3 * b.abs().max()


def random_ring(n: int, rank: int, boundary: str, **normal: float) -> TensorRing:
    torch.manual_seed(n + rank)
    return TensorRing([Normal(5, **normal)] * n, rank, boundary)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_thousand_variables(boundary):
    value = 2 * torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    value[1, ::2] = NAN
    check(random_ring(1000, 4, boundary), value)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_thousand_deviations_from_every_component(boundary):
    value = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    value[0] += 1000
    value[1, 3] = -1000
    value[2] = torch.tensor([5.0, 20, 50, 100, -50, -20])
    value[3] = 1e4
    check(random_ring(6, 4, boundary, scale=1.0), value)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("n", [6, 300])
def test_narrow_components(n, boundary):
    ring = random_ring(n, 4, boundary, scale=1e-4)
    value = torch.randn(3, n, generator=torch.Generator().manual_seed(0))
    value[0] = ring.components[0]["loc"][:, 2].detach() + 1e-4
    check(ring, value)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("spread", [10, 30, 100, 300])
def test_cores_over_many_orders_of_magnitude(spread, boundary):
    ring = random_ring(40, 9, boundary, scale=0.5)
    with torch.no_grad():
        ring.log_cores[0].mul_(spread)
    check(ring, 2 * torch.randn(4, 40, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_zeros_in_the_cores(share, boundary):
    ring = random_ring(30, 9, boundary, scale=0.5)
    with torch.no_grad():
        ring.log_cores[0][torch.rand_like(ring.log_cores[0]) < share] = -torch.inf
    check(ring, 2 * torch.randn(4, 30, generator=torch.Generator().manual_seed(0)))


def blocks(n: int, rank: int, count: int, off: float, boundary: str) -> TensorRing:
    """Component k moves within block k of the bonds; ``off`` nats are lost by using it elsewhere."""
    torch.manual_seed(int(off) + n)
    loc = torch.arange(count) * 2.0
    ring = TensorRing([Normal(count, loc=loc, scale=0.4)] * n, rank, boundary)
    log_cores = torch.full((count, rank, rank), -off)
    size = rank // count
    for k in range(count):
        log_cores[k, k * size : (k + 1) * size, k * size : (k + 1) * size] = 0.0
    with torch.no_grad():
        ring.log_cores[0].copy_(log_cores + 0.1 * torch.randn(n, count, rank, rank))
    return ring


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("off", [8.0, 15.0, 25.0, 40.0, 100.0, 200.0])
@pytest.mark.parametrize(("n", "rank", "count"), [(12, 4, 2), (60, 9, 3)])
def test_variables_that_disagree_about_the_block(n, rank, count, off, boundary):
    """Every link keeps the block that the next ones leave: what was smallest before may be all that counts after."""
    ring = blocks(n, rank, count, off, boundary)
    index = torch.randint(count, (6, n))
    for row, length in enumerate([1, 2, 3, 6, n // 2]):  # how long the variables agree
        index[row] = torch.arange(n).div(length, rounding_mode="floor") % count
    value = 2.0 * index + 0.2 * torch.randn(6, n)
    log_prob = ring().log_prob(value)
    np.testing.assert_allclose(log_prob.detach().double(), true_log_prob(ring, value), rtol=1e-5, atol=1e-3)
    gradients = torch.autograd.grad(log_prob.sum(), tuple(ring.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(("boundary", "off"), [("ring", 40.0), ("train", 100.0), ("train", 200.0)])
def test_entries_that_lost_digits_but_did_not_vanish(off, boundary):
    """Among many rows, some whose density is led by what was barely above zero before."""
    torch.manual_seed(0)
    ring = blocks(30, 4, 2, off, boundary)
    with torch.no_grad():
        ring.components[0]["loc"].copy_(torch.tensor([-1.0, 1.0]).expand(30, -1))
        ring.components[0]["log_scale"].fill_(np.log(0.3))
    check(ring, torch.randn(200, 30).sign() + 0.1 * torch.randn(200, 30))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_bonds_that_cannot_be_reached_but_would_grow_fast(boundary):
    """The derivatives by entries that are zero exceed all numbers of single precision."""
    torch.manual_seed(0)
    cores = torch.zeros(60, 5, 9, 9)
    cores[:, :, 0, 0] = torch.rand(60, 5)
    cores[1:-1, :, 1:, 1:] = torch.rand(58, 5, 8, 8)
    cores[-1, :, :, 0] = torch.rand(5, 9)
    ring = TensorRing([Normal(5)] * 60, 9, boundary, cores=list(cores))
    check(ring, torch.randn(4, 60))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("distance", [5, 20, 50])
def test_gradients_far_from_every_component_point_home(distance, boundary):
    torch.manual_seed(0)
    ring = TensorRing([Normal(3, scale=1.0)] * 4 + [Categorical(2)], 3, boundary)
    value = torch.tensor([distance + 2.0] * 4 + [1.0]).requires_grad_()
    ring().log_prob(value).backward()
    for parameter in ring.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0
    assert (value.grad[:4] < -distance / 2).all()
    assert (ring.components[0]["loc"].grad.amax(-1) > distance / 2).all()


def test_a_fixed_table_of_far_values():
    """Two components of a normal variable, the weights 1 : 3, by hand."""
    cores = [torch.tensor([[[1.0]], [[3.0]]])]
    ring = TensorRing([Normal(2, loc=[0.0, 1.0], scale=1.0)], 1, cores=cores)
    value = torch.tensor([[-1000.0], [-50.0], [50.0], [1000.0]])
    half_log_tau = 0.5 * np.log(2 * np.pi)
    expected = [-0.5 * 1000**2 + np.log(0.25), -0.5 * 50**2 + np.log(0.25)]
    expected += [-0.5 * 49**2 + np.log(0.75), -0.5 * 999**2 + np.log(0.75)]
    actual = ring().log_prob(value).detach().double().squeeze(-1)
    np.testing.assert_allclose(actual, np.array(expected) - half_log_tau, rtol=1e-7, atol=1e-4)


def log_of_cores(kind: str, n: int, components: int, m: int, off: float, generator: torch.Generator) -> Tensor:
    """Logarithms of cores that are hard for products: what is large now is dropped by later links."""
    noise = torch.randn(n, components, m, m, generator=generator)
    position = torch.arange(m)
    if kind == "sparse":
        keep = torch.rand(noise.shape, generator=generator) < 0.3
        return noise.masked_fill(~keep & (position != position[:, None]), -torch.inf)
    if kind == "near zero":
        return -off * torch.rand(noise.shape, generator=generator)
    if kind == "permuted":
        order = torch.rand(n, components, m, generator=generator).argsort(-1)
        return torch.where(order.unsqueeze(-1) == position, 0.0, -off) + 0.1 * noise
    block = position * 2 // m  # two blocks; a component prefers one, and links grow the blocks at rates of their own
    same = (block == block[:, None]) & (block == torch.arange(components)[:, None, None] % 2)
    rate = torch.randn(n, 1, 2, 1, generator=generator)[:, :, block]
    return torch.where(same, 0.0, -off) + rate + 0.1 * noise


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["sparse", "near zero", "permuted", "blocks"]),
    boundary=st.sampled_from(BOUNDARIES),
    n=st.integers(1, 70),
    components=st.integers(1, 4),
    m=st.integers(2, 9),
    off=st.sampled_from([5.0, 20.0, 45.0, 80.0, 100.0, 300.0, np.inf]),
    seen=st.sampled_from([1.0, 0.5, 0.1]),
    far=st.sampled_from([3.0, 30.0, 90.0, 150.0]),
    kernel=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_never_off_by_more_than_a_thousandth_of_a_nat(kind, boundary, n, components, m, off, seen, far, kernel, seed):
    generator = torch.Generator().manual_seed(seed)
    if kind == "near zero":
        off = min(off, 300.0)
    log_cores = log_of_cores(kind, n, components, m, off, generator)
    # Values that tell the component, some better than others; the rest are missing.
    log_weights = -far * torch.rand(n, 3, components, generator=generator)
    log_weights[torch.rand(n, 3, generator=generator) > seen] = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGOL_KERNELS", "" if kernel else "0")
        actual = Chain(log_cores, boundary).log_sum(log_weights).numpy()
    with np.errstate(divide="ignore"):
        expected = [log_domain_sum(log_cores.numpy(), w.numpy(), boundary) for w in log_weights.unbind(1)]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("far", [80.0, 95.0, 120.0])
def test_what_was_discarded_grows_until_it_is_all_that_counts(far, boundary):
    """The first variable tells the block that shrinks, without a doubt; no link ever drops it, but the other grows."""
    log_cores = torch.full((60, 2, 10, 10), -torch.inf)
    log_cores[:, :, 0, 0] = np.log(0.5)
    log_cores[:, :, 1:, 1:] = 0.0
    log_cores[0, 0, 1:] = log_cores[0, 1, 0] = -torch.inf
    log_weights = torch.zeros(60, 1, 2)
    log_weights[0, 0, 1] = -far
    actual = Chain(log_cores, boundary).log_sum(log_weights).item()
    expected = log_domain_sum(log_cores.numpy(), log_weights[:, 0].numpy(), boundary)
    assert actual == pytest.approx(expected, rel=1e-5, abs=1e-3)
