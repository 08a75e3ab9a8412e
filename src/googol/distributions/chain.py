"""Products of long chains of non-negative matrices, with log-scales kept beside the matrices.

With :mod:`googol.distributions.products`, this is the only place that multiplies chains. A chain has ``n``
links; link ``j`` holds ``N`` matrices ``Q_j[k]`` of shape ``(m, m)``, and a row of a batch turns it into one matrix

    A_j = sum_k exp(log_weight_jk) Q_j[k]

The product ``A_1 A_2 … A_n`` is what densities, marginals, conditionals and samples are made of.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from googol.distributions import blocks
from googol.distributions.blocks import Boundary
from googol.distributions.products import log_of_sums

_P = ParamSpec("_P")
_R = TypeVar("_R")


def full_precision(function: Callable[Concatenate[Any, _P], _R]) -> Callable[Concatenate[Any, _P], _R]:
    """Keeps autocast away from a function of a chain: products of many matrices need every digit there is."""

    @functools.wraps(function)
    def wrapped(chain: Any, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with torch.autocast(chain.cores.device.type, enabled=False):
            return function(chain, *args, **kwargs)

    return wrapped


class Scaled(NamedTuple):
    """A batch of matrices stored as ``matrix * exp(log_scale)``; a log-scale of ``-inf`` says precision was lost."""

    matrix: Tensor  # (B, rows, m)
    log_scale: Tensor  # (B,), double precision, a constant for autograd
    bound: Tensor  # (B,), of what was discarded of the matrix, see products.py; a constant as well


class Chain:
    """A chain of ``n`` links with ``N`` non-negative ``(m, m)`` matrices each, closed as a ring or a train.

    A ring is closed by the trace, ``Tr(A_1 … A_n)``; a train by vectors of ones, ``1ᵀ A_1 … A_n 1``.

    Args:
        log_cores: The logarithms of the matrices, shape ``(n, N, m, m)``; ``-inf`` is a zero.
        boundary: ``"ring"`` or ``"train"``.
    """

    def __init__(self, log_cores: Tensor, boundary: Boundary) -> None:
        # The scale of each matrix moves to the weights, so that a component with a tiny matrix
        # cannot hide the others. It cancels in every result, so it needs no gradient.
        lowest = torch.finfo(log_cores.dtype).min
        self.log_scale = log_cores.detach().amax((-2, -1)).clamp_min(lowest)  # (n, N)
        self.cores = (log_cores - self.log_scale[..., None, None]).exp_()  # (n, N, m, m), at most 1
        self.boundary = boundary
        self._log_cores: Tensor | None = log_cores

    @classmethod
    def from_scaled(cls, cores: Tensor, log_scale: Tensor, boundary: Boundary) -> Chain:
        """The chain of the matrices ``cores * exp(log_scale)``."""
        peak = cores.detach().amax((-2, -1))
        safe = torch.where(peak > 0, peak, 1.0)
        log_scale = (log_scale + peak.log()).clamp_min(torch.finfo(cores.dtype).min)
        return cls.of_tensors(cores / safe[..., None, None], log_scale, None, boundary)

    @classmethod
    def of_tensors(cls, cores: Tensor, log_scale: Tensor, log_cores: Tensor | None, boundary: Boundary) -> Chain:
        """The chain that holds these :attr:`tensors`."""
        chain = cls.__new__(cls)
        chain.cores, chain.log_scale, chain._log_cores, chain.boundary = cores, log_scale, log_cores, boundary
        return chain

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The scaled matrices, the logarithms of their scales, and those of the matrices where they were given."""
        return self.cores, self.log_scale, self._log_cores

    def __len__(self) -> int:
        return self.cores.shape[0]

    @property
    def rank(self) -> int:
        return self.cores.shape[-1]

    @property
    def log_cores(self) -> Tensor:
        """The logarithms of the matrices, of entries too small for :attr:`cores` too, in double precision."""
        if self._log_cores is not None:
            return self._log_cores.double()
        zero = self.cores == 0
        log_cores = self.cores.double().masked_fill(zero, 1.0).log().masked_fill(zero, -math.inf)
        return log_cores + self.log_scale.double()[..., None, None]

    def map(self, change: Callable[[Tensor], Tensor]) -> Chain:
        """The chain of changed tensors."""
        chain = copy.copy(self)
        chain.cores, chain.log_scale = change(self.cores), change(self.log_scale)
        chain._log_cores = None if self._log_cores is None else change(self._log_cores)
        return chain

    def detach(self) -> Chain:
        """The chain without its history, in tensors of its own: those of inference mode would refuse gradients."""
        return self.map(lambda tensor: tensor.detach().clone())

    @full_precision
    def product(self, log_weights: Tensor, *, boundary: Boundary | None = None) -> Scaled:
        """The product over all links for every row: ``A_1 … A_n`` for a ring, ``1ᵀ A_1 … A_n`` for a train.

        Args:
            log_weights: Shape ``(n, B, N)``.
            boundary: Form the product as for this boundary instead of the chain's own.
        """
        closing = self.boundary if boundary is None else boundary
        keep = torch.is_grad_enabled() and (log_weights.requires_grad or self.cores.requires_grad)
        size = blocks.rows_per_block(self.cores, closing, log_weights.shape[1], keep)
        parts = [
            Scaled(*blocks.product(block, self.log_scale, self.cores, closing, keep))
            for block in log_weights.split(size, dim=1)
        ]
        if len(parts) == 1:
            return parts[0]
        return Scaled(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

    def rows_per_block(self, batch: int, keep: bool) -> int:
        """How many rows of a batch are best worked on at a time, with or without what a gradient needs."""
        return blocks.rows_per_block(self.cores, self.boundary, batch, keep)

    def close(self, product: Tensor) -> Tensor:
        """The number that a product stands for: the trace, or the sum over the last bond."""
        if self.boundary == "ring":
            return product.diagonal(dim1=-2, dim2=-1).sum(-1)
        return product.sum((-2, -1))

    @full_precision
    def log_sum(self, log_weights: Tensor, expected: Tensor | None = None) -> Tensor:
        """``log Tr(A_1 … A_n)``, or ``log 1ᵀ A_1 … A_n 1``, of every row, in double precision.

        Rows of whose product too much may have been discarded are computed again in the logarithmic domain.

        Args:
            log_weights: Shape ``(n, B, N)``.
            expected: The weights of the rows in the sum that will be differentiated, shape ``(B,)``, if they are known.

        Returns:
            Shape ``(B,)``.
        """
        result = blocks.log_sum(log_weights, self.log_scale, self.cores, self.boundary, expected)
        if result is not None:
            lost = result.detach() == -math.inf
        else:
            product = self.product(log_weights)
            result, lost = log_of_sums(self.close(product.matrix), product.log_scale, product.bound)
        if not bool(lost.any()):
            return result
        return result.index_put((lost.nonzero().squeeze(-1),), self._log_domain(log_weights[:, lost]))

    def log_sum_of_normals(self, values: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor | None:
        """:meth:`log_sum` with the log-densities of values ``(B, n)``, without a gradient: ``-inf`` where precision was
        lost; None where no kernel has it at once, or where a value is far from a component.
        """
        return blocks.log_sum_of_normals(values, loc, log_scale, self.log_scale, self.cores, self.boundary)

    @full_precision
    def posterior(self, log_weights: Tensor) -> Tensor:
        """p(k given row) of every link, ``(n, B, N)``: the gradient of :meth:`log_sum` by the log-weights."""
        with torch.inference_mode(False), torch.enable_grad():
            chain, posterior = self.detach(), []
            for block in log_weights.split(self.rows_per_block(log_weights.shape[1], True), dim=1):
                block = block.detach().clone().requires_grad_()
                ones = block.new_ones(block.shape[1], dtype=torch.float64)
                posterior += torch.autograd.grad(chain.log_sum(block, ones), block, ones)
        return torch.cat(posterior, 1).to(self.cores.dtype)

    @full_precision
    def bond_posterior(self, log_weights: Tensor, link: int) -> Tensor:
        """p(bond value given row) of the bond after a link, ``(B, m)``; that after the last of a train is not one."""
        first, second = list(range(link + 1)), list(range(link + 1, len(self)))
        left = self.select(first).product(log_weights[first]).matrix
        if self.boundary == "ring":
            right = self.select(second).product(log_weights[second]).matrix if second else torch.eye(self.rank).to(left)
            joint = (left.mT * right).sum(-1)
        else:
            # Vectors from the right are vectors from the left of the chain in reverse.
            back = self.select(second[::-1])
            back = back.map(lambda tensor: tensor.mT if tensor.dim() == 4 else tensor)
            joint = (left * back.product(log_weights[second[::-1]]).matrix).squeeze(1)
        return joint / joint.sum(-1, keepdim=True)

    @full_precision
    def weights(self, log_weights: Tensor) -> Tensor:
        """The weights of the matrices :attr:`cores`, scaled to a largest of one in every row: ``(n, B, N)``."""
        x = log_weights + self.log_scale.unsqueeze(1).to(log_weights.dtype)
        peak = x.detach().amax(-1, keepdim=True).clamp_min(torch.finfo(self.cores.dtype).min)
        return (x - peak).exp().to(self.cores.dtype)

    @full_precision
    def links(self, log_weights: Tensor) -> Tensor:
        """The matrices A_j themselves, scaled to a largest entry of about one: ``(n, B, m, m)``."""
        return (self.weights(log_weights) @ self.cores.flatten(-2)).unflatten(-1, (self.rank, self.rank))

    def select(self, links: list[int], components: int | None = None) -> Chain:
        """The chain of some links alone, in the given order, each with its first ``components`` matrices."""
        return self.map(lambda tensor: tensor[links, :components])

    def weighted(self, log_weights: Tensor) -> Chain:
        """The chain with its matrices multiplied by ``exp(log_weights)``, ``(n, N)``."""
        return Chain(self.log_cores.to(self.cores.dtype) + log_weights[..., None, None], self.boundary)

    def unbind(self) -> list[Chain]:
        """Chains of one link each, whose gradients are stacked once: indexing would fill a chain of zeros a link."""
        cores, log_scales = self.cores.unbind(0), self.log_scale.unbind(0)
        log_cores = [None] * len(self) if self._log_cores is None else self._log_cores.unbind(0)
        chains = []
        for core, log_scale, log_core in zip(cores, log_scales, log_cores, strict=True):
            chain = copy.copy(self)
            chain.cores, chain.log_scale = core.unsqueeze(0), log_scale.unsqueeze(0)
            chain._log_cores = None if log_core is None else log_core.unsqueeze(0)
            chains.append(chain)
        return chains

    @full_precision
    def absorb(self, kept: list[int]) -> Chain:
        """The chain over the kept links, with the others summed out and multiplied into their neighbours.

        The product of the new chain equals that of the old one with weights of one on all that is left out.

        Args:
            kept: Increasing positions, at least one.
        """
        gap_starts = [0, *(j + 1 for j in kept)]
        gap_ends = [*kept, len(self)]
        gaps = [self._gap(a, b) for a, b in zip(gap_starts, gap_ends, strict=True)]
        cores, log_scale = self.cores[kept], self.log_scale[kept].double()
        if gaps[0] is not None:
            cores = torch.cat([gaps[0].matrix[0] @ cores[:1], cores[1:]])
            log_scale = torch.cat([log_scale[:1] + gaps[0].log_scale, log_scale[1:]])
        if any(gap is not None for gap in gaps[1:]):
            eye = torch.eye(self.rank, dtype=cores.dtype, device=cores.device)
            right = torch.stack([eye if gap is None else gap.matrix[0] for gap in gaps[1:]])
            cores = cores @ right.unsqueeze(1)
            zero = log_scale.new_zeros(1)
            log_scale = log_scale + torch.stack([zero if gap is None else gap.log_scale for gap in gaps[1:]])
        return Chain.from_scaled(cores, log_scale.to(cores.dtype), self.boundary)

    def _gap(self, start: int, end: int) -> Scaled | None:
        if start == end:
            return None
        # In double precision: it costs little, once a chain, and what is lost here would be lost for every row.
        gap = self.select(list(range(start, end)))
        links = gap.links(gap.log_scale.new_zeros(end - start, 1, 1))  # (links, 1, m, m)
        part = Chain.from_scaled(links.double(), gap.log_scale.double().amax(-1, keepdim=True), "ring")
        product = part.product(part.cores.new_zeros(end - start, 1, 1))
        return product._replace(matrix=product.matrix.to(self.cores.dtype))

    def _log_domain(self, log_weights: Tensor) -> Tensor:
        """The sum computed with logarithms of all entries: slow, and right wherever products underflow."""
        log_cores = self.log_cores
        result = []
        for row in log_weights.double().unbind(1):  # (n, N): one row at a time bounds the memory
            links = (_logsumexp(core + w[:, None, None], 0) for core, w in zip(log_cores, row, strict=True))
            total = next(links) if self.boundary == "ring" else _logsumexp(next(links), 0).unsqueeze(0)
            for link in links:
                total = _logsumexp(total.unsqueeze(-1) + link.unsqueeze(0), -2)
            closed = total.diagonal() if self.boundary == "ring" else total.flatten()
            result.append(_logsumexp(closed, 0))
        return torch.stack(result)


def _logsumexp(x: Tensor, dim: int) -> Tensor:
    """``logsumexp`` whose gradient at a slice of ``-inf`` alone is zero instead of NaN."""
    peak = x.detach().amax(dim, keepdim=True)
    peak = torch.where(peak.isfinite(), peak, 0.0)
    total = (x - peak).exp().sum(dim)
    empty = total == 0
    log_total = torch.where(empty, 1.0, total).log() + peak.squeeze(dim)
    return log_total.masked_fill(empty, -math.inf)


def product_tree(links: Tensor) -> list[Tensor]:
    """Products of 1, 2, 4 … neighbouring links ``(n, m, m)``, up to that of all, with a largest entry of one.

    In double precision, and filled up with identities to a power of two: ``(2**k, m, m)``, …, ``(2, m, m)``,
    ``(1, m, m)``.
    """
    n, m, _ = links.shape
    filling = torch.eye(m, dtype=torch.float64, device=links.device).expand(2 ** (n - 1).bit_length() - n, -1, -1)
    levels = [torch.cat([links.double(), filling])]
    while len(levels[-1]) > 1:
        levels.append(rescaled(levels[-1][::2] @ levels[-1][1::2]))
    return levels


def rescaled(product: Tensor) -> Tensor:
    """Matrices with a largest entry of one; the scale is a constant for the gradient."""
    return product / product.detach().amax((-2, -1), keepdim=True).clamp_min(torch.finfo(product.dtype).tiny)
