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
