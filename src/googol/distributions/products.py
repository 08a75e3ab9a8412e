"""The products of a chain's matrices and their gradients: the inner loops of :mod:`googol.distributions.chain`.

Both functions form ``A_t = sum_k exp(log_weight_tk) Q_t[k]`` link by link and rescale the running product on the way.
The scale is taken out of the next link's weights, which are few, in place of the product itself; it is a constant for
the gradient, which is that of ``product * exp(log_scale)``.

What is below the smallest number is discarded on the way, and may be all that counts in the end: cores of blocks keep
what is small now and drop what is large. So a bound of it goes along: a line vector that takes the place of a line of
the product and is at least as large as the sums of the columns of all that was discarded. Where the bound is no longer
small beside the product, a log-scale of ``-inf`` says that precision was lost.

The derivative by an entry that became zero can overflow. It has no weight in the end, but must not become infinite on
the way; gradients that come out as infinite or NaN are computed again with a limit on all that goes into them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from googol.distributions.once import once_differentiable

# The links that are formed by one call, and after which the running product is rescaled; and after which a vector is.
RESCALED = 4
RESCALED_VECTOR = 2
# The share of a sum that may have been discarded on the way.
_MOST_DISCARDED = 2.0**-13


def _as_it_is(gradient: Tensor) -> Tensor:
    return gradient


def is_lost(total: Tensor, bound: Tensor) -> Tensor:
    """Whether the discarded may count beside a sum; its bound is divided by the square root of the smallest number."""
    small = torch.finfo(total.dtype).tiny ** 0.5
    return (total < small) | (bound > _MOST_DISCARDED / small * total) | (bound.isnan() & ~total.isnan())


def log_of_sums(total: Tensor, log_scale: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithms of scaled sums in double precision, zero where precision was lost, and where that is."""
    lost = log_scale.isinf() | is_lost(total.detach(), bound)
    return total.masked_fill(lost, 1.0).double().log() + log_scale.masked_fill(lost, 0.0), lost


def discarded(dtype: torch.dtype, components: int, rank: int, rescaled: int) -> float:
    """What a link adds to the bound: weights and entries of cores, times the largest sum of a product, and products."""
    largest = (components * rank) ** (rescaled - 1)
    return float(torch.finfo(dtype).tiny ** 0.5 * (2 * components * largest + rank * rank))


class Scale:
    """The log-scales taken out of the running products of a batch.

    Args:
        start: Log-scales taken out before, in double precision.
    """

    def __init__(self, start: Tensor) -> None:
        self.start = start
        self.lost = torch.zeros_like(start, dtype=torch.bool)
        self.taken: list[Tensor] = []

    def take(self, product: Tensor) -> Tensor:
        """Notes the sums of the products' entries as taken out and returns them; ones where too little is left."""
        total = product.sum((-2, -1))
        low = total < torch.finfo(total.dtype).tiny ** 0.5
        self.lost |= low
        total = total.masked_fill(low, 1.0)
        self.taken.append(total)
        return total

    def total(self, bound: Tensor) -> Tensor:
        """The log-scales, ``-inf`` where the bound of what was discarded is not small beside a product of sum one."""
        log_scale = self.start + torch.stack(self.taken).double().log().sum(0)
        return log_scale.masked_fill(self.lost | is_lost(torch.ones_like(bound), bound), -math.inf)


