"""The convolutional generator and critic of adversarial models: nothing but strided convolutions between two sizes."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from googol.networks.layers import ConvolutionalDecoder, ConvolutionalEncoder, check_at_least_one, check_image_shape

# Images are halved as long as their shorter side is longer than this.
SMALLEST = 7
# What is passed of negative signals in the critic.
LEAK = 0.2
_SPREAD = 0.02


def _sizes(image_shape: Sequence[int]) -> list[tuple[int, int]]:
    """Height and width of an image, and after each halving."""
    sizes = [(image_shape[1], image_shape[2])]
    while min(sizes[-1]) > SMALLEST:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def _widths(count: int, width: int) -> list[int]:
    """Channels after each of the halvings: as many again each time."""
    return [width << level for level in range(count)]


class DCGANEncoder(ConvolutionalEncoder):
    r"""Convolutions that halve the image and double the channels, and one linear layer: the critic of a DCGAN.

    Images of 28 pixels become 7 × 7 in two steps, of 32 pixels 4 × 4 in three, of 64 pixels 4 × 4 in four. There is no
    normalization over the batch, with which the penalty of a WGAN-GP on each image's gradient would be undefined.

    References:
        Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks,
        2016, section 3.

    Args:
        image_shape: (channels, height, width) of the images, sides of at least 8.
        outputs: Length of the vector made of each image.
        width: Channels after the first convolution.

    Raises:
        ValueError: The images are smaller, or a number is less than 1.

    Example:
        >>> import torch
        >>> from googol.networks import DCGANEncoder
        >>> DCGANEncoder((3, 64, 64), 1, width=8)(torch.zeros(5, 2, 3, 64, 64)).shape
        torch.Size([5, 2, 1])
    """

    def __init__(self, image_shape: Sequence[int], outputs: int, *, width: int = 64):
        super().__init__()
        check_at_least_one(outputs=outputs, width=width)
        self.image_shape = check_image_shape(image_shape, at_least=8)
        sizes = _sizes(self.image_shape)
        channels = [self.image_shape[0], *_widths(len(sizes) - 1, width)]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(LEAK)]
        layers += [nn.Flatten(), nn.Linear(channels[-1] * math.prod(sizes[-1]), outputs)]
        self.layers = _started(nn.Sequential(*layers))


class DCGANDecoder(ConvolutionalDecoder):
    """One linear layer and transposed convolutions with batch normalization: the generator of a DCGAN.

    References:
        Radford et al., 2016, section 3 and figure 1.

    Args:
        latents: Length of the vectors.
        image_shape: (channels, height, width) of what is made of each vector, sides of at least 8.
        width: Channels before the last convolution.

    Raises:
        ValueError: The images are smaller, or a number is less than 1.

    Example:
        >>> import torch
        >>> from googol.networks import DCGANDecoder
        >>> DCGANDecoder(10, (1, 28, 28), width=8)(torch.zeros(5, 10)).shape
        torch.Size([5, 1, 28, 28])
    """

    def __init__(self, latents: int, image_shape: Sequence[int], *, width: int = 64):
        super().__init__()
        check_at_least_one(latents=latents, width=width)
        self.latents = latents
        self.image_shape = check_image_shape(image_shape, at_least=8)
        sizes = _sizes(self.image_shape)[::-1]
        channels = [*_widths(len(sizes) - 1, width)[::-1], self.image_shape[0]]
        smallest = (channels[0], *sizes[0])
        layers: list[nn.Module] = [nn.Linear(latents, math.prod(smallest)), nn.Unflatten(1, smallest)]
        for before, after, (height, breadth) in zip(channels[:-1], channels[1:], sizes[1:], strict=True):
            odd = (height % 2, breadth % 2)  # what halving it left out
            layers += [nn.BatchNorm2d(before), nn.ReLU()]
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, output_padding=odd)]
        self.layers = _started(nn.Sequential(*layers))


def _started(layers: nn.Sequential) -> nn.Sequential:
    """The layers with small normal weights, with the channels next to each other in memory, which is faster."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=_SPREAD)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
