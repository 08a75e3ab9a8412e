"""The likelihood in which every pixel is told by those before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from googol.networks import GatedPixelCNN
from googol.networks.layers import in_parts


class Autoregressive(nn.Module):
    r"""p(x given z) as a product over the pixels, row by row, of what a PixelCNN says of each.

    .. math:: \log p(x \mid z) = \sum_i \log p(x_i \mid x_{<i}, \text{decoder}(z))

    Without a decoder it is p(x) itself, called with nothing. The density is exact and takes one pass through the
    network; an image is drawn pixel by pixel.

    A pixel's channels are independent given the pixels before it, unless the network gives one more number for each
    pair of channels. These link the colours: the first number a of channel c, its location or logit, becomes

    .. math:: a_c + \sum_{b < c} l_{cb}\, (x_b - \tfrac12).

    A Bernoulli pixel is told by black and white ones before it: unlike under independent pixels, a grey image is no
    mixture of such images here, and is best rounded, or given to `DiscretizedLogistic` pixels.

    References:
        van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016; Gulrajani et al., PixelVAE,
        2017, https://arxiv.org/abs/1611.05013; Salimans et al., PixelCNN++, 2017, section 2.2 (linked channels);
        Tomczak & Welling, VAE with a VampPrior, 2018, "PixelHVAE".

    Args:
        network: From images and contexts to the numbers that ``pixels`` takes, and C (C − 1) / 2 links or none.
        pixels: A likelihood of independent pixels whose decoder is the identity, such as ``Bernoulli(nn.Identity())``.
        decoder: From z to contexts (…, channels, height, width) of the network; None for no z.

    Raises:
        ValueError: The network gives another number of outputs, or has a context and there is no decoder, or has none
            and there is one.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.likelihoods import Autoregressive, Bernoulli
        >>> from googol.networks import GatedPixelCNN, MLPDecoder
        >>> network = GatedPixelCNN((1, 8, 8), 1, context=2, width=4, layers=2)
        >>> likelihood = Autoregressive(network, Bernoulli(nn.Identity()), MLPDecoder(3, (2, 8, 8)))
        >>> p = likelihood(torch.zeros(5, 3))
        >>> p.log_prob(p.sample((2,))).shape
        torch.Size([2, 5])
    """

    pixels: Any

    def __init__(self, network: GatedPixelCNN, pixels: nn.Module, decoder: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.pixels, self.decoder = network, pixels, decoder
        channels, outputs = network.image_shape[0], network.outputs
        self.own = channels * self.pixels.outputs_per_channel()
        if outputs not in {self.own, self.own + links(channels)}:
            raise ValueError(
                f"network must give {self.own} outputs, or {self.own + links(channels)} with links between "
                f"channels, got {outputs}"
            )

        if (decoder is None) != (network.context == 0):
            has = "no decoder that gives it" if decoder is None else "a decoder, whose codes it would not see"
            raise ValueError(f"network has a context of {network.context} channels, and there is {has}")

    @property
    def log_bin(self) -> float | None:
        """That of the pixels."""
        found: float | None = self.pixels.log_bin
        return found

    @property
    def dequantized(self) -> bool:
        """That of the pixels."""
        return bool(self.pixels.dequantized)

    def forward(self, z: Tensor | None = None) -> AutoregressiveDistribution:
        """The distribution of x, event shape (channels, height, width)."""
        return AutoregressiveDistribution(self, None if self.decoder is None else self.decoder(z))

    def told(self, outputs: Tensor, x: Tensor) -> Any:
        """What is said of pixels (n, channels, height, width), each channel given those before it."""
        own, linked = outputs[:, : self.own], outputs[:, self.own :]
        if linked.shape[1]:
            channels = x.shape[1]
            before, after = torch.triu_indices(channels, channels, 1, device=x.device)
            shift = torch.zeros_like(x).index_add(1, after, linked * (x[:, before] - 0.5))
            own = torch.cat([own[:, :channels] + shift, own[:, channels:]], 1)
        return self.pixels(own)


def links(channels: int) -> int:
    """The pairs of channels.

    Example:
        >>> links(3)
        3
    """
    return channels * (channels - 1) // 2


class AutoregressiveDistribution(Distribution):
    """Images whose pixels are told by those before them; see `Autoregressive`. Their mean is not known."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, parts: Autoregressive, context: Tensor | None, batch_shape: Sequence[int] = ()) -> None:
        batch_shape = torch.Size(batch_shape) if context is None else context.shape[:-3]
        super().__init__(batch_shape, torch.Size(parts.network.image_shape), validate_args=False)
        self.parts, self.context = parts, context

    def expand(self, batch_shape: torch.Size | Sequence[int], _instance: None = None) -> AutoregressiveDistribution:
        """The same distribution for each of a larger batch."""
        context = None if self.context is None else self.context.expand(*batch_shape, *self.context.shape[-3:])
        return AutoregressiveDistribution(self.parts, context, batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Exact, of the broadcast shape of the batch and the images."""
        batch = torch.broadcast_shapes(self.batch_shape, value.shape[:-3])
        x, context = _flat(value, batch), None if self.context is None else _flat(self.context, batch)
        return in_parts(self._log_prob, x, context).view(batch)

    def _log_prob(self, x: Tensor, context: Tensor | None) -> Tensor:
        found: Tensor = self.parts.told(self.parts.network(x, context), x).log_prob(x)
        return found

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | Sequence[int] = ()) -> Tensor:
        """Images drawn pixel by pixel."""
        batch = torch.Size((*sample_shape, *self.batch_shape))
        context = None if self.context is None else _flat(self.context, batch)
        images = self.parts.network.generate(batch.numel(), self._pixels, context)
        return images.view(*batch, *self.event_shape)

    def _pixels(self, outputs: Tensor) -> Tensor:
        """Pixels drawn from what is said of them, channel by channel where these are linked."""
        outputs = outputs[..., None, None]
        channels = self.event_shape[0]
        drawn = outputs.new_zeros(len(outputs), channels, 1, 1)
        for channel in range(channels if outputs.shape[1] > self.parts.own else 1):
            again: Tensor = self.parts.told(outputs, drawn).sample()
            drawn[:, channel:] = again[:, channel:]
        return drawn[..., 0, 0]


def _flat(images: Tensor, batch: torch.Size) -> Tensor:
    """Images of a batch shape, expanded to another, one after the other."""
    return images.expand(*batch, *images.shape[-3:]).reshape(batch.numel(), *images.shape[-3:])
