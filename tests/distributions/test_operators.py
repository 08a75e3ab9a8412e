"""The operator: as PyTorch asks of one, and the same numbers under torch.compile, without a break of the graph."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from googol.distributions import Categorical, Normal, TensorRing, operators
from googol.distributions.chain import Chain

BOUNDARIES = ["ring", "train"]


@pytest.fixture(autouse=True)
def validation():
    """torch.compile switches the validation of arguments off, for all distributions and for good."""
    before = torch.distributions.Distribution._validate_args
    yield
    torch.distributions.Distribution.set_default_validate_args(before)


def arguments(boundary: str, off: float, given_logarithms: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None, str]:
    """Blocks that half of the links disagree about: where ``off`` is large, rows go through the logarithmic domain."""
    torch.manual_seed(0)
    log_cores = torch.full((20, 2, 4, 4), -off, dtype=torch.float64)
    log_cores[:, 0, :2, :2] = log_cores[:, 1, 2:, 2:] = 0.0
    log_cores += 0.1 * torch.randn_like(log_cores)
    chain = Chain(log_cores, boundary)
    index = torch.randint(2, (20, 5))
    index[:, 0] = 0
    log_weights = torch.where(index.unsqueeze(-1) == torch.arange(2), 0.0, -3 * off).double()
    cores, log_scale, logarithms = chain.tensors
    log_weights, cores = log_weights.requires_grad_(), cores.detach().requires_grad_()
    logarithms = logarithms.detach().requires_grad_() if given_logarithms else None
    return log_weights, cores, log_scale, logarithms, boundary


@pytest.mark.parametrize("given_logarithms", [True, False])
@pytest.mark.parametrize("off", [2.0, 300.0])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_it_is_an_operator(boundary, off, given_logarithms):
    torch.library.opcheck(torch.ops.googol.log_sum.default, arguments(boundary, off, given_logarithms))


@pytest.mark.parametrize("name", ["log_sum", "log_sum_gradients", "log_sum_gradients_again"])
def test_cuda_graphs_are_told_to_leave_it_out(name):
    assert torch.Tag.cudagraph_unsafe in getattr(torch.ops.googol, name).default.tags


@pytest.mark.parametrize("off", [2.0, 300.0])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_values_and_gradients_are_those_of_the_chain(boundary, off):
    given = arguments(boundary, off, True)
    leaves, weights = (given[0], given[1], given[3]), torch.randn(5, dtype=torch.float64)
    actual = torch.ops.googol.log_sum(*given)
    expected = Chain.of_tensors(*given[1:]).log_sum(given[0])
    assert torch.equal(actual, expected)
    for a, b in zip(
        torch.autograd.grad(actual, leaves, weights),
        torch.autograd.grad(expected, leaves, weights, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("discrete", [False, True])
def test_a_density_under_torch_compile(discrete, boundary):
    torch.manual_seed(0)
    ring = TensorRing([Normal(3)] * 4 + [Categorical(2)] * discrete, 4, boundary)
    value = torch.randn(7, 4 + discrete)
    value[:, 4:] = 1.0
    value[2, 1] = torch.nan
    value[3, 0] = 1e4  # where single precision would not do
    compiled = torch.compile(lambda v: ring().log_prob(v), fullgraph=True, backend="aot_eager")
    results = []
    for function in (compiled, lambda v: ring().log_prob(v)):
        leaf = value.clone().requires_grad_()
        log_prob = function(leaf)
        results.append((log_prob.detach(), *torch.autograd.grad(log_prob.sum(), (leaf, *ring.parameters()))))
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights", [torch.full((7,), 0.5), torch.linspace(-1, 1, 7)])
def test_the_operator_forms_gradients_along_with_values(weights, monkeypatch):
    """Weights that are a multiple of those expected need no second pass; others do."""
    log_weights, cores, log_scale, log_cores, boundary = arguments("ring", 2.0, True)
    log_weights = log_weights.detach().repeat(1, 2, 1)[:, :7].requires_grad_()
    weights, ones = weights.double(), torch.ones(7, dtype=torch.float64)
    chain, passes = Chain.of_tensors(cores, log_scale, log_cores, boundary), []
    log_sum = Chain.log_sum
    monkeypatch.setattr(Chain, "log_sum", lambda *given: passes.append(1) or log_sum(*given))
    value = operators.log_sum(chain, log_weights, ones)
    found = torch.autograd.grad(value, (log_weights, cores), weights)
    assert len(passes) == (1 if weights[0] == weights[-1] else 2)
    expected = log_sum(chain, log_weights)
    assert torch.equal(value, expected)
    torch.testing.assert_close(found, torch.autograd.grad(expected, (log_weights, cores), weights))


def test_log_sums_with_gradients_are_an_operator():
    given = arguments("ring", 2.0, True)
    expected = torch.ones(5, dtype=torch.float64)
    torch.library.opcheck(
        torch.ops.googol.log_sum_gradients.default, (expected, *given), test_utils=("test_schema", "test_faketensor")
    )
    gradients = list(
        torch.ops.googol.log_sum_gradients(expected, *(x.detach() if isinstance(x, Tensor) else x for x in given))
    )
    again = (2 * expected, expected, gradients[1:], *given)
    torch.library.opcheck(
        torch.ops.googol.log_sum_gradients_again.default, again, test_utils=("test_schema", "test_faketensor")
    )


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_several_marginals_under_torch_compile(boundary):
    torch.manual_seed(0)
    ring = TensorRing([Normal(3)] * 4 + [Categorical(2)], 4, boundary)
    value = torch.cat([torch.randn(7, 4), torch.randint(2, (7, 1))], 1)
    value[2, 4] = torch.nan

    def loss() -> Tensor:
        both, codes = ring().log_marginals(value, [range(5), range(4)])
        return (3 * both - 2 * codes).mean()

    results = []
    for function in (torch.compile(loss, fullgraph=True, backend="aot_eager"), loss):
        results.append((function().detach(), *torch.autograd.grad(function(), ring.parameters())))
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
