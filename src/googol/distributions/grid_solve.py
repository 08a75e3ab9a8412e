"""Triangular systems whose unknowns lie on a grid, each tied to its right neighbour and to the one below."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


def grid_solve(diagonal: Tensor, right: Tensor, below: Tensor, rhs: Tensor) -> Tensor:
    r"""Solve :math:`a_{rc} u_{rc} + b_{rc} u_{r,c+1} + w_{rc} u_{r+1,c} = y_{rc}` for u, in linear time and memory.

    The unknowns on one anti-diagonal of the grid do not depend on each other and are found at once, so a grid takes
    rows + columns − 1 steps; a chain, one column, is cut into blocks and takes about two times the square root of its
    length. The gradient is a solve with the transpose: nothing is kept for it but the solution and the coefficients.

    Args:
        diagonal: The coefficients a, none of them zero, shape ``(…, rows, columns)``.
        right: The coefficients b, shape ``(…, rows, columns - 1)``.
        below: The coefficients w, shape ``(…, rows - 1, columns)``.
        rhs: The right-hand side y, shape ``(…, rows, columns)``; leading dimensions broadcast.

    Example:
        >>> import torch
        >>> grid_solve(torch.ones(3, 1), torch.zeros(3, 0), torch.full((2, 1), -2.0), torch.ones(3, 1)).squeeze(-1)
        tensor([7., 3., 1.])
    """
    tensors = (diagonal, pad(right, (0, 1)), pad(below, (0, 0, 0, 1)), rhs)
    dims = max(t.dim() for t in tensors)
    return _GridSolve.apply(*(t[(None,) * (dims - t.dim())] for t in tensors))


class _GridSolve(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(diagonal: Tensor, right: Tensor, below: Tensor, rhs: Tensor) -> Tensor:
        return _solve(-right / diagonal, -below / diagonal, rhs / diagonal)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        *coefficients, rhs = inputs
        ctx.save_for_backward(*coefficients, output)
        ctx.rhs_shape = rhs.shape

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        diagonal, right, below, u = ctx.saved_tensors
        # The transpose ties an unknown to its left neighbour and to the one above: the same system, turned by 180°.
        transpose = (diagonal, right.roll(1, -1), below.roll(1, -2), gradient)
        v = _GridSolve.apply(*(t.flip(-1, -2) for t in transpose)).flip(-1, -2)
        return (
            (-v * u).sum_to_size(diagonal.shape),
            (-v * u.roll(-1, -1)).sum_to_size(right.shape),
            (-v * u.roll(-1, -2)).sum_to_size(below.shape),
            v.sum_to_size(ctx.rhs_shape),
        )


def _solve(right: Tensor, below: Tensor, rhs: Tensor) -> Tensor:
    """u[r, c] = rhs[r, c] + right[r, c] u[r, c + 1] + below[r, c] u[r + 1, c]."""
    rows, columns = right.shape[-2:]
    if columns == 1:
        return _solve_chain(below.squeeze(-1), rhs.squeeze(-1)).unsqueeze(-1)
    u = _steps(*(_skewed(t) for t in (rhs, below, right))).movedim(0, -1)
    return pad(u.flatten(-2), (0, columns)).unflatten(-1, (columns, -1))[..., :rows].mT


def _skewed(t: Tensor) -> Tensor:
    """The anti-diagonals of a grid: ``(…, rows, columns)`` to ``(rows + columns - 1, …, columns)``."""
    rows, columns = t.shape[-2:]
    # Zeros after each column, as many as there are columns; read again with one fewer, each column starts a step later.
    flat = pad(t.mT, (0, columns)).flatten(-2)[..., : columns * (rows + columns - 1)]
    return flat.unflatten(-1, (columns, -1)).movedim(-1, 0).contiguous()


def _solve_chain(factor: Tensor, rhs: Tensor) -> Tensor:
    """u[i] = rhs[i] + factor[i] u[i + 1] along the last dimension, in blocks solved side by side and then joined."""
    length = rhs.shape[-1]
    block = math.ceil(math.sqrt(length))
    count = math.ceil(length / block)
    factor, rhs = (
        pad(t, (0, block * count - length)).unflatten(-1, (count, block)).movedim(-1, 0).contiguous()
        for t in (factor, rhs)
    )
    # Each block as if the next one began with zero, and what a one there would add.
    alone = _steps(rhs, factor)
    added = factor.flip(0).cumprod(0).flip(0)
    first = _steps(alone[0].movedim(-1, 0), added[0].movedim(-1, 0)).movedim(0, -1)
    joined = torch.addcmul(alone, added, pad(first[..., 1:], (0, 1)))
    return joined.movedim(0, -1).flatten(-2)[..., :length]


def _steps(rhs: Tensor, factor: Tensor, across: Tensor | None = None) -> Tensor:
    """u[k, …, i] = rhs[k, …, i] + factor[k, …, i] u[k+1, …, i] + across[k, …, i] u[k+1, …, i+1], from the last k on."""
    u = rhs.clone()
    steps, factors = u.unbind(), factor.unbind()
    for k in range(len(steps) - 2, -1, -1):
        steps[k].addcmul_(factors[k], steps[k + 1])
        if across is not None:
            steps[k][..., :-1].addcmul_(across[k, ..., :-1], steps[k + 1][..., 1:])
    return u
