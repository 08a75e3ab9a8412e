"""The Triton form of :mod:`googol.distributions.products`, for CUDA devices.

A program takes one row of the batch through all links: the running product, the link's matrix and the bound of what was
discarded stay in registers, and the cores are read from the cache that all programs share. It is used in single
precision where Triton is installed, and by its interpreter on a CPU (``TRITON_INTERPRET=1``) to check its numbers.
"""

# Annotations stay objects here: Triton reads those of its constants.
import functools
import warnings
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from googol.distributions.kernels import wanted
from googol.distributions.once import once_differentiable
from googol.distributions.products import discarded, finite, is_lost, saturate, scaled_weights

LARGEST_RANK = 64  # above 32 a product and a matrix do not all fit the registers of a program
# Sizes that change from call to call, such as that of the last batch: another value needs no other kernel.
SIZES = ("rows", "links", "components", "m")


@triton.jit
def _link(weights, cores, components, M: tl.constexpr):  # type: ignore[no-untyped-def]
    """The matrix of a link, of cores that are filled up with zeros: without masks they are read four at a time."""
    matrix = tl.zeros((M, M), dtype=tl.float32)
    core = cores + tl.arange(0, M)[:, None] * M + tl.arange(0, M)[None, :]
    for c in range(components):
        matrix += tl.load(weights + c) * tl.load(core)
        core += M * M
    return matrix


@triton.jit
def _times(left, matrix, RING: tl.constexpr):  # type: ignore[no-untyped-def]
    # One return: a second would have another type, which the compiler refuses.
    return tl.dot(left, matrix, input_precision="ieee") if RING else tl.sum(tl.trans(left) * matrix, 0)[None, :]


