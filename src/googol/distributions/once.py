"""Gradients that have none themselves, and say so instead of passing for constants."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from googol.distributions.precision import every_digit

MESSAGE = "second derivatives are not known here: the gradients of this distribution have no gradients themselves"


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """For the backward of a function that works with gradients recorded by nobody: to differentiate them raises.

    PyTorch's own raises only where the gradient of the output depends on something, which that of a sum does not. Here
    all inputs that the function has saved count, too.
    """

    @functools.wraps(backward)
    def wrapped(ctx: Any, *gradients: Tensor | None) -> Any:
        like = next(gradient for gradient in gradients if gradient is not None)
        with torch.no_grad(), every_digit(like):
            found = backward(ctx, *gradients)
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return found
        known = [t for t in (*ctx.saved_tensors, *gradients) if t is not None and t.requires_grad]
        return tuple(_refusing(f, known) for f in found) if isinstance(found, tuple) else _refusing(found, known)

    return wrapped


def first_order(value: Tensor) -> Tensor:
    """The same value, whose gradients are right and cannot be differentiated again."""
    result: Tensor = _FirstOrder.apply(value)
    return result


def _refusing(gradient: Any, known: list[Tensor]) -> Any:
    """A gradient that depends on all that it was made from, and on something more, so that a plain backward is told."""
    if not isinstance(gradient, Tensor) or not gradient.is_floating_point():
        return gradient
    return _Refusing.apply(gradient, torch.zeros((), device=gradient.device, requires_grad=True), *known)


class _Refusing(torch.autograd.Function):
    """A gradient that counts as depending on others, so that whoever asks for its own gradient is told."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *known: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:
        raise RuntimeError(MESSAGE)


class _FirstOrder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.save_for_backward(value)
        return value.view_as(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient
