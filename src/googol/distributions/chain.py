"""Products of long chains of non-negative matrices, with log-scales kept beside the matrices.

With :mod:`googol.distributions.products`, this is the only place that multiplies chains. A chain has ``n``
links; link ``j`` holds ``N`` matrices ``Q_j[k]`` of shape ``(m, m)``, and a row of a batch turns it into one matrix

    A_j = sum_k exp(log_weight_jk) Q_j[k]

The product ``A_1 A_2 … A_n`` is what densities, marginals, conditionals and samples are made of.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from googol.distributions import blocks
from googol.distributions.blocks import Boundary
from googol.distributions.indexing import index_of
from googol.distributions.logarithms import log_matmul, log_sum_exp
from googol.distributions.precision import full_precision
from googol.distributions.products import log_of_sums

# Entries above it, of matrices with a largest one, keep products of two matrices within single precision.
_MILD = math.exp(-40)
_LOG_ENTRIES = 2**22  # of the links of rows whose logarithms are kept at a time
_SMALL_LINK = 2**11  # numbers in a link of all rows, up to which the steps cost more than the operations in them


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
        first, second = self.select(list(range(link + 1))), self.select(list(range(link + 1, len(self)))).reversed()
        before, after = log_weights[: link + 1], log_weights[link + 1 :].flip(0)
        left = first.product(before)
        if len(second):
            right = second.product(after)
        else:
            right = Scaled(torch.eye(self.rank).to(left.matrix), *(torch.zeros_like(t) for t in left[1:]))
        joint = (left.matrix * right.matrix).sum(-2)
        _, lost = log_of_sums(joint.sum(-1), left.log_scale + right.log_scale, left.bound + right.bound)
        posterior = joint / joint.sum(-1, keepdim=True)
        if bool(lost.any()):
            log_joint = first.log_product(before[:, lost]) + second.log_product(after[:, lost])
            posterior[lost] = log_sum_exp(log_joint, -2).softmax(-1).to(posterior.dtype)
        return posterior

    @full_precision
    def weights(self, log_weights: Tensor) -> Tensor:
        """The weights of the matrices :attr:`cores`, scaled to a largest of one in every row: ``(n, B, N)``."""
        dtype = torch.promote_types(log_weights.dtype, self.cores.dtype)
        x = log_weights.to(dtype) + self.log_scale.unsqueeze(1).to(dtype)
        peak = x.detach().amax(-1, keepdim=True).clamp_min(torch.finfo(self.cores.dtype).min)
        return (x - peak).exp().to(self.cores.dtype)

    @full_precision
    def links(self, log_weights: Tensor) -> Tensor:
        """The matrices A_j themselves, scaled to a largest entry of about one: ``(n, B, m, m)``."""
        return (self.weights(log_weights) @ self.cores.flatten(-2)).unflatten(-1, (self.rank, self.rank))

    @full_precision
    def log_links(self, log_weights: Tensor) -> Tensor:
        """The logarithms of the matrices A_j, in double precision: ``(n, B, m, m)``."""
        return log_matmul(log_weights, self.log_cores.flatten(-2)).unflatten(-1, (self.rank, self.rank))

    def log_product(self, log_weights: Tensor) -> Tensor:
        """The logarithms of ``A_1 … A_n``, ``(B, m, m)``, or of ``1ᵀ A_1 … A_n``, ``(B, 1, m)``; no links are one."""
        product = self.start(log_weights.shape[1], logarithms=True)
        for link in self.log_links(log_weights).unbind(0):
            product = log_matmul(product, link)
        return product

    def start(self, rows: int, *, logarithms: bool = False) -> Tensor:
        """What products start from: identities ``(B, m, m)`` for a ring, ones ``(B, 1, m)`` for a train."""
        dtype = torch.float64 if logarithms else self.cores.dtype
        like = torch.empty((), dtype=dtype, device=self.cores.device)
        start = torch.eye(self.rank).to(like) if self.boundary == "ring" else like.new_ones(1, self.rank)
        return (start.log() if logarithms else start).expand(rows, -1, -1)

    def following(self, links: Tensor, *, logarithms: bool = False) -> list[Tensor]:
        """What follows each of the links ``(n, B, m, m)``: a matrix for a ring, a vector for a train.

        Their shapes are ``(B, m, m)`` and ``(B, m, 1)``, and the largest entry is one; or, of links that are given by
        logarithms, those.
        """
        found = [self.start(links.shape[1], logarithms=logarithms).mT]
        if not logarithms and links[0].numel() <= _SMALL_LINK and self.is_mild:
            products = suffix_products(links[1:]) @ found[0]
            return [*rescaled(products).unbind(0), *found]
        for link in reversed(links.unbind(0)[1:]):
            found.append(times(link, found[-1], logarithms=logarithms))
        return found[::-1]

    def reversed(self) -> Chain:
        """The chain of the transposed matrices in reverse, whose product is the transpose of this one's."""
        return self.map(lambda tensor: tensor.flip(0).mT.contiguous() if tensor.dim() == 4 else tensor.flip(0))

    @property
    def is_mild(self) -> bool:
        """Whether no matrix has entries so far below its largest that something could be lost in single precision.

        Where all entries are within a factor, so are those of every product of the matrices and of their mixtures.
        """
        entries = self.cores.detach().flatten(-2)
        # A component that a variable lacks has zeros alone.
        return bool(((entries.amin(-1) > _MILD) | (entries.amax(-1) <= _MILD)).all())

    def select(self, links: list[int], components: int | None = None) -> Chain:
        """The chain of some links alone, in the given order, each with its first ``components`` matrices."""
        index = index_of(links)
        return self.map(lambda tensor: tensor[index, :components])

    @property
    def possible(self) -> Tensor:
        """Which values of each index have any weight, ``(n, N)``."""
        return self.cores.detach().amax((-2, -1)) > 0

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
        log_cores = list(self.log_cores[kept].unbind(0))
        before = self._gap(0, kept[0])
        if before is not None:
            log_cores[0] = log_matmul(before, log_cores[0])
        for place, (start, end) in enumerate(itertools.pairwise([*kept, len(self)])):
            after = self._gap(start + 1, end)
            if after is not None:
                log_cores[place] = log_matmul(log_cores[place], after)
        return Chain(torch.stack(log_cores).to(self.cores.dtype), self.boundary)

    def _gap(self, start: int, end: int) -> Tensor | None:
        """The logarithm of the product of some links whose weights are one."""
        if start == end:
            return None
        gap = self.select(list(range(start, end)))
        links = gap.log_links(gap.log_scale.new_zeros(end - start, 1, gap.cores.shape[1]))
        return product_tree(links[:, 0], logarithms=True)[-1]

    def _log_domain(self, log_weights: Tensor) -> Tensor:
        """The sum computed with logarithms of all entries: slower, and right wherever products underflow."""
        size = max(1, _LOG_ENTRIES // (len(self) * self.rank**2))
        products = [self.log_product(block) for block in log_weights.split(size, 1)]
        if self.boundary == "ring":
            return torch.cat([log_sum_exp(product.diagonal(dim1=1, dim2=2), -1) for product in products])
        return torch.cat([log_sum_exp(product.flatten(1), -1) for product in products])


def product_tree(links: Tensor, *, logarithms: bool = False) -> list[Tensor]:
    """Products of 1, 2, 4 … neighbouring links ``(n, m, m)``, up to that of all, with a largest entry of one.

    In double precision, and filled up with identities to a power of two: ``(2**k, m, m)``, …, ``(2, m, m)``,
    ``(1, m, m)``. With ``logarithms`` the links are given by those, and so are the products, which keep their size.
    """
    n, m, _ = links.shape
    identity = torch.eye(m, dtype=torch.float64, device=links.device)
    filling = (identity.log() if logarithms else identity).expand(2 ** (n - 1).bit_length() - n, -1, -1)
    levels = [torch.cat([links.double(), filling])]
    while len(levels[-1]) > 1:
        levels.append(times(levels[-1][::2], levels[-1][1::2], logarithms=logarithms))
    return levels


def suffix_products(links: Tensor) -> Tensor:
    """The product of each of the links ``(n, …, m, m)`` and all after it, up to a factor.

    In a few steps for all links at once, with more operations than one link after the other takes; entries far below
    the largest may vanish on the way.
    """
    products, length = links, 1  # of so many links each, or up to the last
    while length < len(links):
        products = torch.cat([rescaled(products[:-length] @ products[length:]), products[-length:]])
        length *= 2
    return products


def times(a: Tensor, b: Tensor, *, logarithms: bool = False) -> Tensor:
    """The products of matrices with a largest entry of one, or of matrices that are given by logarithms, by those."""
    return log_matmul(a, b) if logarithms else rescaled(a @ b)


def rescaled(product: Tensor) -> Tensor:
    """Matrices with a largest entry of one; the scale is a constant for the gradient."""
    return product / product.detach().amax((-2, -1), keepdim=True).clamp_min(torch.finfo(product.dtype).tiny)
