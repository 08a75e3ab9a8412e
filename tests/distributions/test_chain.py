"""Chains of matrices against the plain product of one matrix after the other, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from googol.distributions.chain import Boundary, Chain

BOUNDARIES: list[Boundary] = ["ring", "train"]


def random_chain(n: int, components: int, rank: int, batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logarithms of cores and of weights."""
    generator = torch.Generator().manual_seed(seed)
    log_cores = torch.randn(n, components, rank, rank, generator=generator, dtype=torch.float64)
    log_weights = 3 * torch.randn(n, batch, components, generator=generator, dtype=torch.float64)
    return log_cores, log_weights


def plain_log_sum(log_cores: Tensor, log_weights: Tensor, boundary: Boundary) -> Tensor:
    """The definition, one link after the other; the scale is taken out after every link."""
    links = torch.einsum("jbk,jkxy->jbxy", log_weights.exp(), log_cores.exp())
    m = links.shape[-1]
    total = torch.eye(m, dtype=links.dtype).expand(links.shape[1], m, m)
    log_scale = links.new_zeros(links.shape[1])
    for link in links.unbind(0):
        total = total @ link
        norm = total.sum((-2, -1))
        total, log_scale = total / norm[:, None, None], log_scale + norm.log()
    closed = total.diagonal(dim1=1, dim2=2).sum(-1) if boundary == "ring" else total.sum((1, 2))
    return closed.log() + log_scale


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("n", range(1, 20))
def test_every_length(n, boundary):
    for rank in (1, 3, 8, 9):
        log_cores, log_weights = random_chain(n, 3, rank, 5, seed=n)
        actual = Chain(log_cores, boundary).log_sum(log_weights)
        torch.testing.assert_close(actual, plain_log_sum(log_cores, log_weights, boundary), rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("batch", [1, 2, 127, 256, 511, 512, 513, 768, 769, 1024, 1025])
def test_every_number_of_rows(batch, boundary):
    log_cores, log_weights = random_chain(6, 2, 3, batch, seed=batch)
    actual = Chain(log_cores, boundary).log_sum(log_weights)
    torch.testing.assert_close(actual, plain_log_sum(log_cores, log_weights, boundary), rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("n", "batch"), [(100, 3), (100, 600), (1000, 2)])
def test_long_chains_in_both_precisions(n, batch, boundary):
    log_cores, log_weights = random_chain(n, 4, 5, batch)
    expected = plain_log_sum(log_cores, log_weights, boundary)
    torch.testing.assert_close(Chain(log_cores, boundary).log_sum(log_weights), expected, rtol=1e-12, atol=1e-9)
    single = Chain(log_cores.float(), boundary).log_sum(log_weights.float())
    torch.testing.assert_close(single, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("n", "rank", "batch"), [(1, 2, 3), (2, 9, 1), (7, 4, 5), (16, 8, 2), (5, 3, 800)])
def test_gradients(n, rank, batch, boundary):
    log_cores, log_weights = (x.requires_grad_() for x in random_chain(n, 3, rank, batch))
    direction = torch.linspace(-1, 1, batch, dtype=torch.float64)
    actual = torch.autograd.grad(Chain(log_cores, boundary).log_sum(log_weights) @ direction, (log_cores, log_weights))
    expected = torch.autograd.grad(
        plain_log_sum(log_cores, log_weights, boundary) @ direction, (log_cores, log_weights)
    )
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_product_itself(boundary):
    log_cores, log_weights = random_chain(5, 3, 4, 6)
    matrix, log_scale, _ = Chain(log_cores, boundary).product(log_weights)
    links = torch.einsum("jbk,jkxy->jbxy", log_weights.exp(), log_cores.exp())
    expected = links[0] @ links[1] @ links[2] @ links[3] @ links[4]
    if boundary == "train":
        expected = expected.sum(1, keepdim=True)
    torch.testing.assert_close(matrix * log_scale.exp()[:, None, None], expected)
    around = Chain(log_cores, "train").product(log_weights, boundary="ring")
    assert around.matrix.shape == (6, 4, 4)


def test_links_are_the_weighted_sums_of_the_cores():
    log_cores, log_weights = random_chain(3, 4, 3, 5)
    links = Chain(log_cores, "ring").links(log_weights)
    expected = torch.einsum("jbk,jkxy->jbxy", log_weights.exp(), log_cores.exp())
    ratio = expected / links
    torch.testing.assert_close(ratio, ratio[..., :1, :1].expand_as(ratio))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("kept", [[0], [6], [3], [0, 6], [1, 2, 5], [0, 1, 2, 3, 4, 5, 6]])
def test_absorbing_links_sums_them_out(kept, boundary):
    log_cores, log_weights = random_chain(7, 3, 4, 5)
    missing = torch.ones(7, dtype=torch.bool)
    missing[kept] = False
    chain = Chain(log_cores, boundary)
    expected = chain.log_sum(log_weights.masked_fill(missing[:, None, None], 0.0))
    torch.testing.assert_close(chain.absorb(kept).log_sum(log_weights[kept]), expected)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_absorbing_keeps_the_scale_of_hundreds_of_links(boundary):
    log_cores, log_weights = random_chain(600, 3, 4, 2)
    kept = [5, 300]
    missing = torch.ones(600, dtype=torch.bool)
    missing[kept] = False
    expected = plain_log_sum(log_cores, log_weights.masked_fill(missing[:, None, None], 0.0), boundary)
    actual = Chain(log_cores.float(), boundary).absorb(kept).log_sum(log_weights[kept].float())
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-3)


