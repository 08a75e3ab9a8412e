"""The choices of likelihoods."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from googol.experiments.config.common import ImageShape, require
from googol.experiments.config.networks import Network

if TYPE_CHECKING:
    from torch import nn

    from googol import likelihoods


@dataclass(frozen=True)
class _Likelihood:
    """The class of the same name in `googol.likelihoods`, with the fields as its options."""

    dequantized: ClassVar[bool] = False
    """whether it is of pixels between the 256 levels"""

    def build(self, network: Network, image_shape: ImageShape, *latents: int) -> nn.Module:
        """The likelihood p(x given z), of the codes of one or several layers side by side."""
        return self.with_decoder(network.decoder(latents, (self.outputs(image_shape), *image_shape[1:])))

    def outputs(self, image_shape: ImageShape) -> int:
        """The channels that a decoder gives."""
        from googol import likelihoods

        channels: int = getattr(likelihoods, type(self).__name__).outputs_per_channel(**asdict(self))
        return image_shape[0] * channels

    def with_decoder(self, decoder: nn.Module) -> nn.Module:
        """The likelihood with a given decoder."""
        from googol import likelihoods

        made: nn.Module = getattr(likelihoods, type(self).__name__)(decoder, **asdict(self))
        return made


@dataclass(frozen=True)
class Bernoulli(_Likelihood):
    """Pixels black or white, a grey one being the probability of white."""


@dataclass(frozen=True)
class Normal(_Likelihood):
    """Pixels with normal noise of one learned scale."""

    scale: float = 0.1
    """scale of the noise to start from; white is 1"""


@dataclass(frozen=True)
class DiscretizedLogistic(_Likelihood):
    """Pixels with 256 levels, around a logistic variable each."""


@dataclass(frozen=True)
class LogitNormal(_Likelihood):
    """Pixels whose logits are normal, with a sparse precision; grey levels are spread out evenly."""

    dequantized: ClassVar[bool] = True

    precision: Literal["diagonal", "chain", "grid"] = "diagonal"
    """which pixels are linked: none, those that follow each other row by row, or neighbours"""


Pixels = Bernoulli | DiscretizedLogistic


@dataclass(frozen=True)
class Autoregressive:
    """Every pixel told by those before it, row by row, in a PixelCNN: sharp, and drawn one pixel after the other."""

    dequantized: ClassVar[bool] = False

    pixels: Pixels = Bernoulli()
    """what is said of a pixel"""
    context: int = 8
    """channels of the image that the decoder makes of codes"""
    width: int = 32
    """channels of each stack"""
    layers: int = 6
    """gated layers"""
    first_kernel: int = 7
    """size of the kernel that sees pixels; odd"""
    kernel: int = 3
    """size of the other kernels; odd"""

    def __post_init__(self) -> None:
        require(1, context=self.context, width=self.width, layers=self.layers)
        for name, size in (("first_kernel", self.first_kernel), ("kernel", self.kernel)):
            if size < 3 or size % 2 == 0:
                raise ValueError(f"{name} must be odd and at least 3, got {size}")

    def build(self, network: Network, image_shape: ImageShape, *latents: int) -> nn.Module:
        """The likelihood p(x given z), of the codes of one or several layers side by side."""
        return self._build(image_shape, network.decoder(latents, (self.context, *image_shape[1:])))

    def build_alone(self, image_shape: ImageShape) -> likelihoods.Autoregressive:
        """p(x) without codes."""
        return self._build(image_shape, None)

    def _build(self, image_shape: ImageShape, decoder: nn.Module | None) -> likelihoods.Autoregressive:
        from torch import nn

        from googol.likelihoods import Autoregressive as Likelihood
        from googol.likelihoods.autoregressive import links
        from googol.networks import GatedPixelCNN

        network = GatedPixelCNN(
            image_shape,
            self.pixels.outputs(image_shape) + links(image_shape[0]),
            context=self.context if decoder is not None else 0,
            width=self.width,
            layers=self.layers,
            first_kernel=self.first_kernel,
            kernel=self.kernel,
        )
        return Likelihood(network, self.pixels.with_decoder(nn.Identity()), decoder)


Likelihood = Bernoulli | Normal | DiscretizedLogistic | LogitNormal | Autoregressive
