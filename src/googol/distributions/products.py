"""The products of a chain's matrices and their gradients: the inner loops of :mod:`googol.distributions.chain`.

Both functions form ``A_t = sum_k exp(log_weight_tk) Q_t[k]`` link by link and rescale the running product on the way.
The scale is taken out of the next link's weights, which are few, in place of the product itself; it is a constant for
the gradient, which is that of ``product * exp(log_scale)``. A log-scale of ``-inf`` says that a product fell so far
that entries were lost on the way which may matter.

The derivative by an entry that became zero can overflow. It has no weight in the end, but must not become infinite on
the way; gradients that come out as infinite or NaN are computed again with a limit on all that goes into them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# The links that are formed by one call, and after which the running product is rescaled.
_AT_ONCE = 4


def _as_it_is(gradient: Tensor) -> Tensor:
    return gradient


class Scale:
    """The log-scales taken out of the running products of a batch.

    Args:
        start: Log-scales taken out before, in double precision.
        fall: The logarithm of how far products have fallen already, since vanished entries were last looked for.
        rank: The size of the matrices without the zeros that fill them up, if any do.
    """

    def __init__(self, start: Tensor, fall: Tensor, rank: int | None = None) -> None:
        self.start, self.fall, self.rank = start, fall, rank
        self.tiny = torch.finfo(fall.dtype).tiny
        self.lost = torch.zeros_like(start, dtype=torch.bool)
        self.taken: list[Tensor] = []

    def take(self, product: Tensor) -> Tensor:
        """Notes the sums of the products' entries as taken out and returns them; ones where too little is left."""
        total = product.sum((-2, -1))
        self.fall = (self.fall - total.log()).clamp_min_(0.0)
        # Entries that vanish matter once a product has fallen so far, at once or in many steps, that they may lead it.
        deep = self.fall > -0.5 * math.log(self.tiny)
        if bool(deep.any()):
            low = total < self.tiny**0.5
            # What is still low had lost digits, or all of itself, before.
            vanished = product[..., : self.rank, : self.rank].amin((-2, -1)) < self.tiny**0.5
            self.lost |= low | (deep & vanished)
            self.fall = self.fall.masked_fill(deep, 0.0)
            total = total.masked_fill(low, 1.0)
        self.taken.append(total)
        return total

    def total(self) -> Tensor:
        log_scale = self.start + torch.stack(self.taken).double().log().sum(0)
        return log_scale.masked_fill(self.lost, -math.inf)


def _weights(log_weights: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights scaled so that the largest of every link is one, and the log-scale taken out, ``(…, B, 1)``."""
    shift = log_weights.amax(-1, keepdim=True).clamp_min(torch.finfo(dtype).min)
    return (log_weights - shift).exp_().to(dtype), shift.double()


def saturate(gradient: Tensor) -> Tensor:
    """Infinities become the largest numbers of which a thousand can be added."""
    largest = torch.finfo(gradient.dtype).max / 1024
    return gradient.clamp(-largest, largest)


def finite(*gradients: Tensor) -> bool:
    return all(bool(gradient.sum().isfinite()) for gradient in gradients)


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
        The products ``(S, B, m, m)`` with entries that sum to one, their log-scales, and how far they have fallen
        (see :class:`Scale`), both ``(S, B)``.
    """

    @staticmethod
    def forward(ctx: Any, log_weights: Tensor, cores: Tensor, rank: int, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
        length, segments, batch, _ = log_weights.shape
        m = math.isqrt(cores.shape[-1])
        weights, shift = _weights(log_weights, cores.dtype)
        scale = Scale(shift.sum((0, 3)), cores.new_zeros(segments, batch), rank)
        running = cores.new_empty(length if keep else 2, segments * batch, m, m)
        links = cores.new_empty(_AT_ONCE * segments, batch, m * m)
        product = running[0]
        for start in range(0, length, _AT_ONCE):
            stop = min(start + _AT_ONCE, length)
            matrices = MatrixProduct._links(weights[start:stop], cores[start:stop], links)
            for t, matrix in enumerate(matrices.view(stop - start, segments * batch, m, m).unbind(0), start):
                if t == 0:
                    product = running[0].copy_(matrix)
                else:
                    product = torch.bmm(product, matrix, out=running[t if keep else t % 2])
            if stop < length:
                weights[stop].div_(scale.take(product.view(segments, batch, m, m)).unsqueeze(-1))
        product = product.view(segments, batch, m, m)
        inverse = scale.take(product).reciprocal()[..., None, None]
        if keep:
            ctx.save_for_backward(weights, cores, running, inverse)
            ctx.log_weights_dtype = log_weights.dtype
        log_scale = scale.total()
        ctx.mark_non_differentiable(log_scale, scale.fall)
        return product * inverse, log_scale, scale.fall

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
        links, grad_links = weights.new_empty(2, _AT_ONCE * segments, batch, m * m).unbind(0)
        grad = limited(grad).view(-1, m, m)
        spare = torch.empty_like(grad)
        for start in reversed(range(0, length, _AT_ONCE)):
            stop = min(start + _AT_ONCE, length)
            matrices = MatrixProduct._links(weights[start:stop], cores[start:stop], links)
            matrices = matrices.view(stop - start, segments * batch, m, m)
            grad_matrices = grad_links.view(_AT_ONCE, segments * batch, m, m)
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
        The vectors ``(B, m)`` with entries that sum to one, and their log-scales ``(B,)``.
    """

    @staticmethod
    def forward(ctx: Any, log_weights: Tensor, cores: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        length, batch, _ = log_weights.shape
        weights, shift = _weights(log_weights, cores.dtype)
        vector = cores.new_ones(batch, cores.shape[-1])
        scale = Scale(shift.sum((0, 2)), vector.new_zeros(batch), cores.shape[-1])
        vectors = []
        for t in range(length):
            if keep:
                vectors.append(vector)
            by_component = vector @ cores[t]  # (N, B, m)
            vector = torch.einsum("bk,kbm->bm", weights[t], by_component)
            if t % 2 == 1 and t + 1 < length:
                weights[t + 1].div_(scale.take(vector.unsqueeze(1)).unsqueeze(-1))
        inverse = scale.take(vector.unsqueeze(1)).reciprocal().unsqueeze(-1)
        if keep:
            ctx.save_for_backward(weights, cores, inverse, *vectors)
            ctx.log_weights_dtype = log_weights.dtype
        log_scale = scale.total()
        ctx.mark_non_differentiable(log_scale)
        return vector * inverse, log_scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
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
