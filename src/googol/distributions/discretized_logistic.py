"""A logistic variable rounded to the grey levels of an image."""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import broadcast_all
from torch.nn.functional import logsigmoid


class DiscretizedLogistic(Distribution):
    r"""A logistic variable rounded to the nearest of L levels on [0, 1]; the two end levels take the tails.

    .. math::
        P(X = x) = \sigma\left(\frac{x + h - \mu}{s}\right) - \sigma\left(\frac{x - h - \mu}{s}\right),
        \qquad h = \frac{1}{2 (L - 1)},

    where the first term is 1 at x = 1 and the second is 0 at x = 0, so the L probabilities sum to one.

    References:
        Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, 2016, appendix;
        Salimans et al., PixelCNN++, 2017, section 2.1.

    Args:
        loc: The location μ, any real number; the levels lie on [0, 1].
        scale: The scale s, positive; on the same axis.
        levels: The number of levels L.

    Example:
        >>> import torch
        >>> pixel = DiscretizedLogistic(torch.tensor(0.3), torch.tensor(0.1))
        >>> x = torch.arange(256) / 255
        >>> pixel.log_prob(x).exp().sum()
        tensor(1.0000)
    """

    # Stubs of torch type these as properties.
    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    support = constraints.unit_interval

    def __init__(self, loc: Tensor, scale: Tensor, *, levels: int = 256, validate_args: bool | None = None) -> None:
        if levels < 2:
            raise ValueError(f"Expected levels to be at least 2; got {levels}.")
        self.loc, self.scale = broadcast_all(loc, scale)
        self.levels = levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(
        self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: None = None
    ) -> "DiscretizedLogistic":
        """The same distribution under a larger batch shape."""
        return DiscretizedLogistic(
            self.loc.expand(torch.Size(batch_shape)),
            self.scale.expand(torch.Size(batch_shape)),
            levels=self.levels,
            validate_args=False,
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of the level nearest to each value in [0, 1]."""
        if self._validate_args:
            self._validate_sample(value)
        level = (value * (self.levels - 1)).round() / (self.levels - 1)
        half = 0.5 / (self.levels - 1)
        upper = (level + half - self.loc) / self.scale
        lower = (level - half - self.loc) / self.scale
        # σ(u) − σ(l) = σ(u) σ(−l) (1 − exp(l − u)): no difference of nearly equal numbers, in either tail.
        below, above = logsigmoid(upper), logsigmoid(-lower)
        width = torch.log(-torch.expm1(-2 * half / self.scale))
        return torch.where(level <= 0, below, torch.where(level >= 1, above, below + above + width))

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Levels in [0, 1], shape sample_shape + batch_shape."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            # The logarithm of a ratio of two exponentials is logistic; a uniform's logit can be infinite.
            noise = self.loc.new_empty((2, *shape)).exponential_().log()
            value = self.loc + self.scale * (noise[0] - noise[1])
            return (value * (self.levels - 1)).round().clamp(0, self.levels - 1) / (self.levels - 1)

    @property
    def mean(self) -> Tensor:
        """E[X], exactly: the probabilities P(X > level), summed over the levels, times their distance."""
        total = torch.zeros_like(self.loc)
        for level in range(self.levels - 1):
            total = total + torch.sigmoid((self.loc - (level + 0.5) / (self.levels - 1)) / self.scale)
        return total / (self.levels - 1)

    @property
    def variance(self) -> Tensor:
        """E[X²] − E[X]², exactly."""
        total = torch.zeros_like(self.loc)
        for level in range(self.levels - 1):
            tail = torch.sigmoid((self.loc - (level + 0.5) / (self.levels - 1)) / self.scale)
            total = total + (2 * level + 1) * tail
        return (total / (self.levels - 1) ** 2 - self.mean.square()).clamp_min(0)
