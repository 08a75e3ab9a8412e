"""The choices of posteriors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from googol.experiments.config.common import ImageShape
from googol.experiments.config.networks import Network

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class _Posterior:
    """A class of `googol.posteriors`, with the fields as its options."""

    part: ClassVar[str]

    def build(self, network: Network, image_shape: ImageShape, latents: int) -> nn.Module:
        """The posterior q(z given x)."""
        from googol import posteriors

        made, options = getattr(posteriors, self.part), asdict(self)
        return made(network.encoder(image_shape, made.encoder_outputs(latents, **options)), latents, **options)


@dataclass(frozen=True)
class Diagonal(_Posterior):
    """Independent normal codes given the image."""

    part: ClassVar[str] = "DiagonalNormal"


Posterior = Diagonal
