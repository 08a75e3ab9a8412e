"""The likelihood of black and white pixels."""

from typing import ClassVar

from torch import Tensor, distributions, nn


class Bernoulli(nn.Module):
    r"""p(x given z) with independent pixels, white with probability sigmoid(decoder(z)).

    .. math:: \log p(x \mid z) = \sum_i x_i \log \pi_i + (1 - x_i) \log(1 - \pi_i)

    A grey value x in [0, 1] is allowed: by linearity, the cross-entropy is then the expected log-probability
    of an image whose pixels are drawn white with probability x. It is no log-density of x itself.

    Args:
        decoder: From z to logits (…, channels, height, width).

    Example:
        >>> import torch
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.networks import MLPDecoder
        >>> likelihood = Bernoulli(MLPDecoder(3, (1, 8, 8)))
        >>> likelihood(torch.zeros(5, 3)).log_prob(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5])
    """

    log_bin: ClassVar[float | None] = None
    dequantized: ClassVar[bool] = False

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    @staticmethod
    def outputs_per_channel() -> int:
        """The channels that the decoder gives for each of the image's: 1."""
        return 1

    def forward(self, z: Tensor) -> distributions.Independent:
        """The distribution of x, event shape (channels, height, width)."""
        pixels = distributions.Bernoulli(logits=self.decoder(z), validate_args=False)
        return distributions.Independent(pixels, 3, validate_args=False)
