"""Normal distributions whose precision is sparse: variables linked along a chain or on a grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, constraints
from torch.distributions.kl import register_kl
from torch.distributions.utils import _standard_normal
from torch.nn.functional import pad

from googol.distributions.grid_factors import BidiagonalFactor, BlockFactor, GridFactor

Structure = Literal["chain", "grid", "extended-grid"]
Trace = Literal["exact", "stochastic"]

# The most that neighbours together explain of a deviation, in `bounded`: 1 / sqrt(1 - 0.999²) = 22 is what errors of
# rounding are then multiplied by at most.
MOST_EXPLAINED = 0.999
# The largest precision between neighbours in `bounded`, in units of their excess: 8 · 100 is the condition number.
LARGEST_LINK = 100.0


class SparseNormal(Distribution):
    r"""The normal distribution N(μ, P⁻¹) of variables on a chain or grid, P sparse; no d × d matrix is formed.

    .. math::
        \log p(z) = -\tfrac12 \|L^\top (z - \mu)\|^2 + \sum_i \log L_{ii} - \tfrac d2 \log 2\pi,
        \qquad P = L L^\top, \qquad z = \mu + L^{-\top} \varepsilon

    Made by `chain`, `extended_grid`, `grid`, or `bounded` for what a network gives.

    ============== ======================================== ============================= ===================
    structure      given by                                 P links each variable with    time, memory
    ============== ======================================== ============================= ===================
    chain          L: diagonal, subdiagonal                 the one before and after      d, d
    extended grid  L: diagonal, right, below                right, below, one diagonal    d, d
    grid           P: excess of the diagonal, right, below  right and below               d · c², d · c
    ============== ======================================== ============================= ===================

    Here c is the shorter side of the grid. The exact variances, and with them the trace and the Kullback–Leibler
    divergence, take d operations on a chain and d · c² on both grids, at most quadratic in d.

    References:
        Pește & Malagò, Variational Autoencoders Endowed with Richer but Still Computationally Efficient Statistical
        Models, and Towards the use of Gaussian graphical models in variational autoencoders, ICML 2017 workshop.

    Args:
        loc: The mean μ, shape ``(…, d)``, the rows of a grid one after the other.
        factor: The factor L, whose leading dimensions broadcast with those of ``loc``.
        scale: What deviations from the mean are multiplied by, positive, shape ``(…, d)``, by default one: then P is
            :math:`S^{-1} L L^\top S^{-1}` for the diagonal matrix S of these.

    Example:
        >>> import torch
        >>> z = SparseNormal.chain(torch.zeros(3), torch.ones(3), torch.tensor([-2.0, 0.0]))
        >>> z.variance
        tensor([5., 1., 1.])
        >>> z.log_prob(z.rsample((7,))).shape
        torch.Size([7])
    """

    arg_constraints = {"loc": constraints.real_vector, "scale": constraints.independent(constraints.positive, 1)}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, loc: Tensor, factor: GridFactor, *, scale: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        variables = factor.rows * factor.columns
        if loc.dim() < 1 or loc.shape[-1] != variables:
            raise ValueError(f"Expected loc of shape (…, {variables}); got {tuple(loc.shape)}.")
        scale = loc.new_ones(()) if scale is None else scale
        batch_shape = torch.broadcast_shapes(loc.shape[:-1], scale.shape[:-1], factor.batch_shape)
        self.loc, self.scale = loc.expand(*batch_shape, -1), scale.expand(*batch_shape, variables)
        self.factor = factor
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)

    @classmethod
    def chain(
        cls, loc: Tensor, diagonal: Tensor, subdiagonal: Tensor, *, validate_args: bool | None = None
    ) -> SparseNormal:
        """From the diagonal ``(…, d)`` of L, positive, and the numbers ``(…, d - 1)`` below it."""
        if diagonal.dim() < 1 or subdiagonal.dim() < 1 or subdiagonal.shape[-1] != diagonal.shape[-1] - 1:
            raise ValueError(
                f"Expected diagonal of shape (…, d) and subdiagonal of shape (…, d - 1); "
                f"got {tuple(diagonal.shape)} and {tuple(subdiagonal.shape)}."
            )
        rows = (diagonal.unsqueeze(-2), subdiagonal.unsqueeze(-2), diagonal.new_zeros(0, diagonal.shape[-1]))
        return cls.extended_grid(loc, *rows, validate_args=validate_args)

    @classmethod
    def extended_grid(
        cls, loc: Tensor, diagonal: Tensor, right: Tensor, below: Tensor, *, validate_args: bool | None = None
    ) -> SparseNormal:
        """From the entries of L for variables ``(…, rows, columns)``, positive, and their links right and below.

        Args:
            loc: Shape ``(…, rows · columns)``.
            diagonal: Shape ``(…, rows, columns)``, positive.
            right: Shape ``(…, rows, columns - 1)``.
            below: Shape ``(…, rows - 1, columns)``.
            validate_args: Whether to check values.
        """
        _check_positive("diagonal", diagonal, validate_args)
        return cls(loc, BidiagonalFactor(diagonal, right, below), validate_args=validate_args)

    @classmethod
    def grid(
        cls, loc: Tensor, excess: Tensor, right: Tensor, below: Tensor, *, validate_args: bool | None = None
    ) -> SparseNormal:
        """From the entries of P right and below, and what its diagonal has more than the sum of their sizes.

        Args:
            loc: Shape ``(…, rows · columns)``.
            excess: Shape ``(…, rows, columns)``, positive: no variance is above its reciprocal.
            right: Shape ``(…, rows, columns - 1)``.
            below: Shape ``(…, rows - 1, columns)``.
            validate_args: Whether to check values.
        """
        _check_positive("excess", excess, validate_args)
        return cls(loc, BlockFactor(excess, right, below), validate_args=validate_args)

    @classmethod
    def bounded(
        cls, structure: Structure, loc: Tensor, scale: Tensor, *links: Tensor, validate_args: bool | None = None
    ) -> SparseNormal:
        r"""From any numbers whatever for the links: no standard deviation is above ``scale``, however long the grid.

        Independent where the links are zero. A triangular solve can grow exponentially with the length of a chain, so
        the factor of the chain and of the extended grid is written by what neighbours explain of a deviation:

        .. math::
            \frac{z_i - \mu_i}{s_i} = \alpha_i \frac{z_j - \mu_j}{s_j} + \beta_i \frac{z_k - \mu_k}{s_k}
            + \sqrt{1 - (|\alpha_i| + |\beta_i|)^2}\, \varepsilon_i, \qquad
            (\alpha_i, \beta_i) = 0.999 \frac{(r_i, b_i)}{1 + |r_i| + |b_i|},

        j to the right of i and k below. The standard deviations of a chain are exactly s. Up to the factor 0.999, every
        chain and every extended grid can be written so, if s may be as large as needed. The grid is that of
        :math:`(z - \mu) / s`, with excess 1 and links :math:`-r / (1 + |r| / 100)`.

        Args:
            structure: ``"chain"``, ``"grid"`` or ``"extended-grid"``.
            loc: Shape ``(…, rows, columns)``; a chain goes through the rows one after the other.
            scale: The scale s, positive, of the same shape.
            *links: The links to the right r and, but for a chain, below b, of the same shape, positive for a positive
                correlation; those that lead beyond the border are not used.
            validate_args: Whether to check values.
        """
        check_structure(structure)
        if len(links) != (1 if structure == "chain" else 2):
            raise ValueError(f"Expected {1 if structure == 'chain' else 2} links for {structure}; got {len(links)}.")
        # Half precision, which a network may give, is not enough for a triangular solve.
        dtype = torch.promote_types(loc.dtype, torch.float32)
        loc, scale, links = loc.to(dtype), scale.to(dtype), tuple(link.to(dtype) for link in links)
        if structure == "chain":
            loc, scale, right = (t.flatten(-2).unsqueeze(-2) for t in (loc, scale, links[0]))
            right, below = right[..., :-1], right[..., :0, :]
        else:
            right, below = links[0][..., :-1], links[1][..., :-1, :]
        factor: GridFactor
        if structure == "grid":
            right, below = (-link / (1 + link.abs() / LARGEST_LINK) for link in (right, below))
            factor = BlockFactor(torch.ones_like(scale), right, below)
            return cls(loc.flatten(-2), factor, scale=scale.flatten(-2), validate_args=validate_args)
        total = pad(right.abs(), (0, 1)) + pad(below.abs(), (0, 0, 0, 1))
        explained = MOST_EXPLAINED / (1 + total)
        rest = ((1 - explained * total) * (1 + explained * total)).sqrt()
        slope = -explained / rest
        factor = BidiagonalFactor(rest.reciprocal(), slope[..., :-1] * right, slope[..., :-1, :] * below)
        return cls(loc.flatten(-2), factor, scale=scale.flatten(-2), validate_args=validate_args)

    def expand(self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: None = None) -> SparseNormal:
        """The same distribution under a larger batch shape."""
        loc, scale = (t.expand(*batch_shape, -1) for t in (self.loc, self.scale))
        return SparseNormal(loc, self.factor, scale=scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """μ."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """μ."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The diagonal of P⁻¹, exactly: d operations on a chain, d · c² on a grid of shorter side c."""
        return self.factor.variance() * self.scale.square()

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws, shape sample_shape + batch_shape + (d,), differentiable in every parameter."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.loc + self.scale * self.factor.solve(_standard_normal(shape, self.loc.dtype, self.loc.device))

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        noise = self.factor.multiply((value - self.loc) / self.scale)
        constant = 0.5 * self._event_shape.numel() * math.log(2 * math.pi)
        return self._half_log_det - 0.5 * noise.square().sum(-1) - constant

    def entropy(self) -> Tensor:
        """The differential entropy, in nats."""
        constant = 0.5 * self._event_shape.numel() * (1 + math.log(2 * math.pi))
        return constant - self._half_log_det

    @property
    def _half_log_det(self) -> Tensor:
        """Half of log det P."""
        return self.factor.half_log_det - self.scale.log().sum(-1)

    def precision(self) -> Tensor:
        """P as a dense matrix, batch_shape + (d, d): for looking at."""
        factor = self._dense(self.factor.multiply) / self.scale.unsqueeze(-1)
        return factor @ factor.mT

    def covariance(self) -> Tensor:
        """P⁻¹ as a dense matrix, batch_shape + (d, d): for looking at."""
        inverse = self._dense(self.factor.solve) * self.scale.unsqueeze(-2)
        return inverse.mT @ inverse

    def _dense(self, apply: Callable[[Tensor], Tensor]) -> Tensor:
        """The matrix whose rows are what becomes of the unit vectors."""
        d, dims = self._event_shape.numel(), len(self.factor.batch_shape)
        identity = torch.eye(d, dtype=self.loc.dtype, device=self.loc.device).reshape(d, *(1,) * dims, d)
        return apply(identity).movedim(0, -2).expand(*self._batch_shape, d, d)

    def covariance_trace(self, method: Trace = "exact", *, samples: int = 1) -> Tensor:
        r"""tr P⁻¹, shape batch_shape.

        Args:
            method: ``"exact"``, the sum of the variances; or ``"stochastic"``, an estimate without bias, in linear time
                on a chain or extended grid: the mean of :math:`\|L^{-\top} \varepsilon\|^2` over vectors ε of random
                signs (Hutchinson's).
            samples: The number of such vectors.
        """
        if method not in get_args(Trace):
            raise ValueError(f"Expected method to be one of {', '.join(get_args(Trace))}; got {method!r}.")
        if method == "exact":
            return self.variance.sum(-1)
        if samples < 1:
            raise ValueError(f"Expected samples to be at least 1; got {samples}.")
        signs = torch.randint(2, (samples, *self._extended_shape()), device=self.loc.device).to(self.loc.dtype) * 2 - 1
        return (self.scale * self.factor.solve(signs)).square().sum(-1).mean(0)

    def kl_to_standard_normal(self, trace: Trace = "exact", *, samples: int = 1) -> Tensor:
        r"""The divergence :math:`\tfrac12 (\operatorname{tr} P^{-1} + \|\mu\|^2 - d + \log\det P)`, in nats.

        Args:
            trace: How to find the trace, as in `covariance_trace`; "stochastic" gives an estimate without bias.
            samples: The number of random vectors of the stochastic trace.
        """
        square = self.covariance_trace(trace, samples=samples) + self.loc.square().sum(-1)
        return 0.5 * (square - self._event_shape.numel()) + self._half_log_det


@register_kl(SparseNormal, Independent)
def _kl_sparse_normal_independent(p: SparseNormal, q: Independent) -> Tensor:
    """Exactly, to independent normal variables of any means and scales."""
    if not isinstance(q.base_dist, Normal) or len(q.event_shape) != 1:
        raise NotImplementedError("Expected the second distribution to be Independent(Normal(loc, scale), 1).")
    loc, scale = q.base_dist.loc, q.base_dist.scale
    square = (p.variance + (p.loc - loc).square()) / scale.square()
    return (0.5 * (square - 1) + scale.log()).sum(-1) + p._half_log_det


def check_structure(structure: str) -> None:
    """Refuses the name of no structure."""
    if structure not in get_args(Structure):
        raise ValueError(f"Expected structure to be one of {', '.join(get_args(Structure))}; got {structure!r}.")


def _check_positive(name: str, tensor: Tensor, validate_args: bool | None) -> None:
    if (Distribution._validate_args if validate_args is None else validate_args) and not (tensor > 0).all():
        raise ValueError(f"Expected {name} to be positive; got {tensor.min().item()}.")
