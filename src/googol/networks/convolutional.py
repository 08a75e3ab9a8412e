"""The convolutional pair of networks: eight layers from an image to a vector, and eight layers back."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from googol.networks.layers import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    check_at_least_one,
    check_image_shape,
    scaled,
)

# Features between the two fully connected layers.
HIDDEN = 256


def _sizes(image_shape: Sequence[int]) -> list[tuple[int, int]]:
    """Height and width of an image before and after each of the three halvings."""
    _, height, width = image_shape
    return [(height >> level, width >> level) for level in range(4)]


def _outer(width: int) -> int:
    """Channels at the highest resolution: a quarter, for there an image costs the most."""
    return max(1, width // 4)


class _Images(nn.Unflatten):
    """Vectors to images with the channels next to each other in memory, on which convolutions are faster."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).contiguous(memory_format=torch.channels_last)


class ConvEncoder(ConvolutionalEncoder):
    r"""Six convolutions followed by two fully connected layers, with SiLU between them.

    Every second convolution halves the image, so the cost falls early. There is no normalization over the
    batch: what an image gives never depends on its neighbours.

    References:
        Kuznetsov et al., Subset-Conditioned Generation Using Variational Autoencoder With A Learnable
        Tensor-Train Induced Prior (2018), section 6.1: "8-layer convolutional
        network (6 convolutional layers followed by 2 fully connected layers) for the encoder and a symmetric
        architecture with deconvolutions for the decoder".

    Args:
        image_shape: (channels, height, width) of the images, sides of at least 8.
        outputs: Length of the vector made of each image.
        width: Channels of the last four convolutions; the first two, on larger images, have a quarter.

    Raises:
        ValueError: The images are smaller, or a number is less than 1.

    Example:
        >>> import torch
        >>> from googol.networks import ConvEncoder
        >>> encoder = ConvEncoder((1, 28, 28), 10)
        >>> encoder(torch.zeros(5, 2, 1, 28, 28)).shape
        torch.Size([5, 2, 10])
    """

    def __init__(self, image_shape: Sequence[int], outputs: int, *, width: int = 64):
        super().__init__()
        check_at_least_one(outputs=outputs, width=width)
        self.image_shape = check_image_shape(image_shape, at_least=8)
        channels = [self.image_shape[0], _outer(width), width, width]
        height, breadth = _sizes(self.image_shape)[-1]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [scaled(nn.Conv2d(before, after, 4, stride=2, padding=1)), nn.SiLU()]
            layers += [scaled(nn.Conv2d(after, after, 3, padding=1)), nn.SiLU()]
        layers += [nn.Flatten(), scaled(nn.Linear(channels[-1] * height * breadth, HIDDEN)), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(HIDDEN, outputs)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class ConvDecoder(ConvolutionalDecoder):
    r"""Two fully connected layers followed by six transposed convolutions: the mirror image of `ConvEncoder`.

    References:
        Kuznetsov et al., Subset-Conditioned Generation Using Variational Autoencoder With A Learnable
        Tensor-Train Induced Prior (2018), section 6.1.

    Args:
        latents: Length of the vectors.
        image_shape: (channels, height, width) of what is made of each vector, sides of at least 8.
            The channels are those of the image times what the likelihood needs for each of them.
        width: Channels of the first four layers of images; the next, on the largest, have a quarter.

    Raises:
        ValueError: The images are smaller, or a number is less than 1.

    Example:
        >>> import torch
        >>> from googol.networks import ConvDecoder
        >>> decoder = ConvDecoder(10, (2, 28, 20))
        >>> decoder(torch.zeros(5, 3, 10)).shape
        torch.Size([5, 3, 2, 28, 20])
    """

    def __init__(self, latents: int, image_shape: Sequence[int], *, width: int = 64):
        super().__init__()
        check_at_least_one(latents=latents, width=width)
        self.latents = latents
        self.image_shape = check_image_shape(image_shape, at_least=8)
        channels = [width, width, _outer(width), self.image_shape[0]]
        sizes = _sizes(self.image_shape)[::-1]
        smallest = (channels[0], *sizes[0])
        layers: list[nn.Module] = [scaled(nn.Linear(latents, HIDDEN)), nn.SiLU()]
        layers += [
            scaled(nn.Linear(HIDDEN, smallest[0] * smallest[1] * smallest[2])),
            _Images(1, smallest),
        ]
        for before, after, (height, breadth) in zip(channels[:-1], channels[1:], sizes[1:], strict=True):
            # An odd size lost its last row or column when it was halved, and gets it back here.
            odd = (height % 2, breadth % 2)
            layers += [nn.SiLU(), scaled(nn.ConvTranspose2d(before, before, 3, padding=1)), nn.SiLU()]
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, output_padding=odd)]
        for layer in layers[:-1]:
            if isinstance(layer, nn.ConvTranspose2d):
                scaled(layer)
        self.layers = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
