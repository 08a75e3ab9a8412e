"""The compiled form of :class:`~googol.distributions.products.MatrixProduct`, for CPUs.

It is compiled with the package where there is a C compiler; everything works without it, too. The environment
variable ``GOOGOL_KERNELS=0`` leaves it aside.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from googol.distributions.products import MatrixProduct

_kernels: Any
try:
    from googol.distributions import _kernels  # type: ignore[attr-defined, no-redef]
except ImportError:
    _kernels = None


def available(log_weights: Tensor, cores: Tensor) -> bool:
    """Whether :class:`CompiledProduct` can take these."""
    if _kernels is None or os.environ.get("GOOGOL_KERNELS") == "0":
        return False
    tensors = (log_weights, cores)
    return (
        all(tensor.device.type == "cpu" and tensor.numel() > 0 for tensor in tensors)
        and cores.dtype in (torch.float32, torch.float64)
    )


def _groups(rows: int, cores: Tensor) -> int:
    """How many groups of rows there are that fill a vector register of the processor."""
    return -(-rows // (_kernels.BYTES // cores.itemsize))


def segments(rows: int, cores: Tensor) -> int:
    """How many parts of a chain are multiplied side by side, so that no thread is idle where rows are few."""
    wanted = min(len(cores), -(-torch.get_num_threads() // _groups(rows, cores)))
    return -(-len(cores) // -(-len(cores) // wanted))


class CompiledProduct(torch.autograd.Function):
    """``A_1 … A_T`` for several segments of a chain and many rows at once.

    Products are kept every few links only; those between are computed again for the gradient.

    Args (of ``apply``):
        log_weights: Shape ``(n, B, N)``.
        log_scale: What is added to them, shape ``(n, N)``, a constant.
        cores: Shape ``(n, N, m, m)``, of the same type.
        segments: How many segments; all but the last are of the same length.
        keep: Whether a gradient will be asked for.

    Returns:
        As :class:`~googol.distributions.products.MatrixProduct`.
    """

    @staticmethod
    def forward(
        ctx: Any, log_weights: Tensor, log_scale: Tensor, cores: Tensor, segments: int, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        log_weights, log_scale, cores = log_weights.contiguous(), log_scale.contiguous(), cores.contiguous()
        n, rows, _ = log_weights.shape
        m = cores.shape[-1]
        length = -(-n // segments)
        groups = _groups(rows, cores)
        lanes = _kernels.BYTES // cores.itemsize
        product = cores.new_empty(segments, rows, m, m)
        log_product = cores.new_empty(segments, rows, dtype=torch.float64)
        fall = cores.new_empty(segments, rows)
        factors = cores.new_empty(segments, -(-length // _kernels.RESCALED), groups, lanes)
        kept = cores.new_empty(segments, -(-length // _kernels.KEPT) - 1, groups, m * (m | 1), lanes) if keep else None
        _call(_kernels.forward, log_weights, cores, segments, log_weights, log_scale, cores, product, log_product, fall, factors, kept)
        if keep:
            ctx.save_for_backward(log_weights, log_scale, cores, factors, kept)
            ctx.segments = segments
        ctx.mark_non_differentiable(log_product, fall)
        return product, log_product, fall

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
        log_weights, log_scale, cores, factors, kept = ctx.saved_tensors
        grad_weights = torch.empty_like(log_weights) if ctx.needs_input_grad[0] else None
        shares = min(torch.get_num_threads(), _groups(log_weights.shape[1], cores))
        grad_cores = cores.new_empty(shares, *cores.shape) if ctx.needs_input_grad[2] else None
        _call(
            _kernels.backward, log_weights, cores, ctx.segments,
            log_weights, log_scale, cores, factors, kept, grad.contiguous(), grad_weights, grad_cores,
        )
        if grad_cores is not None:
            grad_cores = grad_cores[0] if shares == 1 else grad_cores.sum(0)
        if not all(bool(x.sum().isfinite()) for x in (grad_weights, grad_cores) if x is not None):
            grad_weights, grad_cores = _limited(log_weights + log_scale.unsqueeze(1), cores, ctx.segments, grad)
        return grad_weights, None, grad_cores, None, None


def _call(function: Any, log_weights: Tensor, cores: Tensor, segments: int, *tensors: Tensor | None) -> None:
    n, rows, components = log_weights.shape
    shares = min(torch.get_num_threads(), _groups(rows, cores))
    addresses = [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
    function(cores.itemsize, n, rows, components, cores.shape[-1], segments, shares, *addresses)


def _limited(log_weights: Tensor, cores: Tensor, segments: int, grad: Tensor) -> tuple[Tensor, ...]:
    """The gradients by the function that limits them on the way."""
    with torch.enable_grad():
        leaves = log_weights.detach().requires_grad_(), cores.detach().requires_grad_()
        length = -(-len(cores) // segments)
        products = [
            MatrixProduct.apply(weights.unsqueeze(1), part.flatten(-2).unsqueeze(1), cores.shape[-1], True)[0]
            for weights, part in zip(*(leaf.split(length) for leaf in leaves), strict=True)
        ]
        return torch.autograd.grad(torch.cat(products), leaves, grad)
