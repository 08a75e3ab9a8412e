"""The choices of likelihoods."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from googol.experiments.config.common import ImageShape
from googol.experiments.config.networks import Network

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class _Likelihood:
    """The class of the same name in `googol.likelihoods`, with the fields as its options."""

    def build(self, network: Network, image_shape: ImageShape, latents: int) -> nn.Module:
        """The likelihood p(x given z)."""
        from googol import likelihoods

        made = getattr(likelihoods, type(self).__name__)
        channels, height, width = image_shape
        decoder = network.decoder(latents, (channels * made.outputs_per_channel, height, width))
        return made(decoder, **asdict(self))


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


Likelihood = Bernoulli | Normal | DiscretizedLogistic
