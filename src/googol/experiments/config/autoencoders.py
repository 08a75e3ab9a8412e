"""The choices of models without conditions: with one layer of codes, with several, and with none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from googol.experiments.config.common import ImageShape, require
from googol.experiments.config.likelihoods import Autoregressive, Bernoulli, Likelihood
from googol.experiments.config.networks import MLP, Conv, GatedConv, Network
from googol.experiments.config.posteriors import Diagonal, Posterior
from googol.experiments.config.priors import Prior, StandardNormal

if TYPE_CHECKING:
    from torch import nn

    from googol import models
    from googol.data import Condition


def build_likelihood(
    likelihood: Likelihood,
    lower: Posterior,
    network: Network,
    image_shape: ImageShape,
    latents: Sequence[int],
) -> nn.Module:
    """p(x given the code of the top layer), where ``latents`` are the numbers in the codes from the top layer down."""
    from googol.likelihoods import Hierarchical

    bottom = likelihood.build(network, image_shape, *latents)
    if len(latents) == 1:
        return bottom
    sizes = enumerate(latents[1:], 1)
    layers = [lower.build_layer(network, image_shape, sum(latents[:number]), size) for number, size in sizes]
    return Hierarchical(layers, bottom)


@dataclass(frozen=True)
class _Autoencoder:
    """What the choices share whose codes, in one layer or several, have any prior and no conditions."""

    takes_conditions: ClassVar[bool] = False

    latents: int | tuple[int, ...]
    warmup_epochs: int = 0
    """epochs with a standard normal prior, before a learned one starts from the codes"""
    kl_warmup_epochs: int = 0
    """epochs over which the weight of the divergence from the prior rises to 1"""
    free_bits: float = 0.0
    """nats of the divergence, of each layer if there are several, that cost nothing in training"""
    prior: Prior = StandardNormal()
    posterior: Posterior = Diagonal()
    likelihood: Likelihood = Bernoulli()
    network: Network = Conv()

    def __post_init__(self) -> None:
        require(1, latents=min(self._sizes, default=0))
        require(0, warmup_epochs=self.warmup_epochs, kl_warmup_epochs=self.kl_warmup_epochs, free_bits=self.free_bits)

    @property
    def _sizes(self) -> tuple[int, ...]:
        return (self.latents,) if isinstance(self.latents, int) else self.latents

    def build(self, image_shape: ImageShape, schema: Sequence[Condition]) -> models.VAE:
        """The model, with weights to start from."""
        from googol.models import VAE as Model

        top = self._sizes[0]
        posterior = self.posterior.build(self.network, image_shape, top)
        return Model(
            self.prior.build(top, posterior, image_shape),
            posterior,
            self._build_likelihood(image_shape),
            warmup_epochs=self.warmup_epochs,
            kl_warmup_epochs=self.kl_warmup_epochs,
            free_bits=self.free_bits,
        )

    def _build_likelihood(self, image_shape: ImageShape) -> nn.Module:
        return self.likelihood.build(self.network, image_shape, *self._sizes)


@dataclass(frozen=True)
class VAE(_Autoencoder):
    """A variational autoencoder: any prior, no conditions."""

    latents: int = 32
    """numbers in a code"""


@dataclass(frozen=True)
class HVAE(_Autoencoder):
    """A variational autoencoder with several layers of codes, of gated fully connected networks."""

    latents: tuple[int, ...] = (40, 40)
    """numbers in the codes of each layer, the top one first"""
    network: Network = MLP(activation="gated")
    lower: Posterior = Diagonal()

    def _build_likelihood(self, image_shape: ImageShape) -> nn.Module:
        return build_likelihood(self.likelihood, self.lower, self.network, image_shape, self._sizes)


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
