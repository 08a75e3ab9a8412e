"""The compiled form of :mod:`googol.distributions.products`, for CPUs.

It is compiled with the package where there is a C compiler; without it all is computed by PyTorch's operations. The
environment variable ``GOOGOL_KERNELS=0`` asks for these, too; ``plain`` and ``avx2`` ask for kernels of fewer
instructions than the processor has, when the package is imported.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from googol.distributions.once import once_differentiable
from googol.distributions.products import RESCALED, RESCALED_VECTOR, MatrixProduct, VectorProduct, finite, is_lost

_kernels: Any
try:
    from googol.distributions import _kernels  # type: ignore[attr-defined, no-redef]
except ImportError:
    _kernels = None


# So few draws are made sooner than another thread wakes up.
_DRAWS_OF_A_THREAD = 2**11


def wanted() -> bool:
    """Whether the environment leaves kernels in use."""
    value = os.environ.get("GOOGOL_KERNELS", "")
    if value not in {"", "0", "plain", "avx2"}:
        raise ValueError(f"the environment variable GOOGOL_KERNELS must be 0, plain, avx2 or not set, got {value!r}")
    return value != "0"


def available(cores: Tensor) -> bool:
    """Whether :class:`CompiledProduct` can multiply these.

    Raises:
        ValueError: ``GOOGOL_KERNELS`` is something else.
    """
    if not wanted() or _kernels is None or torch.compiler.is_compiling():
        return False
    return cores.device.type == "cpu" and cores.dtype in (torch.float32, torch.float64) and cores.numel() > 0


def lanes(cores: Tensor) -> int:
    """How many rows fill a vector register of the processor."""
    return int(_kernels.BYTES) // cores.itemsize


def rows_at_once(cores: Tensor) -> int:
    """How many rows all threads work on at a time."""
    return lanes(cores) * torch.get_num_threads()


def shares(groups: int) -> int:
    """Into how many parts groups of rows are split, one a thread."""
    return max(1, min(torch.get_num_threads(), groups))


def call(name: str, like: Tensor, sizes: Sequence[int], tensors: Sequence[Tensor | None]) -> None:
    """Calls a function of the compiled module for numbers of a type, with tensors that are contiguous."""
    addresses = (0 if tensor is None else tensor.data_ptr() for tensor in tensors)
    getattr(_kernels, name)(like.itemsize, *sizes, *addresses)


def _rescaled(lines: int, m: int) -> int:
    """After how many links a product is rescaled: as in PyTorch's form, so that both give up the same rows."""
    return RESCALED if lines == m else RESCALED_VECTOR


