"""The likelihood of pixels with 256 levels."""

from typing import ClassVar

import torch
from torch import Tensor, distributions, nn
from torch.nn.functional import softplus

from googol.distributions import discretized_logistic

# A quarter of a grey level: all but 2e-4 of the probability is then on one level.
MINIMUM_SCALE = 1e-3


class DiscretizedLogistic(nn.Module):
    r"""p(x given z) with independent pixels, logistic variables rounded to 256 levels on [0, 1].

    .. math:: (a, b) = \text{decoder}(z), \qquad \mu = a + \tfrac12, \quad s = \log(1 + e^{b - 2}) + 10^{-3}

    A probability, not a density: −log2 p(x given z) / (channels · height · width) are bits per dimension.

    Args:
        decoder: From z to (…, 2 · channels, height, width), all locations before all scales.

    Example:
        >>> import torch
        >>> from googol.likelihoods import DiscretizedLogistic
        >>> from googol.networks import MLPDecoder
        >>> likelihood = DiscretizedLogistic(MLPDecoder(3, (2, 8, 8)))
        >>> likelihood(torch.zeros(5, 3)).log_prob(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5])
    """

    log_bin: ClassVar[float | None] = 0.0
    dequantized: ClassVar[bool] = False

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    @staticmethod
    def outputs_per_channel() -> int:
        """The channels that the decoder gives for each of the image's: 2."""
        return 2

    def forward(self, z: Tensor) -> distributions.Independent:
        """The distribution of x, event shape (channels, height, width).

        Raises:
            ValueError: If the decoder gives an odd number of channels.
        """
        outputs = self.decoder(z)
        if outputs.shape[-3] % 2:
            raise ValueError(f"Expected decoder to give 2 * channels; got {outputs.shape[-3]} channels.")
        a, b = torch.chunk(outputs, 2, dim=-3)
        pixels = discretized_logistic.DiscretizedLogistic(a + 0.5, softplus(b - 2) + MINIMUM_SCALE, validate_args=False)
        return distributions.Independent(pixels, 3, validate_args=False)
