"""The choices of networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from googol.experiments.config.common import ImageShape, require

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Conv:
    """Eight layers of convolutions, and eight back; for sides of at least 8 pixels."""

    width: int = 64
    """channels of most layers"""

    def __post_init__(self) -> None:
        require(1, width=self.width)

    def of_width(self, width: int) -> Conv:
        """The same with another number of channels."""
        return replace(self, width=width)

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """The network from images to vectors."""
        from googol.networks import ConvEncoder

        return ConvEncoder(image_shape, outputs, width=self.width)

    def decoder(self, latents: int, image_shape: ImageShape) -> nn.Module:
        """The network from codes to images."""
        from googol.networks import ConvDecoder

        return ConvDecoder(latents, image_shape, width=self.width)


@dataclass(frozen=True)
class DCGAN:
    """Strided convolutions alone, twice as many channels on images half the size; for sides of at least 8 pixels."""

    width: int = 64
    """channels next to the image"""

    def __post_init__(self) -> None:
        require(1, width=self.width)

    def of_width(self, width: int) -> DCGAN:
        """The same with another number of channels."""
        return replace(self, width=width)

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """The network from images to vectors."""
        from googol.networks import DCGANEncoder

        return DCGANEncoder(image_shape, outputs, width=self.width)

    def decoder(self, latents: int, image_shape: ImageShape) -> nn.Module:
        """The network from codes to images."""
        from googol.networks import DCGANDecoder

        return DCGANDecoder(latents, image_shape, width=self.width)


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

    def decoder(self, latents: int, image_shape: ImageShape) -> nn.Module:
        """The network from codes to images, its hidden layers in the opposite order."""
        from googol.networks import MLPDecoder

        return MLPDecoder(latents, image_shape, hidden=self.hidden[::-1], activation=self.activation)


Network = Conv | DCGAN | MLP
