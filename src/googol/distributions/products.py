"""The products of a chain's matrices and their gradients: the inner loops of :mod:`googol.distributions.chain`.

Both functions form ``A_t = sum_k exp(log_weight_tk) Q_t[k]`` link by link and rescale the running product on the way.
The scale is taken out of the next link's weights, which are few, in place of the product itself; it is a constant for
the gradient, which is that of ``product * exp(log_scale)``. A log-scale of ``-inf`` says that a product fell so far
between two rescalings that entries were lost which may matter later.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Scale:
    """The log-scales taken out of the running products of a batch."""

    def __init__(self, start: Tensor, dtype: torch.dtype) -> None:
        self.log = start
        self.tiny = torch.finfo(dtype).tiny
        self.lost = torch.zeros_like(start, dtype=torch.bool)

    def take(self, peak: Tensor) -> Tensor:
        """Notes the largest entries of the products as taken out and returns them; ones where too little is left."""
        low = peak < self.tiny**0.5
        self.lost |= low
        peak = peak.masked_fill(low, 1.0)
        self.log = self.log + peak.double().log()
        return peak

    def total(self) -> Tensor:
        return self.log.masked_fill(self.lost, -math.inf)


def _weights(log_weights: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weights scaled so that the largest of every link is one, and the log-scale taken out, ``(…, B, 1)``."""
    shift = log_weights.amax(-1, keepdim=True).clamp_min(torch.finfo(dtype).min)
    return (log_weights - shift).exp_().to(dtype), shift.double()


class MatrixProduct(torch.autograd.Function):
    """``A_1 … A_T`` for several segments of a chain and many rows at once.

    Only the running products are kept for the gradient; the matrices ``A_t`` are formed again by one matrix product a
    link, and the ``(B, N, m, m)`` tensor of the plain formula never exists.

    Args (of ``apply``):
        log_weights: Shape ``(S, T, B, N)``.
        cores: Shape ``(S, T, N, m * m)``.
        keep: Whether a gradient will be asked for.

    Returns:
        The products ``(S, B, m, m)`` with a largest entry of one, and their log-scales ``(S, B)``.
    """

    @staticmethod
    def forward(ctx: Any, log_weights: Tensor, cores: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        segments, length, batch, _ = log_weights.shape
        m = math.isqrt(cores.shape[-1])
        weights, shift = _weights(log_weights, cores.dtype)
        scale = Scale(shift.sum((1, 3)), cores.dtype)
        running = cores.new_empty(length if keep else 2, segments * batch, m, m)
        links = cores.new_empty(segments, batch, m * m)
        for t in range(length):
            product = running[t % len(running)]
            if t == 0:
                torch.bmm(weights[:, t], cores[:, t], out=product.view_as(links))
            else:
                torch.bmm(weights[:, t], cores[:, t], out=links)
                torch.bmm(running[(t - 1) % len(running)], links.view(-1, m, m), out=product)
            if t % 2 == 1 and t + 1 < length:
                peak = scale.take(product.amax((1, 2)).view(segments, batch))
                weights[:, t + 1].div_(peak.unsqueeze(-1))
        product = product.view(segments, batch, m, m)
        inverse = scale.take(product.amax((2, 3))).reciprocal()[..., None, None]
        if keep:
            ctx.save_for_backward(weights, cores, running, inverse)
            ctx.log_weights_dtype = log_weights.dtype
        log_scale = scale.total()
        ctx.mark_non_differentiable(log_scale)
        return product * inverse, log_scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
        weights, cores, running, inverse = ctx.saved_tensors
        segments, length, batch, _components = weights.shape
        m = running.shape[-1]
        grad_weights, grad_cores = torch.empty_like(weights), torch.empty_like(cores)
        links = weights.new_empty(segments, batch, m * m)
        grad_links = torch.empty_like(links)
        grad = (grad * inverse).view(-1, m, m)
        spare = torch.empty_like(grad)
        for t in reversed(range(length)):
            if t == 0:
                grad_links = grad.view_as(links)
            else:
                torch.bmm(running[t - 1].mT, grad, out=grad_links.view(-1, m, m))
                torch.bmm(weights[:, t], cores[:, t], out=links)
                torch.bmm(grad, links.view(-1, m, m).mT, out=spare)
                grad, spare = spare, grad
            torch.bmm(grad_links, cores[:, t].mT, out=grad_weights[:, t])
            torch.bmm(weights[:, t].mT, grad_links, out=grad_cores[:, t])
        return grad_weights.mul_(weights).to(ctx.log_weights_dtype), grad_cores, None


class VectorProduct(torch.autograd.Function):
    """``1ᵀ A_1 … A_T`` for many rows at once, with matrix products that all rows share.

    Args (of ``apply``):
        log_weights: Shape ``(T, B, N)``.
        cores: Shape ``(T, N, m, m)``.
        keep: Whether a gradient will be asked for.

    Returns:
        The vectors ``(B, m)`` with a largest entry of one, and their log-scales ``(B,)``.
    """

    @staticmethod
    def forward(ctx: Any, log_weights: Tensor, cores: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
        length, batch, _ = log_weights.shape
        weights, shift = _weights(log_weights, cores.dtype)
        scale = Scale(shift.sum((0, 2)), cores.dtype)
        vector = cores.new_ones(batch, cores.shape[-1])
        vectors = []
        for t in range(length):
            if keep:
                vectors.append(vector)
            by_component = vector @ cores[t]  # (N, B, m)
            vector = torch.einsum("bk,kbm->bm", weights[t], by_component)
            if t % 2 == 1 and t + 1 < length:
                weights[t + 1].div_(scale.take(vector.amax(1)).unsqueeze(-1))
        inverse = scale.take(vector.amax(1)).reciprocal().unsqueeze(-1)
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
        grad_weights, grad_cores = torch.empty_like(weights), torch.empty_like(cores)
        grad = grad * inverse
        for t in reversed(range(len(cores))):
            weighted = weights[t].mT.unsqueeze(-1) * grad  # (N, B, m)
            torch.matmul(vectors[t].mT, weighted, out=grad_cores[t])
            before = weighted @ cores[t].mT  # (N, B, m); its product with the vector is the weight's share
            grad_weights[t] = torch.einsum("kbm,bm->bk", before, vectors[t])
            grad = before.sum(0)
        return grad_weights.to(ctx.log_weights_dtype), grad_cores, None
