"""The choices of networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from googol.experiments.config.common import ImageShape, require

if TYPE_CHECKING:
    from torch import nn

# Every choice builds networks from images, from images and codes, from codes, and from codes to images; codes of
# several layers come side by side.


@dataclass(frozen=True)
class _Convolutional:
    """What the pairs of convolutional networks share that have no networks of codes of their own."""

    width: int

    def __post_init__(self) -> None:
        require(1, width=self.width)

    def of_width(self, width: int) -> Self:
        """The same with another number of channels."""
        return replace(self, width=width)

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """The network from images to vectors."""
        raise NotImplementedError

    def check(self, image_shape: ImageShape) -> None:
        """Raises a ValueError that names a way out if images are too small to be halved three times."""
        if min(image_shape[1:]) < 8:
            size = " × ".join(map(str, image_shape[1:]))
            raise ValueError(
                f"network:{type(self).__name__.lower()} is for sides of at least 8 pixels, these images are {size}: "
                "choose network:mlp"
            )

    def joined_encoder(self, image_shape: ImageShape, latents: int, outputs: int) -> nn.Module:
        """The network from images and codes to vectors."""
        from torch import nn

        from googol.networks import MLP, JoinedEncoder
        from googol.networks.convolutional import HIDDEN

        of_image = nn.Sequential(self.encoder(image_shape, HIDDEN), nn.SiLU())
        of_codes = nn.Sequential(MLP(latents, HIDDEN, hidden=()), nn.SiLU())
        return JoinedEncoder(of_image, of_codes, MLP(2 * HIDDEN, outputs, hidden=(HIDDEN,)))

    def of_codes(self, latents: int, outputs: int) -> nn.Module:
        """The network from codes to vectors."""
        from googol.networks import MLP
        from googol.networks.convolutional import HIDDEN

        return MLP(latents, outputs, hidden=(HIDDEN, HIDDEN))


@dataclass(frozen=True)
class Conv(_Convolutional):
    """Eight layers of convolutions, and eight back; for sides of at least 8 pixels."""

    width: int = 64
    """channels of most layers"""

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """The network from images to vectors."""
        from googol.networks import ConvEncoder

        self.check(image_shape)
        return ConvEncoder(image_shape, outputs, width=self.width)

    def decoder(self, latents: Sequence[int], image_shape: ImageShape) -> nn.Module:
        """The network from the codes of each layer to images."""
        from googol.networks import ConvDecoder

        self.check(image_shape)
        return ConvDecoder(sum(latents), image_shape, width=self.width)


@dataclass(frozen=True)
class DCGAN(_Convolutional):
    """Strided convolutions alone, twice as many channels on images half the size; for sides of at least 8 pixels."""

    width: int = 64
    """channels next to the image"""

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """The network from images to vectors."""
        from googol.networks import DCGANEncoder

        self.check(image_shape)
        return DCGANEncoder(image_shape, outputs, width=self.width)

    def decoder(self, latents: Sequence[int], image_shape: ImageShape) -> nn.Module:
        """The network from the codes of each layer to images."""
        from googol.networks import DCGANDecoder

        self.check(image_shape)
        return DCGANDecoder(sum(latents), image_shape, width=self.width)


@dataclass(frozen=True)
class MLP:
    """Fully connected layers; for small images."""

    hidden: tuple[int, ...] = (300, 300)
    """sizes of the hidden layers"""
    activation: Literal["silu", "elu", "relu", "gated"] = "silu"
    """what is between them; gated layers multiply what they say by a sigmoid of as many other numbers"""

    def __post_init__(self) -> None:
        for size in self.hidden:
            require(1, hidden=size)

    def of_width(self, width: int) -> MLP:
        """The same with hidden layers of another size."""
        return replace(self, hidden=(width,) * len(self.hidden))

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """The network from images to vectors."""
        from googol.networks import MLPEncoder

        return MLPEncoder(image_shape, outputs, hidden=self.hidden, activation=self.activation)

    def joined_encoder(self, image_shape: ImageShape, latents: int, outputs: int) -> nn.Module:
        """The network from images and codes to vectors: each has a first layer of its own."""
        from torch import nn

        from googol.networks import MLP, JoinedEncoder
        from googol.networks.mlp import hidden_layer

        first, *rest = self._at_least_one_layer()
        of_image = nn.Sequential(nn.Flatten(-3), *hidden_layer(math.prod(image_shape), first, self.activation))
        of_codes = nn.Sequential(*hidden_layer(latents, first, self.activation))
        return JoinedEncoder(of_image, of_codes, MLP(2 * first, outputs, hidden=rest, activation=self.activation))

    def of_codes(self, latents: int, outputs: int) -> nn.Module:
        """The network from codes to vectors."""
        from googol.networks import MLP

        return MLP(latents, outputs, hidden=self.hidden, activation=self.activation)

    def decoder(self, latents: Sequence[int], image_shape: ImageShape) -> nn.Module:
        """The network from the codes of each layer to images, its hidden layers in the opposite order."""
        from torch import nn

        from googol.networks import JoinedMLP, MLPDecoder

        if len(latents) == 1:
            return MLPDecoder(latents[0], image_shape, hidden=self.hidden[::-1], activation=self.activation)
        hidden = self._at_least_one_layer()[::-1]
        dense = JoinedMLP(latents, math.prod(image_shape), hidden=hidden, activation=self.activation)
        return nn.Sequential(dense, nn.Unflatten(-1, image_shape))

    def _at_least_one_layer(self) -> tuple[int, ...]:
        if not self.hidden:
            raise ValueError("network mlp needs at least one hidden layer where codes of several layers are joined")
        return self.hidden


@dataclass(frozen=True)
class GatedConv:
    """Gated convolutions, at full resolution towards the image; slow, and sharp."""

    width: int = 64
    """channels of most layers"""
    hidden: int = 300
    """size of the fully connected layers"""

    def __post_init__(self) -> None:
        require(1, width=self.width, hidden=self.hidden)

    def of_width(self, width: int) -> GatedConv:
        """The same with another number of channels."""
        return replace(self, width=width)

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """The network from images to vectors."""
        from torch import nn

        from googol.networks import GatedConvFeatures

        features = GatedConvFeatures(image_shape, width=self.width)
        return nn.Sequential(features, nn.Linear(features.features, outputs))

    def joined_encoder(self, image_shape: ImageShape, latents: int, outputs: int) -> nn.Module:
        """The network from images and codes to vectors, with kernels of 3."""
        from torch import nn

        from googol.networks import MLP, GatedConvFeatures, JoinedEncoder
        from googol.networks.mlp import hidden_layer

        of_image = GatedConvFeatures(image_shape, width=self.width, kernels=(3,) * 5)
        size = of_image.features
        of_codes = nn.Sequential(*hidden_layer(latents, size, "gated"))
        return JoinedEncoder(of_image, of_codes, MLP(2 * size, outputs, hidden=(self.hidden,), activation="gated"))

    def of_codes(self, latents: int, outputs: int) -> nn.Module:
        """The network from codes to vectors."""
        from googol.networks import MLP

        return MLP(latents, outputs, hidden=(self.hidden, self.hidden), activation="gated")

    def decoder(self, latents: Sequence[int], image_shape: ImageShape) -> nn.Module:
        """The network from the codes of each layer to images."""
        from googol.networks import GatedConvDecoder

        return GatedConvDecoder(latents, image_shape, hidden=self.hidden, width=self.width)


Network = Conv | DCGAN | MLP | GatedConv
