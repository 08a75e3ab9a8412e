"""Products of non-negative matrices by the logarithms of their entries, each entry right however small it is.

They take several times as long as products of the matrices themselves, and are for what these would lose: entries so
far below the largest that they vanish, and are all that counts in the end.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# An entry of a product that is smaller, of factors whose rows and columns have a largest entry of one, may have lost
# digits in double precision; it is computed again, so many numbers at a time.
_SMALL = 1e-280
_NUMBERS = 2**22


def log_sum_exp(x: Tensor, dim: int) -> Tensor:
    """``logsumexp`` whose gradient at a slice of ``-inf`` alone is zero instead of NaN."""
    peak = _finite(x.detach().amax(dim, keepdim=True))
    total = (x - peak).exp().sum(dim)
    empty = total == 0
    log_total = torch.where(empty, 1.0, total).log() + peak.squeeze(dim)
    return log_total.masked_fill(empty, -math.inf)


def log_matmul(a: Tensor, b: Tensor) -> Tensor:
    r"""``log(exp(a) @ exp(b))`` in double precision: every entry to about twelve digits.

    .. math:: c_{ij} = \log \sum_k \exp(a_{ik} + b_{kj})

    Args:
        a: Shape ``(…, I, K)``; ``-inf`` is a zero.
        b: Shape ``(…, K, J)``, broadcast as by ``torch.matmul``.

    Returns:
        Shape ``(…, I, J)``.

    Example:
        >>> a = torch.tensor([[0.0, -2000.0]])
        >>> log_matmul(a, torch.tensor([[-torch.inf, -1000.0], [-1.0, 0.0]]))
        tensor([[-2001., -1000.]], dtype=torch.float64)
    """
    a, b = a.double(), b.double()
    of_rows, of_columns = _finite(a.detach().amax(-1, keepdim=True)), _finite(b.detach().amax(-2, keepdim=True))
    product = (a - of_rows).exp() @ (b - of_columns).exp()
    small = product.detach() < _SMALL
    result = torch.where(small, 1.0, product).log() + (of_rows + of_columns)
    if not bool(small.any()):
        return result
    result = result.masked_fill(small, -math.inf)
    possible = (a > -math.inf).double() @ (b > -math.inf).double() > 0  # others are zero whatever the precision
    entries = (small & possible).nonzero()
    rows, columns = a.expand(*product.shape[:-1], -1), b.mT.expand(*product.shape[:-2], *b.mT.shape[-2:])
    for part in entries.split(max(1, _NUMBERS // a.shape[-1])):
        *batch, i, j = part.unbind(-1)
        result = result.index_put((*batch, i, j), log_sum_exp(rows[*batch, i] + columns[*batch, j], -1))
    return result


def _finite(peak: Tensor) -> Tensor:
    return torch.where(peak.isfinite(), peak, 0.0)
