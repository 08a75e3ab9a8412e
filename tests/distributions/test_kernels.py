"""The compiled products against those of PyTorch's operations."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from googol.distributions import Normal, TensorRing, kernels
from googol.distributions.blocks import Boundary
from googol.distributions.chain import Chain
from googol.distributions.products import MatrixProduct, VectorProduct

# Where the checks of every change run there is a compiler, so a kernel that is not there was not built by mistake.
pytestmark = pytest.mark.skipif(
    kernels._kernels is None and "CI" not in os.environ, reason="the package was installed without a compiler"
)
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
BOUNDARIES = ["ring", "train"]
SIZES = {
    "n": st.integers(1, 40),
    "rows": st.integers(1, 70),
    "components": st.integers(1, 7),
    "m": st.integers(1, 19),
    "count": st.sampled_from([1, 2]),
    "dtype": st.sampled_from(list(TOLERANCE)),
    "boundary": st.sampled_from(BOUNDARIES),
    "seed": st.integers(0, 2**16),
}


@pytest.fixture(autouse=True)
def enabled(monkeypatch):
    monkeypatch.delenv("GOOGOL_KERNELS", raising=False)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def by_pytorch(log_weights: Tensor, log_scale: Tensor, cores: Tensor, boundary: Boundary) -> tuple[Tensor, Tensor]:
    """The matrices ``(B, m, m)``, or ``(B, 1, m)``, and their log-scales."""
    log_weights = log_weights + log_scale.unsqueeze(1)
    if boundary == "train":
        vector, total, _ = VectorProduct.apply(log_weights, cores, True)
        return vector.unsqueeze(1), total
    cores, m = cores.flatten(-2).unsqueeze(1), cores.shape[-1]
    matrix, total, _ = MatrixProduct.apply(log_weights.unsqueeze(1), cores, m, True)
    return matrix[0], total[0]


def by_kernel(log_weights: Tensor, log_scale: Tensor, cores: Tensor, boundary: Boundary) -> tuple[Tensor, Tensor]:
    """The same, with the segments joined link by link."""
    lines = cores.shape[-1] if boundary == "ring" else 1
    matrices, totals, _ = kernels.CompiledProduct.apply(log_weights, log_scale, cores, lines)
    matrix, total = matrices[0], totals[0]
    for following, log_following in zip(matrices[1:], totals[1:], strict=True):
        matrix = matrix @ following
        norm = matrix.detach().sum((-2, -1), keepdim=True)
        matrix, total = matrix / norm, total + log_following + norm[:, 0, 0].double().log()
    return matrix, total


def check(log_weights: Tensor, log_scale: Tensor, cores: Tensor, boundary: Boundary) -> None:
    results = []
    for product in (by_kernel, by_pytorch):
        leaves = log_weights.clone().requires_grad_(), cores.clone().requires_grad_()
        matrix, total = product(leaves[0], log_scale, leaves[1], boundary)
        direction = torch.linspace(-1, 2, matrix.numel(), dtype=matrix.dtype).view_as(matrix)
        results.append((matrix.detach(), total, *torch.autograd.grad(matrix, leaves, direction)))
    tolerance = TOLERANCE[cores.dtype]
    for actual, expected in zip(*results, strict=True):
        finite = expected[expected.isfinite()].abs()
        largest = finite.amax().item() if finite.numel() else 1.0
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * max(1.0, largest))


@settings(max_examples=150, deadline=None)
@given(
    **SIZES,
    zeros=st.sampled_from([0.0, 0.3]),
    spread=st.sampled_from([1.0, 30.0]),
)
def test_products_and_gradients_are_those_of_pytorch(
    n, rows, components, m, count, dtype, zeros, spread, boundary, seed
):
    generator = torch.Generator().manual_seed(seed)
    cores = torch.rand(n, components, m, m, generator=generator, dtype=dtype)
    # The first row and column stay positive, so that no product is zero.
    cores[..., 1:, 1:][torch.rand(cores[..., 1:, 1:].shape, generator=generator) < zeros] = 0.0
    log_weights = spread * torch.randn(n, rows, components, generator=generator, dtype=dtype)
    log_scale = torch.randn(n, components, generator=generator, dtype=dtype)
    with threads(count):
        check(log_weights, log_scale, cores, boundary)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("m", [24, 32, 33, 64])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_large_matrices(boundary, m, dtype):
    generator = torch.Generator().manual_seed(m)
    cores = torch.rand(11, 9, m, m, generator=generator, dtype=dtype)
    with threads(2):
        log_weights = torch.randn(11, 40, 9, generator=generator, dtype=dtype)
        check(log_weights, torch.zeros(11, 9, dtype=dtype), cores, boundary)


@pytest.mark.parametrize("count", [3, 5, 8])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_more_threads_than_groups_of_rows(boundary, count):
    generator = torch.Generator().manual_seed(0)
    cores = torch.rand(23, 3, 5, 5, generator=generator, dtype=torch.float64)
    log_weights = torch.randn(23, 20, 3, generator=generator, dtype=torch.float64)
    with threads(count):
        check(log_weights, torch.zeros(23, 3, dtype=torch.float64), cores, boundary)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_weights_as_small_as_can_be(boundary, dtype):
    lowest = math.log(torch.finfo(dtype).tiny)
    log_weights = torch.linspace(1.2 * lowest, 0.0, 6 * 20 * 4, dtype=dtype).view(6, 20, 4)
    log_weights[0, 0] = torch.tensor([-math.inf, 0.0, -math.inf, torch.finfo(dtype).min])
    check(log_weights, torch.zeros(6, 4, dtype=dtype), torch.rand(6, 4, 3, 3, dtype=dtype) + 0.1, boundary)


@pytest.mark.parametrize("off", [5.0, 15.0, 25.0, 40.0, 60.0])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_lost_rows_are_reported_alike(boundary, off, dtype):
    """Blocks that the variables disagree about: products fall, for some rows so far that they are lost."""
    torch.manual_seed(0)
    cores = torch.full((40, 2, 4, 4), math.exp(-off), dtype=dtype)
    cores[:, 0, :2, :2] = cores[:, 1, 2:, 2:] = 1.0
    index = torch.randint(2, (40, 30))
    index[:, 0] = 0
    log_weights = torch.where(index.unsqueeze(-1) == torch.arange(2), 0.0, -3 * off).to(dtype)
    arguments = log_weights, torch.zeros(40, 2, dtype=dtype), cores, boundary
    with threads(1):
        _, actual = by_kernel(*arguments)
    _, expected = by_pytorch(*arguments)
    assert torch.equal(actual == -math.inf, expected == -math.inf)
    assert actual[0] > -math.inf
    kept = expected > -math.inf
    torch.testing.assert_close(actual[kept], expected[kept], rtol=TOLERANCE[dtype], atol=1e-4)


@pytest.mark.parametrize("lines", [3, 1])
def test_a_core_of_zeros_loses_the_row_and_nan_stays(lines):
    cores, log_weights = torch.ones(5, 2, 3, 3), torch.zeros(5, 4, 2)
    cores[2, 1] = 0.0
    log_weights[2, 1, 0] = -math.inf
    log_weights[3, 2, 1] = math.nan
    matrix, total, _ = kernels.CompiledProduct.apply(log_weights, torch.zeros(5, 2), cores, lines)
    assert (total[:, 1] == -math.inf).any()
    assert matrix[:, 2].isnan().any()
    assert matrix[:, [0, 3]].isfinite().all()
    assert total[:, [0, 3]].isfinite().all()


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gradients_that_overflow_are_limited(boundary):
    cores = torch.zeros(60, 1, 4, 4)
    cores[:, :, 0, 0] = 1e-3
    cores[1:-1, :, 1:, 1:] = 1.0
    cores[-1, :, :, 0] = 1e-3
    log_weights = torch.zeros(60, 3, 1, requires_grad=True)
    cores.requires_grad_()
    with threads(1):
        matrix, _ = by_kernel(log_weights, torch.zeros(60, 1), cores, boundary)
        gradients = torch.autograd.grad(matrix.sum(), (log_weights, cores))
    matrix, _ = by_pytorch(log_weights, torch.zeros(60, 1), cores, boundary)
    expected = torch.autograd.grad(matrix.sum(), (log_weights, cores))
    for gradient, limited in zip(gradients, expected, strict=True):
        assert gradient.isfinite().all()
        torch.testing.assert_close(gradient, limited)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_of_two_precisions(boundary):
    """Log-weights in double precision, as of values far from every component, and cores in single precision."""
    torch.manual_seed(0)
    chain = Chain(torch.randn(7, 3, 4, 4), boundary)
    log_weights = (1e5 * torch.randn(7, 5, 3, dtype=torch.float64)).requires_grad_()
    actual = chain.log_sum(log_weights)
    expected = Chain(chain.log_cores, boundary).log_sum(log_weights)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-4)
    (gradient,) = torch.autograd.grad(actual.sum(), log_weights)
    assert gradient.dtype == torch.float64


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_same_result_every_time(boundary):
    torch.manual_seed(0)
    cores, log_weights = torch.rand(20, 3, 6, 6), torch.randn(20, 100, 3)
    results = []
    with threads(2):
        for _ in range(3):
            leaves = log_weights.clone().requires_grad_(), cores.clone().requires_grad_()
            matrix, total = by_kernel(leaves[0], torch.zeros(20, 3), leaves[1], boundary)
            results.append((matrix, total, *torch.autograd.grad(matrix.sum(), leaves)))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize("lines", [4, 1])
def test_an_empty_batch(lines):
    log_weights = torch.zeros(3, 0, 2, requires_grad=True)
    cores = torch.rand(3, 2, 4, 4, requires_grad=True)
    matrix, _, _ = kernels.CompiledProduct.apply(log_weights, torch.zeros(3, 2), cores, lines)
    assert matrix.shape[1:] == (0, lines, 4)
    assert (torch.autograd.grad(matrix.sum(), cores)[0] == 0).all()


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_left_aside_where_it_cannot_be_used(boundary, monkeypatch):
    cores = torch.rand(3, 2, 4, 4)
    assert kernels.available(cores)
    assert not kernels.available(cores.bfloat16())
    assert not kernels.available(cores.to("meta"))
    ring = TensorRing([Normal(3)] * 4, 3, boundary)
    value = torch.randn(5, 4)
    expected = ring().log_prob(value)
    monkeypatch.setenv("GOOGOL_KERNELS", "0")
    assert not kernels.available(cores)
    torch.testing.assert_close(ring().log_prob(value), expected)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("count", [3, 3000])
def test_the_same_samples_as_by_pytorch(boundary, count, monkeypatch):
    torch.manual_seed(0)
    ring = TensorRing([Normal(3)] * 6, 4, boundary, dtype=torch.float64)
    evidence = torch.where(torch.rand(5, 6) < 0.4, torch.randn(5, 6), torch.nan).double()
    drawn = []
    for kernel in ("", "0"):
        monkeypatch.setenv("GOOGOL_KERNELS", kernel)
        torch.manual_seed(1)
        drawn.append((ring().sample((count,)), ring().condition(evidence).sample((count,))))
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("count", [1, 3])
def test_draws_from_tables_and_from_products(count, dtype):
    """By the definition: the first index whose cumulated weight exceeds the number times the sum."""
    torch.manual_seed(0)
    left, right = torch.rand(4, 37, dtype=dtype), torch.rand(3, 37, dtype=dtype)
    left[:, ::3] = 0.0
    of_left, of_right = torch.randint(4, (9000,)), torch.randint(3, (9000,))
    uniform = torch.rand(9000, dtype=dtype)
    uniform[:2] = torch.tensor([0.0, 1.0 - torch.finfo(dtype).eps / 2])
    with threads(count):
        of_table = kernels.draw(left.cumsum(-1), of_left, None, None, uniform)
        of_product = kernels.draw(left, of_left, right, of_right, uniform)
    for actual, weights in ((of_table, left[of_left]), (of_product, left[of_left] * right[of_right])):
        cumulated = weights.double().cumsum(-1)
        target = uniform.double().unsqueeze(1) * cumulated[:, -1:]
        before = torch.nn.functional.pad(cumulated, (1, 0)).gather(1, actual.unsqueeze(1))
        after = cumulated.gather(1, actual.unsqueeze(1))
        slack = 1e-5 * cumulated[:, -1:]
        assert ((before <= target + slack) & (target < after + slack)).all()
        assert (weights.gather(1, actual.unsqueeze(1)) > 0).all()


def log_sum_by_pytorch(log_weights: Tensor, log_scale: Tensor, cores: Tensor, boundary: Boundary) -> Tensor:
    matrix, total = by_pytorch(log_weights, log_scale, cores, boundary)
    closed = matrix.diagonal(dim1=-2, dim2=-1).sum(-1) if boundary == "ring" else matrix.sum((-2, -1))
    return closed.double().log() + total


@settings(max_examples=100, deadline=None)
@given(
    **SIZES,
    expected=st.booleans(),
)
def test_log_sums_and_gradients_are_those_of_pytorch(n, rows, components, m, count, dtype, expected, boundary, seed):
    generator = torch.Generator().manual_seed(seed)
    cores = torch.rand(n, components, m, m, generator=generator, dtype=dtype)
    log_weights = 3 * torch.randn(n, rows, components, generator=generator, dtype=dtype)
    log_scale = torch.randn(n, components, generator=generator, dtype=dtype)
    weights = torch.randn(rows, generator=generator, dtype=torch.float64)
    results = []
    with threads(count):
        for compiled in (True, False):
            leaves = log_weights.clone().requires_grad_(), cores.clone().requires_grad_()
            if compiled:
                lines = m if boundary == "ring" else 1
                known = weights if expected else None
                value = kernels.CompiledLogSum.apply(leaves[0], log_scale, leaves[1], lines, known)
            else:
                value = log_sum_by_pytorch(leaves[0], log_scale, leaves[1], boundary)
            results.append((value.detach(), *torch.autograd.grad(value, leaves, weights)))
    tolerance = TOLERANCE[dtype]
    for actual, true in zip(*results, strict=True):
        atol = tolerance * max(1.0, true.abs().amax().item())
        torch.testing.assert_close(actual, true, rtol=tolerance, atol=atol)


@pytest.mark.parametrize(("n", "m"), [(90, 40), (40, 64)])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_log_sums_of_chains_too_long_to_be_kept(boundary, n, m):
    generator = torch.Generator().manual_seed(m)
    cores = torch.rand(n, 2, m, m, generator=generator, dtype=torch.float64).requires_grad_()
    log_weights = torch.randn(n, 17, 2, generator=generator, dtype=torch.float64).requires_grad_()
    zero, lines = torch.zeros(n, 2, dtype=torch.float64), m if boundary == "ring" else 1
    actual = kernels.CompiledLogSum.apply(log_weights, zero, cores, lines, torch.ones(17, dtype=torch.float64))
    expected = log_sum_by_pytorch(log_weights, zero, cores, boundary)
    torch.testing.assert_close(actual, expected)
    gradients = (torch.autograd.grad(value.sum(), (log_weights, cores)) for value in (actual, expected))
    for gradient, true in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, true, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("components", [1, 10, 37])
@pytest.mark.parametrize("count", [1, 2])
def test_normal_densities_and_gradients_are_those_of_pytorch(count, components, dtype):
    torch.manual_seed(0)
    value = torch.randn(5, 130, dtype=dtype)
    value[torch.rand(5, 130) < 0.2] = torch.nan
    leaves = value, torch.randn(5, components, dtype=dtype), 0.3 * torch.randn(5, components, dtype=dtype)
    weights, results = torch.randn(5, 130, components, dtype=dtype), []
    for compiled in (True, False):
        value, loc, log_scale = (x.clone().requires_grad_() for x in leaves)
        with threads(count):
            if compiled:
                log_prob = kernels.CompiledNormal.apply(value, loc, log_scale)
            else:
                missing = value.isnan()
                normal = torch.distributions.Normal(loc.unsqueeze(1), log_scale.exp().unsqueeze(1))
                log_prob = normal.log_prob(value.masked_fill(missing, 0.0).unsqueeze(-1))
                log_prob = log_prob.masked_fill(missing.unsqueeze(-1), 0.0)
            results.append((log_prob.detach(), *torch.autograd.grad(log_prob, (value, loc, log_scale), weights)))
    for actual, expected in zip(*results, strict=True):
        tolerance = TOLERANCE[dtype]
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * expected.abs().amax().item())


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("count", [15, 33, 200])
def test_densities_of_normals_are_formed_on_the_way(count, dtype, boundary, monkeypatch):
    torch.manual_seed(count)
    ring = TensorRing([Normal(3)] * 7, 5, boundary, dtype=dtype)
    value = torch.randn(count, 7, dtype=dtype)
    value[torch.rand(count, 7) < 0.3] = torch.nan
    found, log_sums = [], kernels.log_sums_of_normals
    monkeypatch.setattr(kernels, "log_sums_of_normals", lambda *given: found.append(log_sums(*given)) or found[-1])
    for far in (False, True):  # where single precision would not do, all is done as ever
        value[count // 2, 1] = -1e4 if far else 0.0
        with torch.no_grad():
            actual = ring().log_prob(value)
        torch.testing.assert_close(actual, ring().log_prob(value).detach(), rtol=TOLERANCE[dtype], atol=1e-4)
    if count >= kernels.rows_at_once(value):
        assert len(found) == 2
        assert found[0] is not None
        assert (found[1] is None) == (dtype == torch.float32)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_densities_of_normals_that_lose_precision_go_through_the_logarithmic_domain(boundary):
    """Every variable keeps the block that the next one leaves."""
    log_cores = torch.full((12, 2, 4, 4), -30.0)
    log_cores[:, 0, :2, :2] = log_cores[:, 1, 2:, 2:] = 0.0
    parts = [Normal(2, loc=[-3.0, 3.0], scale=[0.5, 0.5])] * 12
    ring = TensorRing(parts, 4, boundary, cores=list(log_cores.exp()))
    value = torch.tensor([3.0, -3.0] * 6).repeat(40, 1)
    value[::2] = 3.0
    with torch.no_grad():
        actual = ring().log_prob(value)
    exact = TensorRing(parts, 4, boundary, cores=list(log_cores.double().exp()), dtype=torch.float64)
    torch.testing.assert_close(actual.double(), exact().log_prob(value.double()).detach(), rtol=1e-5, atol=1e-3)


def test_an_unknown_wish_for_kernels_is_told(monkeypatch):
    monkeypatch.setenv("GOOGOL_KERNELS", "no")
    with pytest.raises(ValueError, match="GOOGOL_KERNELS must be 0, plain, avx2 or not set, got 'no'"):
        TensorRing([Normal(2)] * 3, 2)().log_prob(torch.zeros(3))
