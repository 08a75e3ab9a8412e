r"""Gradients of samples of a chain: how drawn values move with the parameters.

A value :math:`z_j` solves :math:`F_j(z_j \mid z_{<j}) = u_j`, where F is the distribution function of a mixture of the
components of variable j, with weights that follow from the values before it. Let v be the gradient of a loss by z. Then
with :math:`p_j = \partial F_j / \partial z_j`

.. math::
    \frac{\partial}{\partial \psi} = \sum_j c_j \frac{\partial F_j}{\partial \psi}, \qquad
    c_j = - \frac{1}{p_j} \Big(v_j + \sum_{i > j} c_i \frac{\partial F_i}{\partial z_j}\Big)

(Figurnov et al., Implicit Reparameterization Gradients, 2018). Given the values, all that the chain multiplies is
known: the links, the distribution functions and their derivatives are formed for all variables at once, and one matrix
a variable is passed along the chain, forwards the product of the links and backwards the loss's gradient by it: in
double precision where matrices have entries so small that one which counts could vanish.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from googol.distributions.chain import Chain, full_precision
from googol.distributions.emissions import Emissions
from googol.distributions.once import once_differentiable

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
        after = after.unsqueeze(1).expand(-1, len(drawn), -1, -1, -1).flatten(1, 2)
        values = torch.where(is_open, drawn, evidence[at].detach()).flatten(0, 1)  # (B, n)
        fixed = evidence[at].isnan().logical_not().expand(len(drawn), -1, -1).flatten(0, 1)
        seen = torch.where(fixed, evidence[at].expand(len(drawn), -1, -1).flatten(0, 1), values)
        log_p = emissions.log_prob(seen)  # (n, B, N)
        weights = chain.weights(log_p)
        links = (weights @ cores.flatten(-2)).unflatten(-1, cores.shape[-2:])
        with torch.no_grad():
            before, scales = _products(chain, links)
        around = (before.mT @ after.mT).flatten(-2)  # (n, B, m²)
        scale = (chain.log_scale - chain.log_scale.amax(-1, keepdim=True)).exp().unsqueeze(1)
        unnormalized = (around @ cores.flatten(-2).mT) * scale  # (n, B, N)
        sums = unnormalized.sum(-1, keepdim=True).clamp_min(torch.finfo(cores.dtype).tiny)
        shares = unnormalized / sums
        below = emissions.cdf(values).to(cores.dtype)
        cdf = (shares * below).sum(-1)  # (n, B)
        with torch.no_grad():
            pulls = emissions.slope(values).to(cores.dtype)
            density = (shares * log_p.exp().to(cores.dtype)).sum(-1).clamp_min(torch.finfo(cores.dtype).tiny)
            # The derivative of each distribution function by the product before it.
            spread = (below - cdf.unsqueeze(-1)) * scale / sums
            by_before = ((spread @ cores.flatten(-2)).unflatten(-1, cores.shape[-2:]) @ after).mT
            # The derivative of the product after each link by its value.
            tilted = ((weights * pulls) @ cores.flatten(-2)).unflatten(-1, cores.shape[-2:])
            moved = before @ tilted / scales
            wanted = gradient.flatten(0, 1).mT.to(cores.dtype)
            opened = is_open.expand(len(drawn), -1, -1).flatten(0, 1).mT
            factor, passed = _back(wanted, opened, density, by_before, moved, links, scales)
            through_links = before.mT @ passed
        found = torch.autograd.grad((cdf, links), leaves, (factor, through_links), allow_unused=True)
        return [None if each is None else each.contiguous() for each in found]


def _products(chain: Chain, links: Tensor) -> tuple[Tensor, Tensor]:
    """The product of the links before each, ``(n, B, r, m)``, at most one, and what each step was divided by."""
    product = chain.start(links.shape[1])
    products, scales = [], []
    for link in links.unbind(0):
        products.append(product)
        product = product @ link
        scales.append(product.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(product.dtype).tiny))
        product = product / scales[-1]
    return torch.stack(products), torch.stack(scales)


def _back(
    gradient: Tensor, is_open: Tensor, density: Tensor, by_before: Tensor, moved: Tensor, links: Tensor, scales: Tensor
) -> tuple[Tensor, Tensor]:
    """The factors c of the derivatives of the distribution functions, ``(n, B)``, and the gradient by the product with
    each link before it is scaled, ``(n, B, r, m)``.
    """
    passed = torch.zeros_like(by_before[0])
    factors, gradients = [], []
    each = zip(gradient, is_open / -density, by_before, moved, links, scales, strict=True)
    for by_value, slope, by_product, shift, link, scale in reversed(list(each)):
        gradients.append(passed / scale)
        factors.append((by_value + (passed * shift).sum((-2, -1))) * slope)
        passed = torch.baddbmm(factors[-1][:, None, None] * by_product, gradients[-1], link.mT)
    return torch.stack(factors[::-1]), torch.stack(gradients[::-1])
