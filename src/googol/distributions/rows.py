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
from torch.autograd.function import once_differentiable

from googol.distributions import operators
from googol.distributions.chain import Chain
from googol.distributions.emissions import Emissions


def log_sums(chain: Chain, emissions: Emissions, rows: Tensor, expected: Tensor) -> Tensor:
    """``log Tr(A_1 … A_n)`` of every row, in double precision.

    Args:
        rows: Values of shape ``(B, n)``, NaN = summed out.
        expected: The weights of the rows, up to a factor, in the sum that will be differentiated, shape ``(B,)``.

    Returns:
        Shape ``(B,)``.
    """
    if torch.compiler.is_compiling():
        return operators.log_sum(chain, emissions.log_prob(rows))
    tensors = _tensors(chain, emissions)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (rows, *tensors)):
        result: Tensor = _LogSums.apply(chain, emissions, expected, rows, *tensors)
        return result
    size = chain.rows_per_block(len(rows), keep=False)
    return torch.cat([chain.log_sum(emissions.log_prob(block)) for block in rows.split(size)])


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
        # The multiple of the expected weights that is nearest, zero if there are no rows.
        factor = (grad @ ctx.expected) / (ctx.expected @ ctx.expected).clamp_min(torch.finfo(grad.dtype).tiny)
        if not torch.allclose(grad, factor * ctx.expected, rtol=1e-9, atol=0.0):
            _, gradients = _with_gradients(ctx.chain, ctx.emissions, inputs, ctx.needed, grad)
        elif bool(factor != 1.0):
            gradients = [None if gradient is None else gradient * factor.to(gradient.dtype) for gradient in gradients]
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
        with torch.enable_grad(), torch.autocast(rows.device.type, enabled=False):
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
