"""The log-sum of a chain as an operator of PyTorch, ``googol::log_sum``: what ``torch.compile`` sees of a density.

It computes the same as :meth:`Chain.log_sum <googol.distributions.chain.Chain.log_sum>`, with whatever kernel that
chooses and with the logarithmic domain for the rows that need it. A compiler looks at its shapes alone, so none of the
choices that depend on data break a graph.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from googol.distributions.blocks import Boundary
from googol.distributions.chain import Chain


def log_sum(chain: Chain, log_weights: Tensor) -> Tensor:
    """:meth:`Chain.log_sum <googol.distributions.chain.Chain.log_sum>` by the operator: ``(n, B, N)`` to ``(B,)``."""
    result: Tensor = _log_sum(log_weights, *chain.tensors, chain.boundary)
    return result


@torch.library.custom_op("googol::log_sum", mutates_args=())
def _log_sum(log_weights: Tensor, cores: Tensor, log_scale: Tensor, log_cores: Tensor | None, boundary: str) -> Tensor:
    with torch.no_grad():
        return Chain.of_tensors(cores, log_scale, log_cores, cast(Boundary, boundary)).log_sum(log_weights)


@_log_sum.register_fake
def _(log_weights: Tensor, cores: Tensor, log_scale: Tensor, log_cores: Tensor | None, boundary: str) -> Tensor:
    return log_weights.new_empty(log_weights.shape[1], dtype=torch.float64)


@torch.library.custom_op("googol::log_sum_gradients", mutates_args=())
def _gradients(
    grad: Tensor, log_weights: Tensor, cores: Tensor, log_scale: Tensor, log_cores: Tensor | None, boundary: str
) -> tuple[Tensor, Tensor, Tensor]:
    """By the log-weights, the cores, and the logarithms of the cores, which the logarithmic domain uses."""
    leaves = [x.detach().requires_grad_() for x in (log_weights, cores, cores if log_cores is None else log_cores)]
    # Operators run below autograd; this one asks it for its result.
    autograd = torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutogradFunctionality, False)
    with autograd, torch.enable_grad():
        chain = Chain.of_tensors(
            leaves[1], log_scale, None if log_cores is None else leaves[2], cast(Boundary, boundary)
        )
        value = chain.log_sum(leaves[0], grad)
        found = torch.autograd.grad(value, leaves, grad, allow_unused=True)
    whole = torch.contiguous_format
    first, second, third = (
        torch.zeros_like(leaf, memory_format=whole) if gradient is None else gradient.contiguous()
        for leaf, gradient in zip(leaves, found, strict=True)
    )
    return first, second, third


@_gradients.register_fake
def _(
    grad: Tensor, log_weights: Tensor, cores: Tensor, log_scale: Tensor, log_cores: Tensor | None, boundary: str
) -> tuple[Tensor, Tensor, Tensor]:
    return log_weights.new_empty(log_weights.shape), cores.new_empty(cores.shape), cores.new_empty(cores.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.boundary = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    log_weights, cores, log_scale, log_cores = ctx.saved_tensors
    found = _gradients(grad, log_weights, cores, log_scale, log_cores, ctx.boundary)
    return found[0], found[1], None, None if log_cores is None else found[2], None


_log_sum.register_autograd(_backward, setup_context=_setup_context)