def scaled_weights(log_weights: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights scaled so that the largest of every link is one, and the log-scale taken out, ``(…, B, 1)``."""
    shift = log_weights.amax(-1, keepdim=True).clamp_min(torch.finfo(dtype).min)
    return (log_weights - shift).exp_().to(dtype), shift.double()


def saturate(gradient: Tensor) -> Tensor:
    """Infinities become the largest numbers of which a thousand can be added."""
    largest = torch.finfo(gradient.dtype).max / 1024
    return gradient.clamp(-largest, largest)


def common_factor(grad: Tensor, expected: Tensor) -> float | None:
    """The factor by which all weights are those expected, in double precision; None if there is no such."""
    # That of the nearest multiple, zero if there are no rows.
    factor = (grad @ expected) / (expected @ expected).clamp_min(torch.finfo(grad.dtype).tiny)
    nearest = factor * expected
    is_multiple = ((grad - nearest).abs() <= 1e-9 * nearest.abs()).all()
    found, number = torch.stack([is_multiple.to(factor), factor]).tolist()  # a GPU is waited for once
    return float(number) if found else None


def finite(*gradients: Tensor) -> bool:
    # One question for all: an infinite sum is infinite or NaN with any other beside it.
    return bool(torch.stack([gradient.sum() for gradient in gradients]).sum().isfinite()) if gradients else True


class MatrixProduct(torch.autograd.Function):
    """``A_1 … A_T`` for several segments of a chain and many rows at once.

    Only the running products are kept for the gradient; the matrices ``A_t`` are formed again by one matrix product a
    link, and the ``(B, N, m, m)`` tensor of the plain formula never exists.

    Args (of ``apply``):
        log_weights: Shape ``(T, S, B, N)``.
        cores: Shape ``(T, S, N, m * m)``.
        rank: The size of the matrices without the zeros that fill them up.
        keep: Whether a gradient will be asked for.

    Returns:
        The products ``(S, B, m, m)`` with entries that sum to one, their log-scales, and bounds of what was discarded
        of them, divided by the square root of the smallest number, both ``(S, B)``.
    """

    @staticmethod
    def forward(ctx: Any, log_weights: Tensor, cores: Tensor, rank: int, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
        length, segments, batch, components = log_weights.shape
        m = math.isqrt(cores.shape[-1])
        weights, shift = scaled_weights(log_weights, cores.dtype)
        scale = Scale(shift.sum((0, 3)))
        more = discarded(cores.dtype, components, rank, RESCALED)
        added = cores.new_full((1, 1, 1), more)
        bound = cores.new_full((segments * batch, 1, m), more)
        running = cores.new_empty(length if keep else 2, segments * batch, m, m)
        links = cores.new_empty(RESCALED * segments, batch, m * m)
        product = running[0]
        for start in range(0, length, RESCALED):
            stop = min(start + RESCALED, length)
            matrices = MatrixProduct._links(weights[start:stop], cores[start:stop], links)
            for t, matrix in enumerate(matrices.view(stop - start, segments * batch, m, m).unbind(0), start):
                if t == 0:
                    product = running[0].copy_(matrix)
                else:
                    product = torch.bmm(product, matrix, out=running[t if keep else t % 2])
                    bound = torch.baddbmm(added, bound, matrix)
            if stop < length:
                weights[stop].div_(scale.take(product.view(segments, batch, m, m)).unsqueeze(-1))
        product = product.view(segments, batch, m, m)
        inverse = scale.take(product).reciprocal()[..., None, None]
        if keep:
            ctx.save_for_backward(weights, cores, running, inverse)
            ctx.log_weights_dtype = log_weights.dtype
        bound = bound[..., :rank].sum(-1).view(segments, batch) * inverse[..., 0, 0]
        log_scale = scale.total(bound)
        ctx.mark_non_differentiable(log_scale, bound)
        return product * inverse, log_scale, bound

    @staticmethod
    def _links(weights: Tensor, cores: Tensor, out: Tensor) -> Tensor:
        """The matrices ``A_t`` of some links, ``(links * S, B, m * m)``."""
        return torch.bmm(weights.flatten(0, 1), cores.flatten(0, 1), out=out[: weights.shape[0] * weights.shape[1]])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, None, None]:
        weights, cores, running, inverse = ctx.saved_tensors
        gradients = MatrixProduct._gradients(weights, cores, running, grad * inverse)
        if not finite(*gradients):
            gradients = MatrixProduct._gradients(weights, cores, running, grad * inverse, saturate)
        grad_weights, grad_cores = gradients
        return (grad_weights * weights).to(ctx.log_weights_dtype), grad_cores, None, None

    @staticmethod
    def _gradients(
        weights: Tensor, cores: Tensor, running: Tensor, grad: Tensor, limited: Callable[[Tensor], Tensor] = _as_it_is
    ) -> tuple[Tensor, Tensor]:
        length, segments, batch, components = weights.shape
        m = running.shape[-1]
        # The gradient by the weights is faster to form with the rows last.
        grad_weights = weights.new_empty(length, segments, components, batch)
        grad_cores = torch.empty_like(cores)
        links, grad_links = weights.new_empty(2, RESCALED * segments, batch, m * m).unbind(0)
        grad = limited(grad).view(-1, m, m)
        spare = torch.empty_like(grad)
        for start in reversed(range(0, length, RESCALED)):
            stop = min(start + RESCALED, length)
            matrices = MatrixProduct._links(weights[start:stop], cores[start:stop], links)
            matrices = matrices.view(stop - start, segments * batch, m, m)
            grad_matrices = grad_links.view(RESCALED, segments * batch, m, m)
            for t in reversed(range(start, stop)):
                if t == 0:
                    grad_matrices[0].copy_(grad)
                else:
                    torch.bmm(running[t - 1].mT, grad, out=grad_matrices[t - start])
                    torch.bmm(grad, matrices[t - start].mT, out=spare)
                    grad, spare = limited(spare), grad
            of_group = grad_links[: (stop - start) * segments]
            torch.bmm(cores[start:stop].flatten(0, 1), of_group.mT, out=grad_weights[start:stop].flatten(0, 1))
            torch.bmm(weights[start:stop].flatten(0, 1).mT, of_group, out=grad_cores[start:stop].flatten(0, 1))
        return grad_weights.mT, limited(grad_cores)


class VectorProduct(torch.autograd.Function):
    """``1ᵀ A_1 … A_T`` for many rows at once, with matrix products that all rows share.

    Args (of ``apply``):
        log_weights: Shape ``(T, B, N)``.
        cores: Shape ``(T, N, m, m)``.
        keep: Whether a gradient will be asked for.

    Returns:
        The vectors ``(B, m)`` with entries that sum to one, log-scales and bounds of what was discarded, ``(B,)``.
    """

    @staticmethod
    def forward(ctx: Any, log_weights: Tensor, cores: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
        length, batch, components = log_weights.shape
        weights, shift = scaled_weights(log_weights, cores.dtype)
        vector = cores.new_ones(batch, cores.shape[-1])
        bound = torch.zeros_like(vector)
        scale = Scale(shift.sum((0, 2)))
        more = discarded(cores.dtype, components, cores.shape[-1], RESCALED_VECTOR)
        vectors = []
        for t in range(length):
            if keep:
                vectors.append(vector)
            by_component = torch.cat([vector, bound]) @ cores[t]  # (N, 2 B, m)
            both = torch.einsum("bk,kcbm->cbm", weights[t], by_component.unflatten(1, (2, batch)))
            vector, bound = both[0], both[1] + more
            if (t + 1) % RESCALED_VECTOR == 0 and t + 1 < length:
                weights[t + 1].div_(scale.take(vector.unsqueeze(1)).unsqueeze(-1))
        inverse = scale.take(vector.unsqueeze(1)).reciprocal().unsqueeze(-1)
        if keep:
            ctx.save_for_backward(weights, cores, inverse, *vectors)
            ctx.log_weights_dtype = log_weights.dtype
        bound = bound.sum(-1) * inverse.squeeze(-1)
        log_scale = scale.total(bound)
        ctx.mark_non_differentiable(log_scale, bound)
        return vector * inverse, log_scale, bound

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, None]:
        weights, cores, inverse, *vectors = ctx.saved_tensors
        gradients = VectorProduct._gradients(weights, cores, vectors, grad * inverse)
        if not finite(*gradients):
            gradients = VectorProduct._gradients(weights, cores, vectors, grad * inverse, saturate)
        grad_weights, grad_cores = gradients
        return grad_weights.to(ctx.log_weights_dtype), grad_cores, None

    @staticmethod
    def _gradients(
        weights: Tensor,
        cores: Tensor,
        vectors: list[Tensor],
        grad: Tensor,
        limited: Callable[[Tensor], Tensor] = _as_it_is,
    ) -> tuple[Tensor, Tensor]:
        grad_weights, grad_cores = torch.empty_like(weights), torch.empty_like(cores)
        grad = limited(grad)
        for t in reversed(range(len(cores))):
            weighted = limited(weights[t].mT.unsqueeze(-1) * grad)  # (N, B, m)
            torch.matmul(vectors[t].mT, weighted, out=grad_cores[t])
            before = limited(weighted @ cores[t].mT)  # (N, B, m); its product with the vector is the weight's share
            grad_weights[t] = torch.einsum("kbm,bm->bk", before, vectors[t])
            grad = limited(before.sum(0))
        return grad_weights, limited(grad_cores)
