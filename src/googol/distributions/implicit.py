r"""Gradients of samples of a chain: how drawn values move with the parameters.

A value :math:`z_j` solves :math:`F_j(z_j \mid z_{<j}) = u_j`, where F is the distribution function of a mixture of the
components of variable j, with weights that follow from the values before it. Let v be the gradient of a loss by z. Then
with :math:`p_j = \partial F_j / \partial z_j`

.. math::
    \frac{\partial}{\partial \psi} = \sum_j c_j \frac{\partial F_j}{\partial \psi}, \qquad
    c_j = - \frac{1}{p_j} \Big(v_j + \sum_{i > j} c_i \frac{\partial F_i}{\partial z_j}\Big)

(Figurnov et al., Implicit Reparameterization Gradients, 2018). What the chain multiplies is in
:mod:`googol.distributions.conditionals`, in double precision where matrices have entries so small that one which counts
could vanish; here are what the distribution functions follow from, the values, evidence and parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from googol.distributions.chain import Chain
from googol.distributions.conditionals import Conditionals
from googol.distributions.emissions import Emissions
from googol.distributions.once import once_differentiable
from googol.distributions.precision import full_precision

# The most numbers in the matrices of all links of a block of samples.
_NUMBERS = 2**23


def reparameterize(chain: Chain, emissions: Emissions, rows: Tensor, drawn: Tensor, wanted: Sequence[int]) -> Tensor:
    """Attaches to drawn samples their gradients.

    Args:
        chain: The chain.
        emissions: What is seen of its indices.
        rows: Evidence of shape ``(R, n)``, NaN where open.
        drawn: Samples of shape ``(S, R, n)``.
        wanted: The variables to do this for, the discrete ones of them observed in all rows. The others are
            summed out where they are open.

    Returns:
        Shape ``(S, R, n)``; the evidence, or NaN, for what is not wanted.
    """
    is_wanted = torch.zeros(rows.shape[1], dtype=torch.bool, device=rows.device)
    is_wanted[list(wanted)] = True
    is_open = rows.isnan() & is_wanted
    dtype = chain.cores.dtype
    if not chain.is_mild:
        chain = Chain(chain.log_cores, chain.boundary)
    tensors = [chain.cores, *(value for _, parameters in emissions.groups for value in parameters.values())]
    moving: Tensor = _Implicit.apply(drawn.to(chain.cores.dtype), is_open, chain, emissions, rows, *tensors)
    return torch.where(is_open, moving.to(dtype), rows.to(dtype))


class _Implicit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, drawn: Tensor, is_open: Tensor, chain: Chain, emissions: Emissions, rows: Tensor, *tensors: Tensor
    ) -> Tensor:
        ctx.save_for_backward(drawn, is_open, rows, *tensors)
        ctx.chain, ctx.emissions = chain, emissions
        return drawn.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        drawn, is_open, rows, *tensors = ctx.saved_tensors
        chain, emissions = ctx.chain, ctx.emissions
        size = len(chain) * chain.rank**2
        some_rows = max(1, min(len(rows), _NUMBERS // size))
        some_samples = max(1, _NUMBERS // (size * some_rows))
        total: list[Tensor | None] = [None] * (1 + len(tensors))
        for at in torch.arange(len(rows), device=rows.device).split(some_rows):
            for samples, by in zip(drawn.split(some_samples), gradient.split(some_samples), strict=True):
                found = _block(chain, emissions, rows, tensors, samples[:, at], is_open[at], by[:, at], at)
                total = [new if old is None else old if new is None else old + new
                         for old, new in zip(total, found, strict=True)]  # fmt: skip
        return None, None, None, None, *total


@full_precision
def _block(
    chain: Chain,
    emissions: Emissions,
    rows: Tensor,
    tensors: list[Tensor],
    drawn: Tensor,
    is_open: Tensor,
    gradient: Tensor,
    at: Tensor,
) -> list[Tensor | None]:
    """The gradients by the evidence and by all tensors, of the rows ``at`` of the evidence."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (rows, *tensors)]
        evidence, cores, *parameters = leaves
        chain = copy.copy(chain)
        chain.cores = cores
        remaining = iter(parameters)
        emissions = emissions.map(lambda _: next(remaining))
        known = emissions.log_prob(evidence[at])  # (n, R, N)
        after = torch.stack(chain.following(chain.links(known)))  # (n, R, m, r)
        values = torch.where(is_open, drawn, evidence[at].detach()).flatten(0, 1)  # (B, n)
        fixed = evidence[at].isnan().logical_not().expand(len(drawn), -1, -1).flatten(0, 1)
        seen = torch.where(fixed, evidence[at].expand(len(drawn), -1, -1).flatten(0, 1), values)
        log_p = emissions.log_prob(seen)  # (n, B, N)
        weights = chain.weights(log_p)
        cdf = emissions.cdf(values).to(cores.dtype)
        with torch.no_grad():
            conditionals = Conditionals(
                cores=cores,
                scale=(chain.log_scale - chain.log_scale.amax(-1, keepdim=True)).exp(),
                weights=weights,
                cdf=cdf,
                density=log_p.exp().to(cores.dtype),
                slope=emissions.slope(values).to(cores.dtype),
                after=after,
                is_open=is_open.expand(len(drawn), -1, -1).flatten(0, 1).mT,
            )
            by = conditionals.gradients(gradient.flatten(0, 1).mT.to(cores.dtype))
        # What is after the only variable of a chain is a constant.
        moved = {x: gradient for x, gradient in zip((cores, weights, cdf, after), by, strict=True) if x.requires_grad}
        found = torch.autograd.grad(tuple(moved), leaves, tuple(moved.values()), allow_unused=True)
        return [None if each is None else each.contiguous() for each in found]
