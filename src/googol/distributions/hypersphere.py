"""The unit sphere in d dimensions: the constraint, and the distribution that is the same everywhere on it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import normalize


class _UnitSphere(constraints.Constraint):
    """Vectors of length one, up to rounding in single precision."""

    is_discrete = False
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (torch.linalg.vector_norm(value, dim=-1) - 1).abs() < 1e-4


unit_sphere = _UnitSphere()


def require_same_space(prior: object, posterior: object) -> None:
    """Raises a ValueError if one of two parts has codes on the unit sphere, as its ``support`` says, the other not."""
    if getattr(prior, "support", None) is not getattr(posterior, "support", None):
        raise ValueError(
            "expected prior and posterior on the same space, but one of them is on the unit sphere: "
            f"got {type(prior).__name__} and {type(posterior).__name__}"
        )


def log_area(dim: int) -> float:
    r"""The logarithm of :math:`2 \pi^{d/2} / \Gamma(d/2)`, the area of the unit sphere in d dimensions."""
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


def random_directions(
    shape: torch.Size | tuple[int, ...], *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Vectors of length one along the last dimension, uniformly distributed."""
    noise = torch.randn(shape, dtype=dtype, device=device)
    # A zero has no direction, and generators can give one.
    return normalize(noise + (noise == 0), dim=-1, eps=0.0)


class HypersphericalUniform(Distribution):
    r"""The uniform distribution on the unit sphere in d dimensions.

    .. math:: p(z) = \frac{\Gamma(d/2)}{2 \pi^{d/2}}, \qquad \lVert z \rVert = 1,

    a density with respect to the area of the sphere.

    References:
        Davidson et al., Hyperspherical Variational Auto-Encoders, 2018, section 3.2,
        https://arxiv.org/abs/1804.00891.

    Args:
        dim: The number of dimensions d of the space around the sphere, at least 2.
        batch_shape: The shape of independent copies.
        dtype: The precision of samples.
        device: Where samples lie.

    Raises:
        ValueError: If ``dim`` is less than 2.

    Example:
        >>> from googol.distributions import HypersphericalUniform
        >>> uniform = HypersphericalUniform(3)
        >>> uniform.log_prob(uniform.sample((2,))).exp()  # 1 / 4π
        tensor([0.0796, 0.0796])
    """

    arg_constraints = {}  # noqa: RUF012
    support = unit_sphere
    has_rsample = True

    def __init__(
        self,
        dim: int,
        batch_shape: torch.Size | tuple[int, ...] = (),
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be at least 2; got {dim}.")
        self._factory: dict[str, Any] = {"dtype": dtype, "device": device}
        super().__init__(torch.Size(batch_shape), torch.Size([dim]), validate_args=validate_args)

    def expand(
        self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: None = None
    ) -> HypersphericalUniform:
        """The same distribution under a larger batch shape."""
        return HypersphericalUniform(self.event_shape[0], tuple(batch_shape), **self._factory, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density at points of the sphere, shape (…, d), in nats."""
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return value.new_full(shape, -log_area(self.event_shape[0]))

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Points of the sphere, shape sample_shape + batch_shape + (d,); there is nothing to differentiate in."""
        return random_directions(self._extended_shape(torch.Size(sample_shape)), **self._factory)

    def entropy(self) -> Tensor:
        """The logarithm of the area."""
        return torch.full(self.batch_shape, log_area(self.event_shape[0]), **self._factory)

    @property
    def mean(self) -> Tensor:
        """Zero, which does not lie on the sphere."""
        return torch.zeros(self._extended_shape(), **self._factory)

    @property
    def variance(self) -> Tensor:
        """1 / d of every coordinate."""
        return torch.full(self._extended_shape(), 1 / self.event_shape[0], **self._factory)
