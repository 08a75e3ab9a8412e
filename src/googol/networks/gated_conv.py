"""Gated convolutions from an image to features, and from codes to an image."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from googol.networks.joined import JoinedMLP
from googol.networks.layers import check_at_least_one, check_image_shape, check_trailing, in_parts, scaled

# Channels of the last convolution, which leave some 300 features of an image of 28 × 28.
LAST = 6


def _gated(before: int, after: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(before, 2 * after, kernel, stride=stride, padding=kernel // 2)
    return [scaled(layer, "gated"), nn.GLU(1)]


class GatedConvFeatures(nn.Module):
    r"""Five gated convolutions, two of which halve the image.

    .. math:: (W * h + b) \odot \operatorname{sigmoid}(V * h + c)

    References:
        Tomczak & Welling, VAE with a VampPrior, 2018, section 4.1 and the published code: kernels of 7, 3, 5, 3, 3 for
        q of the top layer, and of 3 for the one below.

    Args:
        image_shape: (channels, height, width) of the images, sides of at least 4.
        width: Channels of the third and fourth convolution; the first two have half, the last 6.
        kernels: Sizes of the five kernels, odd.

    Raises:
        ValueError: The images are smaller, a number is less than 1, or the kernels are others.

    Example:
        >>> import torch
        >>> from googol.networks import GatedConvFeatures
        >>> network = GatedConvFeatures((1, 28, 28))
        >>> network.features, network(torch.zeros(5, 1, 28, 28)).shape
        (294, torch.Size([5, 294]))
    """

    def __init__(
        self, image_shape: Sequence[int], *, width: int = 64, kernels: Sequence[int] = (7, 3, 5, 3, 3)
    ) -> None:
        super().__init__()
        check_at_least_one(width=width)
        if len(kernels) != 5 or any(kernel < 1 or kernel % 2 == 0 for kernel in kernels):
            raise ValueError(f"Expected kernels to be five odd sizes; got {tuple(kernels)}.")
        self.image_shape = check_image_shape(image_shape, at_least=4)
        channels, height, breadth = self.image_shape
        narrow = max(1, width // 2)
        sizes = [channels, narrow, narrow, width, width, LAST]
        layers: list[nn.Module] = []
        for number, kernel in enumerate(kernels):
            stride = 2 if number % 2 else 1
            layers += _gated(sizes[number], sizes[number + 1], kernel, stride)
            height, breadth = -(-height // stride), -(-breadth // stride)
        self.features = LAST * height * breadth
        self.layers = nn.Sequential(*layers, nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        """Images (…, channels, height, width) to vectors (…, features)."""
        check_trailing("x", x, self.image_shape)
        batch = x.shape[:-3]
        features: Tensor = self.layers(x.reshape(batch.numel(), *self.image_shape))
        return features.reshape(*batch, self.features)


class GatedConvDecoder(nn.Module):
    """From the codes of all layers to an image: gated dense layers to its size, then gated convolutions of 3 × 3.

    References:
        Tomczak & Welling, VAE with a VampPrior, 2018, section 4.1 and the published code.

    Args:
        latents: Lengths of the codes, which come side by side.
        image_shape: (channels, height, width) of what is made of each. The channels are those of the image times what
            the likelihood needs for each of them.
        hidden: Length of the layer that each code goes through first.
        width: Channels of the convolutions.

    Raises:
        ValueError: There is no code, or a number is less than 1.

    Example:
        >>> import torch
        >>> from googol.networks import GatedConvDecoder
        >>> GatedConvDecoder([3, 5], (2, 8, 9))(torch.zeros(7, 4, 8)).shape
        torch.Size([7, 4, 2, 8, 9])
    """

    def __init__(
        self, latents: Sequence[int], image_shape: Sequence[int], *, hidden: int = 300, width: int = 64
    ) -> None:
        super().__init__()
        check_at_least_one(latents=min(latents, default=0), hidden=hidden, width=width)
        self.image_shape = check_image_shape(image_shape)
        self.latents = sum(latents)
        sides = self.image_shape[1:]
        self.dense = JoinedMLP(latents, 2 * math.prod(sides), hidden=(hidden,), activation="gated")
        layers: list[nn.Module] = [nn.GLU(1), nn.Unflatten(1, (1, *sides))]
        for before in (1, width, width, width):
            layers += _gated(before, width, 3)
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, self.image_shape[0], 1))

    def forward(self, z: Tensor) -> Tensor:
        """Codes side by side (…, latents) to images (…, channels, height, width)."""
        check_trailing("z", z, (self.latents,))
        batch = z.shape[:-1]
        images = in_parts(lambda codes: self.layers(self.dense(codes)), z.reshape(batch.numel(), self.latents))
        return images.reshape(*batch, *self.image_shape)
