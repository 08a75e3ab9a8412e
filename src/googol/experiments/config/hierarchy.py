"""The choices of models with several layers of codes, and of the one without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from googol.experiments.config.common import ImageShape, require
from googol.experiments.config.likelihoods import Autoregressive, Bernoulli, Likelihood
from googol.experiments.config.networks import MLP, GatedConv, Network
from googol.experiments.config.posteriors import Diagonal, LowerPosterior, Posterior
from googol.experiments.config.priors import Prior, StandardNormal

if TYPE_CHECKING:
    from torch import nn

    from googol import models
    from googol.data import Condition


def build_likelihood(
    likelihood: Likelihood,
    lower: LowerPosterior,
    network: Network,
    image_shape: ImageShape,
    latents: Sequence[int],
) -> nn.Module:
    """p(x given the code of the top layer), where ``latents`` are the numbers in the codes from the top layer down."""
    from googol.likelihoods import Hierarchical, LatentLayer
    from googol.posteriors import DiagonalNormal

    bottom = likelihood.build(network, image_shape, *latents)
    if len(latents) == 1:
        return bottom
    layers = []
    for number, size in enumerate(latents[1:], 1):
        above = sum(latents[:number])
        prior = DiagonalNormal(network.of_codes(above, DiagonalNormal.encoder_outputs(size)), size)
        layers.append(LatentLayer(prior, lower.build_below(network, image_shape, above, size)))
    return Hierarchical(layers, bottom)


@dataclass(frozen=True)
class HVAE:
    """A variational autoencoder with several layers of codes, of gated fully connected networks."""

    takes_conditions: ClassVar[bool] = False

    latents: tuple[int, ...] = (40, 40)
    """numbers in the codes of each layer, the top one first"""
    warmup_epochs: int = 0
    """epochs with a standard normal prior on top, before a learned one starts from the codes"""
    kl_warmup_epochs: int = 0
    """epochs over which the weight of the divergence from the prior rises to 1"""
    free_bits: float = 0.0
    """nats of the divergence of each layer that cost nothing in training"""
    prior: Prior = StandardNormal()
    posterior: Posterior = Diagonal()
    lower: LowerPosterior = Diagonal()
    likelihood: Likelihood = Bernoulli()
    network: Network = MLP(activation="gated")

    def __post_init__(self) -> None:
        require(1, latents=min(self.latents, default=0))
        require(0, warmup_epochs=self.warmup_epochs, kl_warmup_epochs=self.kl_warmup_epochs, free_bits=self.free_bits)

    def build(self, image_shape: ImageShape, schema: Sequence[Condition]) -> models.VAE:
        """The model, with weights to start from."""
        from googol.models import VAE as Model

        top = self.latents[0]
        posterior = self.posterior.build(self.network, image_shape, top)
        return Model(
            self.prior.build(top, posterior, image_shape),
            posterior,
            build_likelihood(self.likelihood, self.lower, self.network, image_shape, self.latents),
            warmup_epochs=self.warmup_epochs,
            kl_warmup_epochs=self.kl_warmup_epochs,
            free_bits=self.free_bits,
        )


@dataclass(frozen=True)
class ConvHVAE(HVAE):
    """A variational autoencoder with several layers of codes, of gated convolutions."""

    network: Network = GatedConv()


@dataclass(frozen=True)
class PixelHVAE(ConvHVAE):
    """A variational autoencoder with layers of codes, and a decoder that paints pixel by pixel."""

    likelihood: Likelihood = Autoregressive()


@dataclass(frozen=True)
class PixelCNN:
    """Images painted pixel by pixel, without codes; its log p(x) is exact."""

    takes_conditions: ClassVar[bool] = False
    called: ClassVar[str] = "pixelcnn"

    likelihood: Autoregressive = Autoregressive()

    def build(self, image_shape: ImageShape, schema: Sequence[Condition]) -> models.PixelCNN:
        """The model, with weights to start from."""
        from googol.models import PixelCNN as Model

        return Model(self.likelihood.build_alone(image_shape))
