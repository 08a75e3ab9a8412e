"""The von Mises-Fisher distribution: a normal distribution's likeness on the sphere.

All that is needed of it lies in its density over one number, the angle θ from the location: the normaliser, the
moments of cos θ, and how θ moves with the concentration. Each is an integral of the same smooth function over a window
around its mode, so one quadrature does them all, at any dimension and concentration, and no Bessel function is called.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl

from googol.distributions.hypersphere import HypersphericalUniform, log_area, random_directions, unit_sphere
from googol.distributions.once import once_differentiable

_NODES = 64
# The window in standard deviations of the angle at its mode. Towards the pole the density falls at least as fast as
# the normal one; away from it, its tail can be wider by a factor of up to π / √2.
_BELOW, _ABOVE = 9.0, 20.0


class VonMisesFisher(Distribution):
    r"""The von Mises-Fisher distribution on the unit sphere in d dimensions, d ≥ 2.

    .. math::
        p(z \mid \mu, \kappa) = \frac{\kappa^{d/2 - 1}}{(2 \pi)^{d/2} I_{d/2 - 1}(\kappa)} \exp(\kappa \mu^\top z),
        \qquad \lVert z \rVert = 1,

    a density with respect to the area of the sphere; κ = 0 is the uniform distribution.

    Samples are exact: Wood's rejection sampler gives the angle from μ, a reflection turns it to μ. ``rsample`` has
    the exact gradient in both parameters: that of the angle is implicit,
    :math:`d\theta / d\kappa = -\partial_\kappa F(\theta; \kappa) / f(\theta; \kappa)` with the distribution function
    F and the density f, so no correction for the sampler's rejections is left out.

    References:
        Davidson et al., Hyperspherical Variational Auto-Encoders, 2018, https://arxiv.org/abs/1804.00891;
        Wood, Simulation of the von Mises Fisher Distribution, 1994;
        Figurnov et al., Implicit Reparameterization Gradients, 2018, equation 5.

    Args:
        loc: The direction μ, shape (…, d), of length one.
        concentration: κ, shape (…), not negative.

    Raises:
        ValueError: If ``loc`` has fewer than 2 dimensions or is not of length one, or ``concentration`` is negative.

    Example:
        >>> import torch
        >>> from googol.distributions import VonMisesFisher
        >>> direction = VonMisesFisher(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(10.0))
        >>> direction.mean
        tensor([0.0000, 0.0000, 0.9000])
        >>> direction.rsample((5,)).shape
        torch.Size([5, 3])
    """

    arg_constraints = {"loc": unit_sphere, "concentration": constraints.nonnegative}  # noqa: RUF012
    support = unit_sphere
    has_rsample = True

    def __init__(self, loc: Tensor, concentration: Tensor, *, validate_args: bool | None = None) -> None:
        if loc.dim() < 1 or loc.shape[-1] < 2:
            raise ValueError(f"Expected loc to be vectors of at least 2 numbers; got shape {tuple(loc.shape)}.")
        batch_shape = torch.broadcast_shapes(loc.shape[:-1], concentration.shape)
        self.loc = loc.expand(*batch_shape, -1)
        self.concentration = concentration.expand(batch_shape)
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: None = None) -> VonMisesFisher:
        """The same distribution under a larger batch shape."""
        shape = torch.Size(batch_shape)
        return VonMisesFisher(self.loc.expand(*shape, -1), self.concentration.expand(shape), validate_args=False)

    @property
    def _angle(self) -> _Angle:
        return _Angle.of(self.concentration, self.event_shape[0])

    @property
    def mode(self) -> Tensor:
        """The direction μ."""
        return self.loc

    @property
    def mean(self) -> Tensor:
        """A μ with the mean resultant length A = E[cos θ], inside the sphere."""
        return (1 - self._angle.gap).unsqueeze(-1) * self.loc

    @property
    def variance(self) -> Tensor:
        """Of every coordinate."""
        along, angle = self.loc.square(), self._angle
        across = angle.sine_square.unsqueeze(-1) / (self.event_shape[0] - 1)
        return angle.cosine_variance.unsqueeze(-1) * along + across * (1 - along)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density at points of the sphere, shape (…, d), in nats."""
        if self._validate_args:
            self._validate_sample(value)
        # cos θ − 1 without the difference of nearly equal numbers, which a large κ would magnify.
        gap = 0.5 * (value - self.loc).square().sum(-1)
        return -self.concentration * gap - self._angle.log_mean - log_area(self.event_shape[0])

    def entropy(self) -> Tensor:
        """In nats."""
        return log_area(self.event_shape[0]) - self._divergence_from_uniform()

    def _divergence_from_uniform(self) -> Tensor:
        angle = self._angle
        return -self.concentration * angle.gap - angle.log_mean

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Points of the sphere, shape sample_shape + batch_shape + (d,), differentiable in both parameters."""
        *shape, dim = self._extended_shape(torch.Size(sample_shape))
        concentration = self.concentration.expand(shape)
        angle = _sample_angle(concentration.detach(), dim)
        if concentration.requires_grad:
            angle = _ImplicitAngle.apply(angle, concentration, self._angle.gap.detach().expand(shape), dim)
        across = random_directions((*shape, dim - 1), dtype=self.loc.dtype, device=self.loc.device)
        # The reflection that takes the first axis to ±μ, with the sign that keeps it away from 0 / 0, turns the
        # directions across the first axis to those across μ.
        first, rest = self.loc[..., :1], self.loc[..., 1:]
        shared = (rest * across).sum(-1, keepdim=True)
        sign = torch.where(first < 0, -1.0, 1.0).to(first)
        turned = torch.cat([-sign * shared, across - rest * (shared / (1 + first.abs()))], -1)
        return angle.cos().unsqueeze(-1) * self.loc + angle.sin().unsqueeze(-1) * turned


@register_kl(VonMisesFisher, HypersphericalUniform)
def _kl_to_uniform(p: VonMisesFisher, q: HypersphericalUniform) -> Tensor:
    """KL divergence in closed form, Davidson et al., 2018, equation 14."""
    if p.event_shape != q.event_shape:
        raise ValueError(f"Expected both distributions on one sphere; got {p.event_shape[0]}, {q.event_shape[0]} dims.")
    return p._divergence_from_uniform().expand(torch.broadcast_shapes(p.batch_shape, q.batch_shape))


class _Angle(NamedTuple):
    """What is known of the angle θ from the location, for each concentration; differentiable in it."""

    log_mean: Tensor  # log E[exp(κ (cos θ − 1))] under the uniform distribution
    gap: Tensor  # E[1 − cos θ] under the von Mises-Fisher distribution, as below
    sine_square: Tensor  # E[sin² θ]
    cosine_variance: Tensor  # Var[cos θ]

    @classmethod
    def of(cls, concentration: Tensor, dim: int) -> _Angle:
        kappa = concentration.detach()
        mode, width = _mode_and_width(kappa, dim)
        theta, log_weight = _quadrature(mode - _BELOW * width, mode + _ABOVE * width)
        # The mode and the nodes may stay fixed under the derivative: the integral is exact wherever they lie.
        mode, kappa = mode.unsqueeze(-1), concentration.unsqueeze(-1)
        log_terms = log_weight + _log_ratio(theta, mode, kappa, dim)
        log_area_across = math.lgamma((dim - 1) / 2) + 0.5 * math.log(math.pi) - math.lgamma(dim / 2)
        log_mode = torch.xlogy(dim - 2, mode.sin()) - 2 * kappa * (mode / 2).sin().square()
        log_mean = log_terms.logsumexp(-1) + log_mode.squeeze(-1) - log_area_across
        weight = log_terms.softmax(-1)
        gaps = 2 * (theta / 2).sin().square()
        gap = (weight * gaps).sum(-1)
        variance = (weight * (gaps - gap.unsqueeze(-1)).square()).sum(-1)
        return cls(log_mean, gap, (weight * theta.sin().square()).sum(-1), variance)


def _mode_and_width(kappa: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Where the density of the angle, sin^(d−2) θ exp(κ cos θ), is largest, and 1 / √ of its log's curvature there."""
    kappa = kappa.clamp_min(torch.finfo(kappa.dtype).tiny)
    across = float(dim - 2)
    root = torch.hypot(2 * kappa, torch.full_like(kappa, across))
    gap = across * (1 + across / (root + 2 * kappa)) / (across + root)  # 1 − cos θ
    mode = 2 * (gap / 2).sqrt().asin()
    # sin² θ = gap · (2 − gap); at d = 2 both it and what it divides are zero.
    curvature = kappa * (1 - gap) + (across / (gap * (2 - gap)) if dim > 2 else 0.0)
    return mode, curvature.rsqrt()