@triton.jit(do_not_specialize=SIZES)
def _forward(  # type: ignore[no-untyped-def]
    weights, shift, cores, kept, totals, product, log_product, bound,
    rows, links, components, m, more, small,
    KEEP: tl.constexpr, RING: tl.constexpr, LINES: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    i, j = tl.arange(0, LINES), tl.arange(0, M)
    lines = m if RING else 1
    out, inside = i[:, None] * m + j[None, :], (i < lines)[:, None] & (j < m)[None, :]
    # A ring starts from the identity, a train from ones.
    running = tl.where(inside & (i[:, None] == j[None, :]) if RING else inside, 1.0, 0.0)
    discarded = tl.zeros((1, M), dtype=tl.float32)
    logarithm = tl.load(shift + row)
    lost = tl.zeros((), dtype=tl.int32)
    for t in range(links):
        at = (t * rows + row) * components
        matrix = _link(weights + at, cores + t * components * M * M, components, M)
        if KEEP:
            tl.store(kept + (t * rows + row) * lines * m + out, running, mask=inside)
        running = _times(running, matrix, RING)
        discarded = _times(discarded, matrix, False) + more
        total = tl.sum(running)
        low = total < small
        lost += low.to(tl.int32)
        total = tl.where(low, 1.0, total)
        running, discarded = running / total, discarded / total
        if KEEP:
            tl.store(totals + t * rows + row, total)
        logarithm += tl.log(total.to(tl.float64))
    tl.store(product + row * lines * m + out, running, mask=inside)
    tl.store(log_product + row, tl.where(lost > 0, float("-inf"), logarithm))
    tl.store(bound + row, tl.sum(tl.where((j < m)[None, :], discarded, 0.0)))


@triton.jit(do_not_specialize=SIZES)
def _backward(  # type: ignore[no-untyped-def]
    weights, cores, kept, totals, grad, grad_links, rows, links, components, m,
    RING: tl.constexpr, LINES: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    i, j = tl.arange(0, LINES), tl.arange(0, M)
    lines = m if RING else 1
    place = tl.arange(0, M)[:, None] * m + j[None, :]
    whole = (tl.arange(0, M) < m)[:, None] & (j < m)[None, :]
    out, inside = i[:, None] * m + j[None, :], (i < lines)[:, None] & (j < m)[None, :]
    gradient = tl.load(grad + row * lines * m + out, mask=inside, other=0.0)
    for step in range(links):
        t = links - 1 - step
        at = (t * rows + row) * components
        matrix = _link(weights + at, cores + t * components * M * M, components, M)
        before = tl.load(kept + (t * rows + row) * lines * m + out, mask=inside, other=0.0)
        gradient = gradient / tl.load(totals + t * rows + row)
        if RING:
            of_link = tl.dot(tl.trans(before), gradient, input_precision="ieee")
            gradient = tl.dot(gradient, tl.trans(matrix), input_precision="ieee")
        else:
            of_link = tl.trans(before) * gradient
            gradient = tl.sum(gradient * matrix, 1)[None, :]
        tl.store(grad_links + (t * rows + row) * m * m + place, of_link, mask=whole)


def available(cores: Tensor) -> bool:
    """Whether :class:`TritonProduct` can multiply these."""
    if not cores.is_cuda or not wanted():
        return False
    fits = cores.dtype == torch.float32 and cores.shape[-1] <= LARGEST_RANK and cores.numel() > 0
    return fits and works(cores.device)


@functools.cache
def works(device: torch.device) -> bool:
    """Whether Triton can make kernels for a device: that it needs a C compiler it finds out when it is to make one."""
    log_weights = torch.zeros(1, 1, 1, device=device)
    try:
        TritonProduct.apply(log_weights, log_weights[0], torch.ones(1, 1, 1, 1, device=device), 1, False)
    except torch.OutOfMemoryError:  # says nothing of the next time
        raise
    except Exception as error:  # whatever a compiler and a driver may raise
        warnings.warn(f"without the kernels for GPUs, since Triton cannot make them: {error}", stacklevel=2)
        return False
    return True


class TritonProduct(torch.autograd.Function):
    """``A_1 … A_n``, or ``1ᵀ A_1 … A_n``, of many rows at once.

    The arguments and results are those of :class:`~googol.distributions.kernels.CompiledProduct`, of one segment. One
    more argument says whether a gradient will be asked for: without one, no products are kept, which would be nearly
    all that is written to memory.
    """

    @staticmethod
    def forward(
        ctx: Any, log_weights: Tensor, log_scale: Tensor, cores: Tensor, lines: int, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        given, cores = cores, cores.detach().contiguous()
        weights, shifts = scaled_weights(log_weights.detach() + log_scale.unsqueeze(1), cores.dtype)
        weights, shift = weights.contiguous(), shifts.sum((0, 2))
        (n, rows, components), m = weights.shape, cores.shape[-1]
        links = n if keep else 0
        kept, product = cores.new_empty(links, rows, lines, m), cores.new_empty(1, rows, lines, m)
        totals, bound = cores.new_empty(links, rows), cores.new_empty(1, rows)
        log_product = cores.new_empty(1, rows, dtype=torch.float64)
        sizes = _sizes(lines, m)
        tensors = weights, shift, _filled(cores, sizes["M"]), kept, totals, product, log_product, bound
        more, small = discarded(cores.dtype, components, m, 1), torch.finfo(cores.dtype).tiny ** 0.5
        if rows:
            with torch.cuda.device_of(cores):  # else Triton takes the current device
                _forward[(rows,)](*tensors, rows, n, components, m, more, small, KEEP=keep, **sizes)
        # The inputs too, of whose gradients none can be asked for.
        ctx.save_for_backward(log_weights, given, weights, kept, totals)
        ctx.mark_non_differentiable(log_product, bound)
        return product, log_product.masked_fill(is_lost(torch.ones_like(bound), bound), -torch.inf), bound

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
        cores, weights, kept, totals = (x.contiguous() for x in ctx.saved_tensors[1:])
        (n, rows, components), m, lines = weights.shape, cores.shape[-1], grad.shape[-2]
        of_links = cores.new_empty(n, rows, m * m)
        sizes = _sizes(lines, m)
        tensors = weights, _filled(cores, sizes["M"]), kept, totals, grad.contiguous(), of_links
        if rows:
            with torch.cuda.device_of(cores):
                _backward[(rows,)](*tensors, rows, n, components, m, **sizes)
        if not finite(of_links):
            of_links = saturate(of_links.nan_to_num())
        grad_weights = (of_links @ cores.flatten(-2).mT).mul_(weights)
        return grad_weights, None, (weights.mT @ of_links).view_as(cores), None, None


def _filled(cores: Tensor, size: int) -> Tensor:
    """The cores with zeros up to matrices of a size."""
    more = size - cores.shape[-1]
    return torch.nn.functional.pad(cores, (0, more, 0, more)).contiguous()


def _sizes(lines: int, m: int) -> dict[str, Any]:
    size, ring = max(16, triton.next_power_of_2(m)), lines == m
    return {"RING": ring, "LINES": size if ring else 1, "M": size}