def test_selected_links_are_a_chain_of_their_own():
    log_cores, log_weights = random_chain(5, 4, 3, 2)
    actual = Chain(log_cores, "train").select([3, 1], 2).log_sum(log_weights[[3, 1], :, :2])
    torch.testing.assert_close(actual, plain_log_sum(log_cores[[3, 1], :2], log_weights[[3, 1], :, :2], "train"))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_posterior_is_the_gradient(boundary):
    log_cores, log_weights = random_chain(6, 3, 4, 5)
    log_weights.requires_grad_()
    (expected,) = torch.autograd.grad(plain_log_sum(log_cores, log_weights, boundary).sum(), log_weights)
    actual = Chain(log_cores, boundary).posterior(log_weights)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(actual.sum(-1), torch.ones(6, 5, dtype=torch.float64))
    assert not actual.requires_grad


def test_a_core_of_zeros_is_a_component_that_never_happens():
    log_cores, log_weights = random_chain(4, 3, 3, 5)
    log_cores[:, 2] = -torch.inf
    expected = plain_log_sum(log_cores[:, :2], log_weights[..., :2], "ring")
    torch.testing.assert_close(Chain(log_cores, "ring").log_sum(log_weights), expected)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_sum_of_zero_is_minus_infinity_and_leaves_the_other_rows_alone(boundary):
    log_cores, log_weights = random_chain(9, 5, 3, 3)
    log_cores[:, 4] = -torch.inf
    log_weights[4, 1, :4] = -torch.inf  # row 1 asks for the component that never happens
    log_cores, log_weights = log_cores.float().requires_grad_(), log_weights.float().requires_grad_()
    actual = Chain(log_cores, boundary).log_sum(log_weights)
    assert actual[1] == -torch.inf
    others = Chain(log_cores, boundary).log_sum(log_weights[:, ::2])
    torch.testing.assert_close(actual[::2], others)
    gradient = torch.autograd.grad(actual[::2].sum(), (log_cores, log_weights), retain_graph=True)
    assert all(g.isfinite().all() for g in gradient)
    gradient = torch.autograd.grad(actual.clamp_min(-1e3).sum(), (log_cores, log_weights))
    assert all(g.isfinite().all() for g in gradient)
