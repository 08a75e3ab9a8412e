r"""How the distribution functions of a chain's variables, each given those before it, move with all they depend on.

With the product :math:`L` of the links before a variable and that of those after it, :math:`R`, its component k has the
share :math:`w_k = \operatorname{Tr}(L\, Q_k R) / \sum_i \operatorname{Tr}(L\, Q_i R)`, and its distribution function is
:math:`F = \sum_k w_k F_k`. One matrix a variable is passed along the chain: forwards the product of the links, and
backwards the loss's gradient by it. This is the chain's part of :mod:`googol.distributions.implicit`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from googol.distributions import kernels


class Conditionals(NamedTuple):
    """What the distribution functions of ``n`` variables with ``N`` components follow from, for ``B`` samples.

    The samples are of ``R`` rows of evidence, those of the first sample first. ``r`` is m for a ring, one for a train.
    """

    cores: Tensor  # (n, N, m, m)
    scale: Tensor  # of the cores, where their indices are open, (n, N)
    weights: Tensor  # of the cores in the links, given the values, (n, B, N)
    cdf: Tensor  # of every component at the values, (n, B, N)
    density: Tensor  # of every component at the values, (n, B, N)
    slope: Tensor  # the derivatives of the logarithms of the densities, (n, B, N)
    after: Tensor  # the products of the links after each variable, (n, R, m, r)
    is_open: Tensor  # whether a value was drawn, (n, B)

    def gradients(self, by_value: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gradients of a loss by the cores, the weights, the cdf and the products after.

        Args:
            by_value: The gradient of the loss by the drawn values alone, ``(n, B)``.
        """
        if kernels.available(self.cores):
            return self._compiled(by_value)
        n, samples, _ = self.weights.shape
        m, least = self.cores.shape[-1], torch.finfo(self.cores.dtype).tiny
        flat = self.cores.flatten(-2)
        after = self.after.repeat(1, samples // self.after.shape[1], 1, 1)
        links = (self.weights @ flat).unflatten(-1, (m, m))
        before, scales = self._before(links)
        around = (before.mT @ after.mT).flatten(-2)  # (n, B, m²)
        unnormalized = (around @ flat.mT) * self.scale.unsqueeze(1)
        sums = unnormalized.sum(-1, keepdim=True).clamp_min(least)
        shares = unnormalized / sums
        # The derivative of each distribution function by the core of a component, and by the product before it.
        spread = (self.cdf - (shares * self.cdf).sum(-1, keepdim=True)) * self.scale.unsqueeze(1) / sums
        tilted = (spread @ flat).unflatten(-1, (m, m))
        by_before = (tilted @ after).mT
        inverse = self.is_open / -(shares * self.density).sum(-1).clamp_min(least)
        pull = self.weights * self.slope
        passed = torch.zeros_like(before[0])
        factors, through_links, by_weights = [], [], []
        for j in reversed(range(n)):
            passed = passed / scales[j]
            through_links.append((before[j].mT @ passed).flatten(-2))
            by_weights.append(through_links[-1] @ flat[j].mT)
            factors.append((by_value[j] + (by_weights[-1] * pull[j]).sum(-1)) * inverse[j])
            passed = torch.baddbmm(factors[-1][:, None, None] * by_before[j], passed, links[j].mT)
        factor = torch.stack(factors[::-1]).unsqueeze(-1)  # (n, B, 1)
        by_cores = self.weights.mT @ torch.stack(through_links[::-1]) + (factor * spread).mT @ around
        by_after = (before @ tilted).mT * factor.unsqueeze(-1)
        by_after = by_after.unflatten(1, (-1, self.after.shape[1])).sum(1)
        return by_cores.view_as(self.cores), torch.stack(by_weights[::-1]), shares * factor, by_after

    def _compiled(self, by_value: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        (n, samples, components), (_, rows, m, lines) = self.weights.shape, self.after.shape
        groups = -(-samples // kernels.lanes(self.cores))
        shares = kernels.shares(groups)
        by_cores, by_weights = self.cores.new_empty(shares, *self.cores.shape), torch.empty_like(self.weights)
        by_cdf = torch.empty_like(self.cdf)
        by_after = self.after.new_empty(n, groups if rows == 1 else samples, m, lines)
        given = (tensor.contiguous() for tensor in (*self, by_value))
        found = by_cores[0], by_cores[1:], by_weights, by_cdf, by_after
        kernels.call("conditionals", self.cores, (n, samples, rows, components, m, lines, shares), (*given, *found))
        return by_cores.sum(0), by_weights, by_cdf, by_after.unflatten(1, (-1, rows)).sum(1)

    def _before(self, links: Tensor) -> tuple[Tensor, Tensor]:
        """The product of the links before each, ``(n, B, r, m)``, at most one, and what each step was divided by."""
        m, lines = self.after.shape[-2:]
        start = torch.eye(m) if lines == m else torch.ones(1, m)
        product = start.to(links).expand(links.shape[1], -1, -1)
        products, scales = [], []
        for link in links.unbind(0):
            products.append(product)
            product = product @ link
            scales.append(product.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(product.dtype).tiny))
            product = product / scales[-1]
        return torch.stack(products), torch.stack(scales)
