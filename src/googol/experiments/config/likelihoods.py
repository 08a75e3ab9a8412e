"""The choices of likelihoods."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from googol.experiments.config.common import ImageShape
from googol.experiments.config.networks import Network

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class _Likelihood:
    """The class of the same name in `googol.likelihoods`, with the fields as its options."""

    dequantized: ClassVar[bool] = False
    """whether it is of pixels between the 256 levels"""

    def build(self, network: Network, image_shape: ImageShape, latents: int) -> nn.Module:
        """The likelihood p(x given z)."""
        from googol import likelihoods

        made = getattr(likelihoods, type(self).__name__)
        channels, height, width = image_shape
        options = asdict(self)
        decoder = network.decoder(latents, (channels * made.outputs_per_channel(**options), height, width))
        return made(decoder, **options)


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


Likelihood = Bernoulli | Normal | DiscretizedLogistic | LogitNormal
