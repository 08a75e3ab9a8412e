r"""The standard normal between two bounds, right in the far tails too.

All functions take bounds ``a < b`` in double precision, which may be infinite. An interval that reaches farther to
the right of zero than to the left is mirrored, so that its tail is on the left, where probabilities are known to all
digits.
"""

from __future__ import annotations

import math

import numpy
import torch
from torch import Tensor

_NODES = 64  # of the quadrature
_WIDE = 9.0  # beyond so many standard deviations lies less than 1e-18
_FAR = 1e10  # in place of infinity, where the derivatives of the distribution function would be NaN
_LOG_TAIL = -30.0  # below this logarithm a probability is inverted by Newton's method
_STEPS = 12


def _mirrored(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The bounds, mirrored where they reach farther to the right, and whether they do."""
    a, b = a.clamp(-_FAR, _FAR), b.clamp(-_FAR, _FAR)
    right = a + b > 0
    return torch.where(right, -b, a), torch.where(right, -a, b), right


def log_mass(a: Tensor, b: Tensor) -> Tensor:
    r""":math:`\log(\Phi(b) - \Phi(a))`.

    Example:
        >>> import torch
        >>> bounds = torch.tensor([20.0, 30.0], dtype=torch.float64)
        >>> log_mass(bounds[0], bounds[1])
        tensor(-203.9172, dtype=torch.float64)
    """
    a, b, _ = _mirrored(a, b)
    below, above = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    return above + torch.log(-torch.expm1(below - above))


def quantile(a: Tensor, b: Tensor, u: Tensor) -> Tensor:
    r"""The value below which a share u of the mass between the bounds lies.

    .. math:: \Phi^{-1}\big(\Phi(a) + u\,(\Phi(b) - \Phi(a))\big)
    """
    low, high, right = _mirrored(a, b)
    u = torch.where(right, 1 - u, u)
    below, above = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    log_p = torch.logaddexp(below + torch.log1p(-u), above + u.log())
    inner = torch.special.ndtri(log_p.clamp_min(_LOG_TAIL).exp())
    tail = _tail_quantile(log_p.clamp_max(_LOG_TAIL))
    value = torch.where(log_p > _LOG_TAIL, inner, tail).clamp(low, high)
    return torch.where(right, -value, value)


def _tail_quantile(log_p: Tensor) -> Tensor:
    """The value with this logarithm of the probability below it, far on the left."""
    x = -(-2 * log_p).sqrt()
    for _ in range(_STEPS):
        log_below = torch.special.log_ndtr(x)
        # The derivative of log Φ is the density over Φ.
        slope = (-0.5 * x.square() - 0.5 * math.log(2 * math.pi) - log_below).exp()
        x = x - (log_below - log_p) / slope
    return x


def moments(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the variance, by quadrature: in a tail, what is known of them in closed form cancels.

    Example:
        >>> import torch
        >>> mean, variance = moments(torch.tensor(1000.0).double(), torch.tensor(torch.inf).double())
        >>> round(mean.item(), 6), round(variance.item(), 10)  # nearly those of an exponential variable beyond 1000
        (1000.001, 1e-06)
    """
    low, high, right = _mirrored(a, b)
    # All but a share of exp(-40) lies between these; on the left of zero the density falls like exp(high · z).
    end = high.clamp_max(_WIDE)
    start = torch.maximum(low, torch.where(end > -4, -_WIDE, end - 40 / end.abs().clamp_min(4)))
    half = (end - start) / 2
    nodes, weights = (torch.from_numpy(x).to(half) for x in numpy.polynomial.legendre.leggauss(_NODES))
    distance = half.unsqueeze(-1) * (1 - nodes)  # from the right end
    z, highest = end.unsqueeze(-1) - distance, end.clamp_max(0).unsqueeze(-1)
    density = weights * (0.5 * (highest - z) * (highest + z)).exp()
    density = density / density.sum(-1, keepdim=True)
    away = (density * distance).sum(-1)
    variance = (density * (distance - away.unsqueeze(-1)).square()).sum(-1)
    mean = end - away
    return torch.where(right, -mean, mean), variance
