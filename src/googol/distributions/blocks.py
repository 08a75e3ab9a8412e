"""How the work on a chain is cut up: a batch into blocks of rows, a long chain into segments side by side.

The only place that chooses how :mod:`googol.distributions.chain` is computed; speed and memory depend on it, results
do not.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from googol.distributions import kernels
from googol.distributions.products import MatrixProduct, Scale, VectorProduct, saturate

Boundary = Literal["ring", "train"]

# What keeps the processor's caches full and a new page of memory rare (one costs as much as 50,000 operations), in
# numbers: of matrices that are multiplied side by side, of products kept for a gradient, of log-weights.
_SIDE_BY_SIDE = 2**16
_KEPT = 2**22
_LOG_WEIGHTS = 2**19
_LOG_WEIGHTS_OF_VECTORS = 2**20  # a link of theirs is many calls, which cost less the more rows share them
_ON_DEVICE = 2**29  # numbers kept at a time on a GPU, where it is memory alone that counts
_PRODUCTS_ON_DEVICE = 2**11  # of matrices at a time that keep a GPU busy
# The compiled kernel forms the matrices of a train too, which large matrix products of all rows with the cores avoid.
_LARGEST_COMPILED_TRAIN = 64


def rows_per_block(cores: Tensor, boundary: Boundary, batch: int, keep: bool) -> int:
    """How many rows of a batch are best worked on at a time, with or without what a gradient needs."""
    n, components, m, _ = cores.shape
    size = m * m if boundary == "ring" else m
    if cores.is_cuda:
        return max(1, min(batch, _ON_DEVICE // (n * max(m * m, components))))
    if _is_compiled(cores, boundary):
        most = _LOG_WEIGHTS / (n * components)
        step = kernels.rows_at_once(cores)
        blocks = max(1, round(batch / max(step, most)))
        return max(1, batch) if blocks == 1 else -(-batch // (blocks * step)) * step
    most = (_LOG_WEIGHTS if boundary == "ring" else _LOG_WEIGHTS_OF_VECTORS) / (n * components)
    most = min(most, _SIDE_BY_SIDE / size)
    most = max(16, min(most, _KEPT / (n * size))) if keep else max(64, most)
    blocks = max(1, round(batch / most))
    return max(1, -(-batch // blocks))


def product(
    log_weights: Tensor, log_scale: Tensor, cores: Tensor, boundary: Boundary, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The product of a chain for one block of rows.

    Args:
        log_weights: Shape ``(n, B, N)``.
        log_scale: What is added to them, a constant of shape ``(n, N)``.
        cores: Shape ``(n, N, m, m)``.
        boundary: ``A_1 … A_n`` for a ring, ``1ᵀ A_1 … A_n`` for a train.
        keep: Whether a gradient will be asked for.

    Returns:
        Matrices ``(B, m, m)``, or ``(B, 1, m)`` for a train, log-scales and bounds of what was discarded, ``(B,)``.
    """
    if _is_compiled(cores, boundary):
        log_weights, log_scale, shift = _of_same_type(log_weights, log_scale, cores)
        parts = kernels.CompiledProduct.apply(log_weights, log_scale, cores, _lines(cores, boundary))
        product, total, bound = _joined(*parts)
        return product, total + shift, bound
    if cores.is_cuda and (gpu := _gpu()) is not None and gpu.available(cores):
        log_weights, log_scale, shift = _of_same_type(log_weights, log_scale, cores)
        parts = gpu.TritonProduct.apply(log_weights, log_scale, cores, _lines(cores, boundary), keep)
        return parts[0][0], parts[1][0] + shift, parts[2][0]
    log_weights = log_weights + log_scale.unsqueeze(1).to(log_weights.dtype)
    if boundary == "ring":
        return _side_by_side(log_weights, cores, keep)
    vector, log_scale, bound = VectorProduct.apply(log_weights, cores, keep)
    return vector.unsqueeze(-2), log_scale, bound


def _is_compiled(cores: Tensor, boundary: Boundary) -> bool:
    return kernels.available(cores) and (boundary == "ring" or cores.shape[-1] <= _LARGEST_COMPILED_TRAIN)


def log_sum(
    log_weights: Tensor, log_scale: Tensor, cores: Tensor, boundary: Boundary, expected: Tensor | None
) -> Tensor | None:
    """The logarithm of the closed product of every row, where the compiled kernel has it at once; else None.

    Args:
        log_weights, log_scale, cores, boundary: As of :func:`product`.
        expected: The weights of the rows in the sum that will be differentiated, ``(B,)``, if they are known.

    Returns:
        Shape ``(B,)``, in double precision; ``-inf`` where precision was lost.
    """
    # A few rows keep more threads busy when the chain is cut into segments.
    if not _is_compiled(cores, boundary) or log_weights.shape[1] <= kernels.rows_at_once(cores) - kernels.lanes(cores):
        return None
    log_weights, log_scale, shift = _of_same_type(log_weights, log_scale, cores)
    expected = None if expected is None else expected.double()
    log_sums: Tensor = kernels.CompiledLogSum.apply(log_weights, log_scale, cores, _lines(cores, boundary), expected)
    return log_sums + shift


