"""The likelihood of pixels with normal noise."""

import math
from typing import ClassVar

import torch
from torch import Tensor, distributions, nn
from torch.nn.functional import softplus

# One grey level: below it, the density measures only that images are stored in 8 bits.
MINIMUM_SCALE = 1 / 255


class Normal(nn.Module):
    r"""p(x given z) with independent normal pixels around sigmoid(decoder(z)) and one learned scale.

    .. math:: x = \operatorname{sigmoid}(\text{decoder}(z)) + \sigma \varepsilon,
        \qquad \varepsilon \sim N(0, I), \quad \sigma \ge 1 / 255

    References:
        Rybkin et al., Simple and Effective VAE Training with Calibrated Decoders, 2021,
        https://arxiv.org/abs/2006.13202, on why one learned scale is the scale to have.

    Args:
        decoder: From z to images (…, channels, height, width).
        scale: The scale σ to start from, above 1 / 255.

    Example:
        >>> import torch
        >>> from googol.likelihoods import Normal
        >>> from googol.networks import MLPDecoder
        >>> likelihood = Normal(MLPDecoder(3, (1, 8, 8)))
        >>> likelihood(torch.zeros(5, 3)).log_prob(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5])
    """

    log_bin: ClassVar[float | None] = -math.log(255)
    dequantized: ClassVar[bool] = False

    def __init__(self, decoder: nn.Module, *, scale: float = 0.1):
        super().__init__()
        if not MINIMUM_SCALE < scale < math.inf:
            raise ValueError(f"Expected scale to be a number above 1/255; got {scale}.")
        self.decoder = decoder
        above = scale - MINIMUM_SCALE
        # The inverse of softplus, log(exp(s) - 1), which does not overflow.
        self.raw_scale = nn.Parameter(torch.tensor(above + math.log(-math.expm1(-above))))

    @staticmethod
    def outputs_per_channel(*, scale: float = 0.1) -> int:
        """The channels that the decoder gives for each of the image's: 1, whatever the scale."""
        return 1

    @property
    def scale(self) -> Tensor:
        """The standard deviation of a pixel."""
        return softplus(self.raw_scale) + MINIMUM_SCALE

    def forward(self, z: Tensor) -> distributions.Independent:
        """The distribution of x, event shape (channels, height, width)."""
        loc = torch.sigmoid(self.decoder(z))
        pixels = distributions.Normal(loc, self.scale.expand_as(loc), validate_args=False)
        return distributions.Independent(pixels, 3, validate_args=False)
