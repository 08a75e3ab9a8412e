"""Values between 0 and 1 whose logits are normal, correlated in any way."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import _sum_rightmost

# Nodes of the quadrature of the mean, and how many deviations they reach: the mean is off by 2e-5 at most for logits of
# a deviation up to 5, and by half a grey level at 10. Gauss and Hermite's 32 nodes are 40 and 7 times as far off.
NODES = 32
REACH = 5.5


class _OpenUnitInterval(constraints.Constraint):
    """Numbers above 0 and below 1."""

    def check(self, value: Tensor) -> Tensor:
        return (value > 0) & (value < 1)


class LogitNormal(Distribution):
    r"""The multivariate logit-normal distribution: x in (0, 1) with logits from a normal distribution.

    .. math:: \log p(x) = \log N\left(\log \frac{x}{1 - x}\right) - \sum_i \log x_i (1 - x_i)

    At 0 and 1 the density is zero. Draws that would be rounded to 0 or 1 become the numbers next to them.

    References:
        Pește & Malagò, Variational Autoencoders Endowed with Richer but Still Computationally Efficient Statistical
        Models, "Graphical Models for the Observed Variable".

    Args:
        normal: The distribution of the logits, with a density over all of its event and a variance.
        event_shape: The shape of x, with as many elements as an event of ``normal``; by default the same.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> pixels = LogitNormal(Independent(Normal(torch.zeros(4), torch.ones(4)), 1), event_shape=(2, 2))
        >>> pixels.log_prob(torch.full((2, 2), 0.5))
        tensor(1.8694)
        >>> pixels.mean[0]
        tensor([0.5000, 0.5000])
    """

    arg_constraints = {}  # noqa: RUF012
    has_rsample = True

    def __init__(
        self,
        normal: Distribution,
        event_shape: torch.Size | tuple[int, ...] | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        event_shape = normal.event_shape if event_shape is None else torch.Size(event_shape)
        if event_shape.numel() != normal.event_shape.numel():
            raise ValueError(
                f"Expected event_shape to have {normal.event_shape.numel()} elements, as normal's; got {event_shape}."
            )
        self.normal = normal
        super().__init__(normal.batch_shape, event_shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> constraints.Constraint:
        return constraints.independent(_OpenUnitInterval(), len(self.event_shape))

    def expand(self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: None = None) -> LogitNormal:
        """The same distribution under a larger batch shape."""
        return LogitNormal(self.normal.expand(torch.Size(batch_shape)), self.event_shape, validate_args=False)

    def _logits(self, value: Tensor) -> Tensor:
        """In the shape of the normal's events."""
        return value.reshape(*value.shape[: value.dim() - len(self.event_shape)], *self.normal.event_shape)

    def _values(self, logits: Tensor) -> Tensor:
        """In the shape of events."""
        leading = logits.dim() - len(self.normal.event_shape)
        return logits.reshape(*logits.shape[:leading], *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density in the space of x, in nats.

        Raises:
            ValueError: If arguments are validated and a value is not strictly between 0 and 1.
        """
        if self._validate_args:
            if not ((value > 0) & (value < 1)).all():
                raise ValueError(
                    "Expected x strictly between 0 and 1, such as dequantized pixels (255 x + u) / 256 with 0 < u < 1; "
                    f"got values from {value.min().item()} to {value.max().item()}."
                )
            self._validate_sample(value)
        outside = (value <= 0) | (value >= 1)
        # No infinite logit may get into a gradient.
        x = torch.where(outside, 0.5, value)
        log_x, log_rest = x.log(), torch.log1p(-x)
        volume = torch.where(outside, torch.inf, log_x + log_rest)
        return self.normal.log_prob(self._logits(log_x - log_rest)) - _sum_rightmost(volume, len(self.event_shape))

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws, shape sample_shape + batch_shape + event_shape."""
        values = torch.sigmoid(self._values(self.normal.rsample(torch.Size(sample_shape))))
        limits = torch.finfo(values.dtype)
        return values.clamp(limits.tiny, 1 - limits.eps / 2)

    @property
    def mean(self) -> Tensor:
        r"""E[x], which has no closed form, by the trapezoidal rule from the mean and variance of each logit.

        The rule converges exponentially for smooth integrands that vanish at the ends, and faster than Gauss and
        Hermite's where the sigmoid is steep beside the scale.
        """
        loc, scale = self._values(self.normal.mean), self._values(self.normal.variance).sqrt()
        nodes = [REACH * (2 * i / (NODES - 1) - 1) for i in range(NODES)]
        weights = [math.exp(-0.5 * node**2) for node in nodes]
        total = torch.zeros_like(loc)
        for node, weight in zip(nodes, weights, strict=True):
            total = total + weight / sum(weights) * torch.sigmoid(loc + node * scale)
        return total