def _log_ratio(theta: Tensor, reference: Tensor, kappa: Tensor, dim: int) -> Tensor:
    """The log of the angle's density at θ over that at another angle."""
    half_sum, half_difference = (theta + reference) / 2, (theta - reference) / 2
    across = torch.xlogy(dim - 2, theta.sin() / reference.sin())
    return across - 2 * kappa * half_sum.sin() * half_difference.sin()


@functools.cache
def _gauss_legendre(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and log-weights on (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    with torch.inference_mode(False):  # They are kept, and may be asked for next where gradients are wanted.
        table = torch.from_numpy(np.stack([(nodes + 1) / 2, np.log(weights / 2)])).to(device, dtype)
        return table[0], table[1]


def _quadrature(start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Angles between two others, those cut to (0, π), and log-weights of the integral; a dimension more at the end."""
    start, end = _inside(start).unsqueeze(-1), _inside(end).unsqueeze(-1)
    nodes, log_weights = _gauss_legendre(start.dtype, start.device)
    return start + (end - start) * nodes, (end - start).log() + log_weights


def _inside(theta: Tensor) -> Tensor:
    """Angles cut to (0, π), whose sines are positive."""
    limits = torch.finfo(theta.dtype)
    return theta.clamp(limits.tiny, math.pi - 8 * limits.eps)


def _sample_angle(kappa: Tensor, dim: int) -> Tensor:
    """Draws of the angle, by rejection (Wood, 1994), in terms that stay exact where the angle is small."""
    flat = kappa.reshape(-1)
    shape = (dim - 1) / 2
    b = 2 * shape / (2 * flat + torch.hypot(2 * flat, torch.full_like(flat, 2 * shape)))
    angle = torch.empty_like(flat)
    pending = torch.arange(len(flat), device=flat.device)
    while len(pending):
        rate, k = b[pending], flat[pending]
        gamma = torch._standard_gamma(torch.full((2, len(pending)), shape, dtype=flat.dtype, device=flat.device))
        # With ε = γ₀ / (γ₀ + γ₁) ~ Beta, Wood's cos θ = (1 − (1 + b) ε) / (1 − (1 − b) ε).
        drawn = 2 * (rate * gamma[0] / gamma[1]).sqrt().atan()
        odds = gamma[0] / (gamma[1] + rate * gamma[0])  # (1 − cos θ) / 2b
        log_accept = 2 * k * rate * (1 / (1 + rate) - odds)
        log_accept = log_accept + 2 * shape * (((1 + rate) / 2).log() + ((1 - rate) * odds).log1p())
        # Not "≤": what is not a number stays so, instead of being drawn for ever.
        accepted = ~(torch.rand_like(rate).log() > log_accept)
        angle[pending[accepted]] = drawn[accepted]
        pending = pending[~accepted]
    return _inside(angle).view(kappa.shape)


class _ImplicitAngle(torch.autograd.Function):
    """A drawn angle, with its derivative in the concentration."""

    @staticmethod
    def forward(ctx: Any, angle: Tensor, kappa: Tensor, gap: Tensor, dim: int) -> Tensor:
        ctx.save_for_backward(angle, kappa, gap)
        ctx.dim = dim
        return angle.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None, None]:
        angle, kappa, gap = ctx.saved_tensors
        # −∂F/∂κ / f = −∫ (cos t − E cos t) f(t) dt / f(θ) over t < θ, or the same over t > θ, as both sum to
        # zero; on the side away from the mode the ratio of densities is at most one.
        mode, width = _mode_and_width(kappa, ctx.dim)
        start = torch.where(angle < mode, angle - _BELOW * width, angle)
        end = torch.where(angle < mode, angle, angle + _ABOVE * width)
        theta, log_weight = _quadrature(start, end)
        ratio = (log_weight + _log_ratio(theta, angle.unsqueeze(-1), kappa.unsqueeze(-1), ctx.dim)).exp()
        excess = gap.unsqueeze(-1) - 2 * (theta / 2).sin().square()  # cos t − E cos t
        integral = (ratio * excess).sum(-1)
        return None, grad * torch.where(angle < mode, -integral, integral), None, None
