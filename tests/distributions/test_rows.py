"""Log-sums computed block by block, with gradients on the way, beside one block and automatic differentiation."""

import pytest
import torch

from googol.distributions import Categorical, Normal, TensorRing
from googol.distributions.chain import Chain
from googol.distributions.rows import log_sums


def _inputs(boundary):
    torch.manual_seed(0)
    ring = TensorRing([Normal(3)] * 6 + [Categorical(2)], rank=4, boundary=boundary, dtype=torch.float64)
    rows = ring().sample((500,))
    rows[torch.rand(rows.shape) < 0.2] = torch.nan
    rows.requires_grad_()
    return ring, rows


@pytest.mark.parametrize("boundary", ["ring", "train"])
@pytest.mark.parametrize("as_expected", [True, False])
def test_gradients_are_those_of_automatic_differentiation(boundary, as_expected, monkeypatch):
    ring, rows = _inputs(boundary)
    joint = ring()
    weights = torch.rand(len(rows), dtype=torch.float64)
    expected = 5 * weights if as_expected else torch.ones_like(weights)
    wanted = [rows, *ring.parameters()]

    direct = joint.chain.log_sum(joint.emissions.log_prob(rows))
    direct_gradients = torch.autograd.grad(direct @ weights, wanted, retain_graph=True)
    monkeypatch.setattr(Chain, "rows_per_block", lambda *_, **__: 77)
    blocks = log_sums(joint.chain, joint.emissions, rows, expected)
    gradients = torch.autograd.grad(blocks @ weights, wanted)

    torch.testing.assert_close(blocks, direct)
    for gradient, direct_gradient in zip(gradients, direct_gradients, strict=True):
        torch.testing.assert_close(gradient, direct_gradient)


def test_a_sum_is_differentiated_without_computing_it_again(monkeypatch):
    ring, rows = _inputs("ring")
    calls = []
    log_sum = Chain.log_sum
    monkeypatch.setattr(Chain, "log_sum", lambda *args: calls.append(1) or log_sum(*args))
    value = ring().log_prob(rows)
    assert (forward := len(calls)) > 0
    value.mean().backward()
    assert len(calls) == forward
    ring().log_prob(rows).square().sum().backward()
    assert len(calls) == 3 * forward


def test_nothing_is_differentiated_that_needs_no_gradient():
    ring, rows = _inputs("ring")
    rows = rows.detach()
    ring.log_cores.requires_grad_(False)
    ring().log_prob(rows).sum().backward()
    assert all(core.grad is None for core in ring.log_cores)
    assert all(parameter.grad.abs().sum() > 0 for parameter in ring.components.parameters())


@pytest.mark.parametrize("order", [None, [2, 5, 0, 4, 1, 3]])
@pytest.mark.parametrize("subsets", [[range(6), range(4)], [[0, 1, 2], [0, 1]], [[5], [0]], [range(6)], [[], [3]]])
@pytest.mark.parametrize("boundary", ["ring", "train"])
def test_log_marginals_are_densities_with_the_others_missing(boundary, subsets, order):
    torch.manual_seed(0)
    variables = [Normal(3)] * 4 + [Categorical(2)] * 2
    ring = TensorRing(variables, 4, boundary, order=order, dtype=torch.float64)
    value = ring().sample((2, 40))
    value[0, :5, 1] = torch.nan
    value = value.requires_grad_()
    leaves = (value, *ring.parameters())
    actual = ring().log_marginals(value, subsets)
    expected = []
    for subset in subsets:
        missing = torch.ones(6, dtype=torch.bool)
        missing[list(subset)] = False
        expected.append(ring().log_prob(value.masked_fill(missing, torch.nan)))
    torch.testing.assert_close(actual, torch.stack(expected))
    weights = torch.randn_like(actual)
    for a, b in zip(
        torch.autograd.grad((actual * weights).sum(), leaves),
        torch.autograd.grad((torch.stack(expected) * weights).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(a.nan_to_num(), b.nan_to_num())


@pytest.mark.parametrize("boundary", ["ring", "train"])
def test_log_marginals_where_products_lose_everything(boundary):
    """Blocks that the variables disagree about: some rows go through the logarithmic domain."""
    cores = torch.full((12, 2, 4, 4), -120.0)
    cores[:, 0, :2, :2] = cores[:, 1, 2:, 2:] = 0.0
    ring = TensorRing([Normal(2, loc=[-9.0, 9.0], scale=0.5)] * 12, 4, boundary, cores=list(cores.double().exp()))
    value = 9.0 * (2 * (torch.rand(20, 12) < 0.5) - 1.0)
    value[0] = 9.0
    subsets = [range(12), range(10)]
    double = TensorRing.forward(ring.double())
    for a, subset in zip(double.log_marginals(value.double(), subsets), subsets, strict=True):
        missing = torch.ones(12, dtype=torch.bool)
        missing[list(subset)] = False
        torch.testing.assert_close(a, double.log_prob(value.double().masked_fill(missing, torch.nan)))


def test_log_marginals_given_evidence_and_of_positions_that_are_none():
    joint = TensorRing([Normal(3)] * 4, 3)()
    value = torch.randn(5, 4)
    given = joint.condition(torch.tensor([torch.nan, 0.5, torch.nan, torch.nan]))
    value[:, 1] = torch.nan
    actual = given.log_marginals(value, [range(4), range(2)])
    torch.testing.assert_close(actual[0], given.log_prob(value))
    with pytest.raises(ValueError, match="positions from -4 to 3"):
        joint.log_marginals(value, [[4]])
