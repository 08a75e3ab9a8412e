"""The compiled form of :mod:`googol.distributions.products`, for CPUs.

It is compiled with the package where there is a C compiler; without it all is computed by PyTorch's operations. The
environment variable ``GOOGOL_KERNELS=0`` asks for these, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from googol.distributions.products import MatrixProduct, VectorProduct, finite

_kernels: Any
try:
    from googol.distributions import _kernels  # type: ignore[attr-defined, no-redef]
except ImportError:
    _kernels = None


def available(cores: Tensor) -> bool:
    """Whether :class:`CompiledProduct` can multiply these."""
    if _kernels is None or os.environ.get("GOOGOL_KERNELS") == "0":
        return False
    return cores.device.type == "cpu" and cores.dtype in (torch.float32, torch.float64) and cores.numel() > 0


def _lanes(cores: Tensor) -> int:
    """How many rows fill a vector register of the processor."""
    return int(_kernels.BYTES) // cores.itemsize


def rows_at_once(cores: Tensor) -> int:
    """How many rows all threads work on at a time."""
    return _lanes(cores) * torch.get_num_threads()


def kept_products(links: int) -> int:
    """How many products are kept of each row for the gradient."""
    return -(-links // _kernels.KEPT) - 1


def _rescaled(lines: int, m: int) -> int:
    """After how many links a product is rescaled: as in PyTorch's form, so that both give up the same rows."""
    return 4 if lines == m else 2


def _segments(links: int, groups: int) -> int:
    """As many parts of a chain side by side as keep every thread busy where rows are few."""
    wanted = min(links, -(-torch.get_num_threads() // max(1, groups)))
    return -(-links // -(-links // wanted))


class CompiledProduct(torch.autograd.Function):
    """``A_1 … A_T`` for several segments of a chain, or ``1ᵀ A_1 … A_T``, and many rows at once.

    Products are kept every few links only; for the gradient those between are computed again, while they are in cache.

    Args (of ``apply``):
        log_weights: Shape ``(n, B, N)``.
        log_scale: What is added to them, a constant of shape ``(n, N)``.
        cores: Shape ``(n, N, m, m)``, of the same type.
        lines: Of the product: ``m``, or one for a vector that starts from ones.
        keep: Whether a gradient will be asked for.

    Returns:
        The products ``(S, B, lines, m)``, their log-scales and how far they have fallen, as of
        :class:`~googol.distributions.products.MatrixProduct`; vectors are of one segment.
    """

    @staticmethod
    def forward(
        ctx: Any, log_weights: Tensor, log_scale: Tensor, cores: Tensor, lines: int, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        log_weights, log_scale, cores = (x.detach().contiguous() for x in (log_weights, log_scale, cores))
        (n, rows, _), m, lanes = log_weights.shape, cores.shape[-1], _lanes(cores)
        groups = -(-rows // lanes)
        # A vector goes through the links one after the other: matrices side by side would cost more.
        segments = _segments(n, groups) if lines == m else 1
        length = -(-n // segments)
        product = cores.new_empty(segments, rows, lines, m)
        log_product = cores.new_empty(segments, rows, dtype=torch.float64)
        fall = cores.new_empty(segments, rows)
        factors = cores.new_empty(segments, -(-length // _rescaled(lines, m)), groups, lanes)
        kept = cores.new_empty(segments, kept_products(length), groups, lines * (m | 1), lanes) if keep else None
        tensors = log_weights, log_scale, cores, product, log_product, fall, factors, kept
        _call(_kernels.forward, segments, lines, *tensors)
        if keep:
            ctx.save_for_backward(log_weights, log_scale, cores, factors, kept)
        ctx.mark_non_differentiable(log_product, fall)
        return product, log_product, fall

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
        log_weights, log_scale, cores, factors, kept = ctx.saved_tensors
        of_weights, _, of_cores, *_ = ctx.needs_input_grad
        grad_weights = torch.empty_like(log_weights) if of_weights else None
        grad_cores = torch.empty_like(cores) if of_cores else None
        # Every thread but the first has a sum of its own.
        sums = cores.new_empty(_shares(log_weights, cores) - 1, *cores.shape) if of_cores else None
        grad = grad.contiguous()
        tensors = log_weights, log_scale, cores, factors, kept, grad, grad_weights, grad_cores, sums
        _call(_kernels.backward, len(grad), grad.shape[-2], *tensors)
        if grad_cores is not None and sums is not None:
            for part in sums:
                grad_cores += part
        del tensors, sums
        if not finite(*(x for x in (grad_weights, grad_cores) if x is not None)):
            grad_weights, grad_cores = _limited_gradients(log_weights + log_scale.unsqueeze(1), cores, grad)
        return grad_weights, None, grad_cores, None, None


def _shares(log_weights: Tensor, cores: Tensor) -> int:
    """Into how many parts the rows are split, one a thread."""
    return max(1, min(torch.get_num_threads(), -(-log_weights.shape[1] // _lanes(cores))))


def _call(
    function: Callable[..., None], segments: int, lines: int, log_weights: Tensor, *tensors: Tensor | None
) -> None:
    (n, rows, components), cores = log_weights.shape, cast(Tensor, tensors[1])
    m, shares = cores.shape[-1], _shares(log_weights, cores)
    sizes = (cores.itemsize, n, rows, components, m, lines, _rescaled(lines, m), segments, shares)
    function(*sizes, log_weights.data_ptr(), *(0 if tensor is None else tensor.data_ptr() for tensor in tensors))


def _limited_gradients(log_weights: Tensor, cores: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """The gradients by PyTorch's operations, which limit them on the way."""
    length, (lines, m) = -(-len(cores) // len(grad)), grad.shape[-2:]
    with torch.enable_grad():
        leaves = log_weights.detach().requires_grad_(), cores.detach().requires_grad_()
        if lines == m:
            products = [
                MatrixProduct.apply(weights.unsqueeze(1), part.flatten(-2).unsqueeze(1), m, True)[0]
                for weights, part in zip(*(leaf.split(length) for leaf in leaves), strict=True)
            ]
            return torch.autograd.grad(torch.cat(products), leaves, grad)
        return torch.autograd.grad(VectorProduct.apply(*leaves, True)[0], leaves, grad[0, :, 0])