def _segments(links: int, groups: int) -> int:
    """As many parts of a chain side by side as keep every thread busy where rows are few."""
    wanted = min(links, -(-torch.get_num_threads() // max(1, groups)))
    return -(-links // -(-links // wanted))


class CompiledProduct(torch.autograd.Function):
    """``A_1 … A_T`` for several segments of a chain, or ``1ᵀ A_1 … A_T``, and many rows at once.

    Nothing is kept for the gradient: all products are formed again then, and stay in cache until they are used.

    Args (of ``apply``):
        log_weights: Shape ``(n, B, N)``.
        log_scale: What is added to them, a constant of shape ``(n, N)``.
        cores: Shape ``(n, N, m, m)``, of the same type.
        lines: Of the product: ``m``, or one for a vector that starts from ones.

    Returns:
        The products ``(S, B, lines, m)``, their log-scales and bounds of what was discarded, as of
        :class:`~googol.distributions.products.MatrixProduct`; vectors are of one segment.
    """

    @staticmethod
    def forward(
        ctx: Any, log_weights: Tensor, log_scale: Tensor, cores: Tensor, lines: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        chain = _Chain.of(log_weights, log_scale, cores, lines)
        # A vector goes through the links one after the other: matrices side by side would cost more.
        segments = _segments(len(cores), chain.groups) if lines == cores.shape[-1] else 1
        rows = log_weights.shape[1]
        product = cores.new_empty(segments, rows, lines, cores.shape[-1])
        log_product = cores.new_empty(segments, rows, dtype=torch.float64)
        bound = cores.new_empty(segments, rows)
        chain.multiply(segments, product=product, log_product=log_product, bound=bound)
        ctx.save_for_backward(log_weights, log_scale, cores)
        ctx.mark_non_differentiable(log_product, bound)
        return product, log_product, bound

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        log_weights, log_scale, cores = ctx.saved_tensors
        chain, grad = _Chain.of(log_weights, log_scale, cores, grad.shape[-2]), grad.contiguous()
        gradients = chain.gradients(ctx.needs_input_grad[::2], segments=len(grad), grad=grad)
        if not finite(*(x for x in gradients if x is not None)):
            gradients = _limited_gradients(log_weights + log_scale.unsqueeze(1), cores, grad)
        return gradients[0], None, gradients[1], None


class CompiledLogSum(torch.autograd.Function):
    """``log Tr(A_1 … A_n)``, or ``log 1ᵀ A_1 … A_n 1``, of many rows.

    Args (of ``apply``):
        log_weights, log_scale, cores, lines: As of :class:`CompiledProduct`.
        expected: The weights of the rows in the sum that will be differentiated, ``(B,)`` in double precision, if they
            are known: its gradient is then formed along with the values, each row's while its products are in cache.

    Returns:
        Shape ``(B,)``, in double precision; ``-inf``, without a gradient, where precision was lost.
    """

    @staticmethod
    def forward(
        ctx: Any, log_weights: Tensor, log_scale: Tensor, cores: Tensor, lines: int, expected: Tensor | None
    ) -> Tensor:
        chain, needed = _Chain.of(log_weights, log_scale, cores, lines), ctx.needs_input_grad[0:3:2]
        log_sums = cores.new_empty(log_weights.shape[1], dtype=torch.float64)
        gradients: tuple[Tensor | None, ...] = (None, None)
        if expected is None or not any(needed):
            chain.multiply(1, log_sums=log_sums)
            expected = None
        else:
            expected = expected.contiguous()
            gradients = chain.gradients(needed, row_weights=expected, log_sums=log_sums)
        ctx.lines = lines
        ctx.save_for_backward(log_weights, log_scale, cores, expected, *gradients)
        return log_sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
        log_weights, log_scale, cores, expected, *gradients = ctx.saved_tensors
        if expected is None or not torch.equal(grad, expected):
            chain, log_sums = _Chain.of(log_weights, log_scale, cores, ctx.lines), torch.empty_like(grad)
            needed = ctx.needs_input_grad[0:3:2]
            gradients = chain.gradients(needed, row_weights=grad.contiguous(), log_sums=log_sums)
        if not finite(*(x for x in gradients if x is not None)):
            gradients = CompiledLogSum._limited(log_weights, log_scale, cores, ctx.lines, grad)
        return gradients[0], None, gradients[1], None, None

    @staticmethod
    def _limited(log_weights: Tensor, log_scale: Tensor, cores: Tensor, lines: int, grad: Tensor) -> tuple[Tensor, ...]:
        """The gradients by PyTorch's operations, which limit them on the way."""
        chain, m = _Chain.of(log_weights, log_scale, cores, lines), cores.shape[-1]
        product, log_product = cores.new_empty(1, len(grad), lines, m), torch.empty_like(grad)
        bound = cores.new_empty(len(grad))
        chain.multiply(1, product=product, log_product=log_product, bound=bound)
        closing = torch.eye(m).to(cores) if lines == m else cores.new_ones(1, m)
        closed = (product[0] * closing).sum((-2, -1))
        lost = log_product.isinf() | is_lost(closed, bound)
        seeds = (grad / closed.double()).to(cores.dtype).masked_fill(lost, 0.0)[:, None, None] * closing
        return _limited_gradients(log_weights + log_scale.unsqueeze(1), cores, seeds.unsqueeze(0))


class _Chain(NamedTuple):
    """What is multiplied, contiguous and without a history."""

    log_weights: Tensor
    log_scale: Tensor
    cores: Tensor
    lines: int

    @classmethod
    def of(cls, log_weights: Tensor, log_scale: Tensor, cores: Tensor, lines: int) -> _Chain:
        return cls(
            log_weights.detach().contiguous(), log_scale.detach().contiguous(), cores.detach().contiguous(), lines
        )

    @property
    def groups(self) -> int:
        """How many vector registers the rows fill."""
        return -(-self.log_weights.shape[1] // lanes(self.cores))

    def gradients(self, needed: Sequence[bool], segments: int = 1, **wanted: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients by the log-weights and the cores, if they are needed."""
        grad_weights = torch.empty_like(self.log_weights) if needed[0] else None
        grad_cores = torch.empty_like(self.cores) if needed[1] else None
        # Every thread but the first has a sum of its own.
        sums = self.cores.new_empty(shares(self.groups) - 1, *self.cores.shape) if needed[1] else None
        self.multiply(segments, grad_weights=grad_weights, grad_cores=grad_cores, sums=sums, **wanted)
        if grad_cores is not None and sums is not None:
            for part in sums:
                grad_cores += part
        return grad_weights, grad_cores

    def multiply(self, segments: int, **wanted: Tensor | None) -> None:
        """Fills the tensors that are wanted; ``grad`` or ``row_weights`` are what gradients start from."""
        (n, rows, components), m = self.log_weights.shape, self.cores.shape[-1]
        sizes = n, rows, components, m, self.lines, _rescaled(self.lines, m), segments, shares(self.groups)
        call("multiply", self.cores, sizes, (*self[:3], *(wanted.pop(name, None) for name in _WANTED)))


_WANTED = (
    *("grad", "row_weights", "product", "log_product", "bound", "log_sums", "grad_weights", "grad_cores", "sums"),
    *("values", "loc", "inverse", "constant", "far"),
)


def log_sums_of_normals(
    values: Tensor, loc: Tensor, log_scale: Tensor, core_scale: Tensor, cores: Tensor, lines: int
) -> Tensor | None:
    """The log-sums of :class:`CompiledLogSum` of chains of normal variables, whose densities are formed on the way.

    Args:
        values: Shape ``(B, n)``, NaN = missing.
        loc, log_scale: Of the components, shape ``(n, N)``.
        core_scale, cores, lines: The ``log_scale``, ``cores`` and ``lines`` of :class:`CompiledProduct`.

    Returns:
        Shape ``(B,)``; or None if a value is so far from a component that double precision is needed.
    """
    constants = loc, (-log_scale).exp(), log_scale + 0.5 * math.log(2 * math.pi)
    given = {name: x.contiguous() for name, x in zip(("loc", "inverse", "constant"), constants, strict=True)}
    # Only the sizes of the log-weights are read.
    sizes = cores.new_empty(()).expand(len(cores), len(values), loc.shape[1])
    chain = _Chain(sizes, core_scale.contiguous(), cores.contiguous(), lines)
    log_sums, far = torch.empty(len(values), dtype=torch.float64), torch.zeros((), dtype=torch.int32)
    chain.multiply(1, log_sums=log_sums, values=values.contiguous(), far=far, **given)
    return None if far.item() else log_sums


def draw(left: Tensor, of_left: Tensor, right: Tensor | None, of_right: Tensor | None, uniform: Tensor) -> Tensor:
    """The indices where numbers of [0, 1) fall, times the sum of the weights, among cumulated weights.

    Args:
        left: Tables of cumulated weights, shape ``(…, k)``; or of weights, with others to multiply them by.
        of_left: The lines that are meant, counted over all tables, shape ``(S,)``.
        right: The other weights, or None.
        of_right: Their lines.
        uniform: Shape ``(S,)``, of the type of the weights.

    Returns:
        Shape ``(S,)``.
    """
    index, width = torch.empty_like(of_left), left.shape[-1]
    tensors = (left, of_left, right, of_right, uniform)
    whole = [None if tensor is None else tensor.detach().contiguous() for tensor in tensors]
    call("draw", left, (len(index), width, shares(len(index) // _DRAWS_OF_A_THREAD)), (*whole, index))
    return index


def bonds(weights: Tensor, cores: Tensor, first: Tensor | None, uniform: Tensor) -> Tensor:
    """The bonds of chains ``A_1 … A_n``, each drawn in proportion to an entry of a link times what follows it.

    Args:
        weights: Of the matrices of every link, shape ``(n, B, N)``.
        cores: Shape ``(n, N, m, m)``.
        first: The first bonds, with which the chains end as well, ``(B,)``; None for trains, whose ends are open.
        uniform: Numbers of [0, 1), shape ``(n + 1, B)``.

    Returns:
        Shape ``(n + 1, B)``, the first bonds included.
    """
    whole = [None if tensor is None else tensor.detach().contiguous() for tensor in (weights, cores, first, uniform)]
    drawn = torch.empty(uniform.shape, dtype=torch.int64)
    (n, rows, components), m = weights.shape, cores.shape[-1]
    call("bonds", cores, (n, rows, components, m, shares(-(-rows // lanes(cores)))), (*whole, drawn))
    return drawn


class CompiledNormal(torch.autograd.Function):
    """log N(value; component) of every component, and zero (no information) where a value is NaN.

    Args (of ``apply``):
        value: Shape ``(g, B)``.
        loc, log_scale: Shape ``(g, N)``, of the same type.

    Returns:
        Shape ``(g, B, N)``.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
        log_prob = loc.new_empty(*value.shape, loc.shape[-1])
        CompiledNormal._call((value, loc, log_scale), (log_prob, None, None, None))
        ctx.save_for_backward(value, loc, log_scale)
        return log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value, loc, _ = inputs = ctx.saved_tensors
        gradients = tuple(x.new_empty(x.shape) for x in (value, loc, loc))
        CompiledNormal._call(inputs, (grad.contiguous(), *gradients))
        return gradients

    @staticmethod
    def _call(inputs: tuple[Tensor, ...], others: tuple[Tensor | None, ...]) -> None:
        value, loc, log_scale = (x.detach().contiguous() for x in inputs)
        constants = value, loc, (-log_scale).exp(), log_scale + 0.5 * math.log(2 * math.pi)
        call("normal", value, (*value.shape, loc.shape[-1], shares(len(value))), (*constants, *others))


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
