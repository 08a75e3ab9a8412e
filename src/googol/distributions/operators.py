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
from googol.distributions.products import common_factor

# Which rows are computed again is known once their products are: a recorded graph of a CUDA device could not look.
_TAGS = (torch.Tag.cudagraph_unsafe,)


def log_sum(chain: Chain, log_weights: Tensor, expected: Tensor) -> Tensor:
    """:meth:`Chain.log_sum <googol.distributions.chain.Chain.log_sum>` by the operator: ``(n, B, N)`` to ``(B,)``.

    Where a gradient will be asked for, that of the sum weighted by ``expected``, ``(B,)``, is formed at once.
    """
    result: Tensor
    if torch.is_grad_enabled() and (log_weights.requires_grad or chain.cores.requires_grad):
        result = _gradients(expected, log_weights, *chain.tensors, chain.boundary)[0]
    else:
        result = _log_sum(log_weights, *chain.tensors, chain.boundary)
    return result


@torch.library.custom_op("googol::log_sum", mutates_args=(), tags=_TAGS)
def _log_sum(log_weights: Tensor, cores: Tensor, log_scale: Tensor, log_cores: Tensor | None, boundary: str) -> Tensor:
    with torch.no_grad():
        return Chain.of_tensors(cores, log_scale, log_cores, cast(Boundary, boundary)).log_sum(log_weights)


@_log_sum.register_fake
def _(log_weights: Tensor, cores: Tensor, log_scale: Tensor, log_cores: Tensor | None, boundary: str) -> Tensor:
    return log_weights.new_empty(log_weights.shape[1], dtype=torch.float64)


@torch.library.custom_op("googol::log_sum_gradients", mutates_args=(), tags=_TAGS)
def _gradients(
    grad: Tensor, log_weights: Tensor, cores: Tensor, log_scale: Tensor, log_cores: Tensor | None, boundary: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The log-sums, and the gradients of their sum weighted by ``grad``: by the log-weights, the cores, and the
    logarithms of the cores, which the logarithmic domain uses.
    """
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
    return value.detach(), first, second, third


@_gradients.register_fake
def _(
    grad: Tensor, log_weights: Tensor, cores: Tensor, log_scale: Tensor, log_cores: Tensor | None, boundary: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    value = log_weights.new_empty(log_weights.shape[1], dtype=torch.float64)
    return value, log_weights.new_empty(log_weights.shape), cores.new_empty(cores.shape), cores.new_empty(cores.shape)


@torch.library.custom_op("googol::log_sum_gradients_again", mutates_args=(), tags=_TAGS)
def _gradients_again(
    grad: Tensor,
    expected: Tensor,
    gradients: list[Tensor],
    log_weights: Tensor,
    cores: Tensor,
    log_scale: Tensor,
    log_cores: Tensor | None,
    boundary: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients with other weights than expected: a multiple, or formed once more."""
    if (factor := common_factor(grad, expected)) is not None:
        first, second, third = (gradient * factor for gradient in gradients)
    else:
        _, first, second, third = _gradients(grad, log_weights, cores, log_scale, log_cores, boundary)
    return first, second, third


@_gradients_again.register_fake
def _(grad: Tensor, expected: Tensor, gradients: list[Tensor], *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    first, second, third = (gradient.new_empty(gradient.shape) for gradient in gradients)
    return first, second, third


def _setup_gradients(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.boundary = inputs
    ctx.save_for_backward(*output[1:], *tensors)


def _backward_of_gradients(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    first, second, third, expected, *tensors = ctx.saved_tensors
    found = _gradients_again(grad, expected, [first, second, third], *tensors, ctx.boundary)
    return None, found[0], found[1], None, None if tensors[-1] is None else found[2], None


_gradients.register_autograd(_backward_of_gradients, setup_context=_setup_gradients)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.boundary = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    log_weights, cores, log_scale, log_cores = ctx.saved_tensors
    _, *found = _gradients(grad, log_weights, cores, log_scale, log_cores, ctx.boundary)
    return found[0], found[1], None, None if log_cores is None else found[2], None


_log_sum.register_autograd(_backward, setup_context=_setup_context)
