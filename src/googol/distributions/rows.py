"""The log-sums of many rows, block by block, with gradients that are computed along with them.

A log-density is differentiated by the rows and by all parameters, and nearly always it is the sum or the mean over
rows that is. So the gradient of the sum is formed together with the values, one block of rows after the other, while
a block's products are in cache. Nothing else needs to be kept for the backward pass: as much memory as the parameters
take, whatever the batch. A backward pass that weights the rows in another way computes them once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from googol.distributions import operators
from googol.distributions.blocks import Boundary
from googol.distributions.chain import Chain
from googol.distributions.emissions import Emissions
from googol.distributions.indexing import index_of
from googol.distributions.once import once_differentiable
from googol.distributions.precision import every_digit
from googol.distributions.products import common_factor, log_of_sums


def log_sums(chain: Chain, emissions: Emissions, rows: Tensor, expected: Tensor) -> Tensor:
    """``log Tr(A_1 … A_n)`` of every row, in double precision.

    Args:
        rows: Values of shape ``(B, n)``, NaN = summed out.
        expected: The weights of the rows, up to a factor, in the sum that will be differentiated, shape ``(B,)``.

    Returns:
        Shape ``(B,)``.
    """
    if torch.compiler.is_compiling():
        return operators.log_sum(chain, emissions.log_prob(rows), expected)
    tensors = _tensors(chain, emissions)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (rows, *tensors)):
        result: Tensor = _LogSums.apply(chain, emissions, expected, rows, *tensors)
        return result
    size, normals = chain.rows_per_block(len(rows), keep=False), emissions.normals()
    if normals is not None and (found := chain.log_sum_of_normals(rows, *normals)) is not None:
        lost = found == -torch.inf
        if bool(lost.any()):
            found[lost] = chain.log_sum(emissions.log_prob(rows[lost]))
        return found
    return torch.cat([chain.log_sum(emissions.log_prob(block)) for block in rows.split(size)])


def log_sums_of_subsets(chain: Chain, emissions: Emissions, rows: Tensor, included: Tensor) -> Tensor:
    """Those with subsets of the variables observed, ``(S, B)``: what is the same for all subsets is multiplied once.

    Args:
        rows: Values of shape ``(B, n)``, NaN = summed out.
        included: Which variables each subset holds, ``(S, n)``, on the CPU.
    """
    # A compiler cannot look, and its operator knows whole sums only.
    shared = 0
    if not torch.compiler.is_compiling():
        same = (included == included[:1]).all(0).tolist()
        order, shared = _longest_run(same, chain.boundary)
    included = included.to(rows.device)
    if shared == len(chain) or 2 * shared < len(chain):
        parts = [rows.masked_fill(~subset, torch.nan) for subset in included]
        return torch.stack([log_sums(chain, emissions, part, rows.new_ones(len(rows)).double()) for part in parts])
    first, rest = chain.select(order[:shared]), chain.select(order[shared:])
    blocks = rows.split(chain.rows_per_block(len(rows), keep=True))
    with every_digit(rows):
        parts = [_block(chain, first, rest, emissions.log_prob(block), included, order) for block in blocks]
    return torch.cat(parts, 1)


def _block(chain: Chain, first: Chain, rest: Chain, log_weights: Tensor, included: Tensor, order: list[int]) -> Tensor:
    """Those of a block: the product of the links in which all subsets agree, closed by the others of each subset."""
    subsets, batch, shared = len(included), log_weights.shape[1], len(first)
    zero = log_weights.new_zeros(())
    weights = [torch.where(subset[:, None, None], log_weights, zero) for subset in included]
    shared_links, other_links = index_of(order[:shared]), index_of(order[shared:])
    of_rest = torch.cat([w[other_links] for w in weights], 1)
    common, own = first.product(weights[0][shared_links]), rest.product(of_rest, boundary="ring")
    matrices = own.matrix.unflatten(0, (subsets, batch))
    if chain.boundary == "ring":
        closed = (common.matrix * matrices.mT).sum((-2, -1))
    else:
        closed = (common.matrix @ matrices).sum((-2, -1))
    log_scale = common.log_scale + own.log_scale.view_as(closed)
    result, lost = log_of_sums(closed, log_scale, common.bound + own.bound.view_as(closed))
    if not bool(lost.any()):
        return result
    return result.index_put(lost.nonzero(as_tuple=True), chain._log_domain(torch.stack(weights, 1)[:, lost]))


def _longest_run(same: list[bool], boundary: Boundary) -> tuple[list[int], int]:
    """The links in an order along the chain that starts with the most neighbours that are marked, and their number."""
    n, best = len(same), (0, 0)
    for start in range(n if boundary == "ring" else 1):
        length = next((i for i in range(n) if not same[(start + i) % n]), n)
        best = max(best, (length, -start))
    return [(i - best[1]) % n for i in range(n)], best[0]


def _tensors(chain: Chain, emissions: Emissions) -> list[Tensor]:
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    chain.map(note)
    emissions.map(note)
    return found


def _with_tensors(chain: Chain, emissions: Emissions, tensors: Sequence[Tensor]) -> tuple[Chain, Emissions]:
    """The same with other tensors, in the order of :func:`_tensors`."""
    following = iter(tensors)
    return chain.map(lambda _: next(following)), emissions.map(lambda _: next(following))


class _LogSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, chain: Chain, emissions: Emissions, expected: Tensor, rows: Tensor, *tensors: Tensor
    ) -> Tensor:
        ctx.chain, ctx.emissions, ctx.expected, ctx.needed = chain, emissions, expected, ctx.needs_input_grad[3:]
        result, gradients = _with_gradients(chain, emissions, (rows, *tensors), ctx.needed, expected)
        ctx.save_for_backward(rows, *tensors, *gradients)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, gradients = ctx.saved_tensors[: len(ctx.needed)], ctx.saved_tensors[len(ctx.needed) :]
        factor = common_factor(grad, ctx.expected)
        if factor is None:
            _, gradients = _with_gradients(ctx.chain, ctx.emissions, inputs, ctx.needed, grad)
        elif factor != 1.0:
            gradients = [None if gradient is None else gradient * factor for gradient in gradients]
        return None, None, None, *gradients


def _with_gradients(
    chain: Chain, emissions: Emissions, inputs: Sequence[Tensor], needed: Sequence[bool], weights: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """The log-sums of all rows, and the gradients of their weighted sum: None where there is none or none needed."""
    rows, *tensors = (tensor.detach() for tensor in inputs)
    size = chain.rows_per_block(len(rows), keep=True)
    result, of_rows = [], []
    totals: list[Tensor | None] = [None] * len(tensors)
    for block, weight in zip(rows.split(size), weights.split(size), strict=True):
        leaves = [t.detach().requires_grad_(need) for t, need in zip((block, *tensors), needed, strict=True)]
        with torch.enable_grad(), every_digit(rows):
            part, seen = _with_tensors(chain, emissions, leaves[1:])
            values = part.log_sum(seen.log_prob(leaves[0]), weight)
            wanted = [leaf for leaf in leaves if leaf.requires_grad]
            found = iter(torch.autograd.grad(values, wanted, weight, allow_unused=True))
        result.append(values.detach())
        gradients = [next(found) if need else None for need in needed]
        if gradients[0] is not None:
            of_rows.append(gradients[0])
        totals = [_added(total, gradient) for total, gradient in zip(totals, gradients[1:], strict=True)]
    return torch.cat(result), [torch.cat(of_rows) if of_rows else None, *totals]


def _added(total: Tensor | None, gradient: Tensor | None) -> Tensor | None:
    return gradient if total is None else total if gradient is None else total + gradient