def log_sum_of_normals(
    values: Tensor, loc: Tensor, log_scale: Tensor, core_scale: Tensor, cores: Tensor, boundary: Boundary
) -> Tensor | None:
    """The same of normal variables, without a gradient; None also where double precision is needed."""
    few = len(values) <= kernels.rows_at_once(cores) - kernels.lanes(cores) if _is_compiled(cores, boundary) else True
    if few or not values.dtype == loc.dtype == cores.dtype:
        return None
    return kernels.log_sums_of_normals(values, loc, log_scale, core_scale, cores, _lines(cores, boundary))


@functools.cache
def _gpu() -> ModuleType | None:
    """The module of the kernels for GPUs; None without Triton."""
    if importlib.util.find_spec("triton") is None:
        return None
    try:
        from googol.distributions import gpu
    except Exception as error:  # an installation may be broken in many ways
        warnings.warn(f"without the kernels for GPUs, since Triton cannot be imported: {error}", stacklevel=2)
        return None
    return gpu


def _lines(cores: Tensor, boundary: Boundary) -> int:
    return cores.shape[-1] if boundary == "ring" else 1


def _of_same_type(log_weights: Tensor, log_scale: Tensor, cores: Tensor) -> tuple[Tensor, Tensor, Tensor | float]:
    """Log-weights of the type of the cores, what is added to them, and the sum of what was taken out."""
    if log_weights.dtype == cores.dtype:
        return log_weights, log_scale, 0.0
    # What the components differ by is small beside the values, and is all that matters.
    log_weights = log_weights + log_scale.unsqueeze(1).to(log_weights.dtype)
    shift = log_weights.detach().amax(-1, keepdim=True).clamp_min(torch.finfo(cores.dtype).min)
    return (log_weights - shift).to(cores.dtype), torch.zeros_like(log_scale), shift.double().sum((0, 2))


def _segments(n: int, rows: int, m: int, *, on_device: bool) -> int:
    """How many parts of a chain are multiplied side by side: more where the rows alone are too few."""
    enough = _PRODUCTS_ON_DEVICE if on_device else _SIDE_BY_SIDE / (m * m)
    wanted = max(1, min(n, round(enough / max(1, rows))))
    return -(-n // -(-n // wanted))


def _padded_rank(rank: int) -> int:
    """Batched products of small matrices are up to 1.5 times faster on CPUs where the size is a multiple of 4."""
    return rank if rank < 8 else -(-rank // 4) * 4


def _side_by_side(log_weights: Tensor, cores: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    n, rows, components = log_weights.shape
    rank = cores.shape[-1]
    m = _padded_rank(rank)
    segments = _segments(n, rows, m, on_device=cores.is_cuda)
    length = -(-n // segments)
    if m > rank:
        cores = torch.nn.functional.pad(cores, (0, m - rank, 0, m - rank))
    if padding := segments * length - n:  # links that are the identity
        first = torch.arange(components, device=cores.device) == 0
        identity = torch.eye(m, dtype=cores.dtype, device=cores.device) * first[:, None, None]
        cores = torch.cat([cores, identity.expand(padding, -1, -1, -1)])
        log_weights = torch.cat([log_weights, log_weights.new_zeros(padding, rows, components)])
    parts = MatrixProduct.apply(
        log_weights.view(segments, length, rows, components).transpose(0, 1).contiguous(),
        cores.view(segments, length, components, m * m).transpose(0, 1).contiguous(),
        rank,
        keep,
    )
    matrix, log_scale, bound = _joined(*parts)
    return matrix[:, :rank, :rank], log_scale, bound


def _joined(parts: Tensor, log_scale: Tensor, bound: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The product of segments ``(S, B, m, m)`` with entries that sum to one."""
    while len(parts) > 1:
        even = len(parts) // 2 * 2  # the last of an odd number waits
        joined = parts[0:even:2] @ parts[1:even:2]
        if joined.requires_grad:
            joined.register_hook(saturate)
        scale = Scale(log_scale[0:even:2] + log_scale[1:even:2])
        total = scale.take(joined.detach())
        # Of a product of sum one no line has a larger sum.
        of_joined = (bound[0:even:2] + bound[1:even:2]) / total
        parts = torch.cat([joined / total[..., None, None], parts[even:]])
        log_scale = torch.cat([scale.total(of_joined), log_scale[even:]])
        bound = torch.cat([of_joined, bound[even:]])
    return parts[0], log_scale[0], bound[0]
