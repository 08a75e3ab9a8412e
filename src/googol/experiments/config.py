"""The choices of an experiment as plain data: what the command line offers, and what `config.yaml` says.

Each choice is a small frozen dataclass whose fields are the options and whose `build` makes the part. A new one
is such a class and its name in one of the unions at the end; the command line, the file and its errors follow.
Importing this imports no other part of googol, so that help is fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from torch import nn

    from googol import distributions, models
    from googol.data import Condition

ImageShape = tuple[int, int, int]


def _require(least: float, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value >= least):
            raise ValueError(f"{name} must be at least {least}, got {value}")


# -- networks


@dataclass(frozen=True)
class Conv:
    """Eight layers of convolutions, and eight back; for sides of at least 8 pixels."""

    width: int = 64
    """channels of most layers"""

    def __post_init__(self) -> None:
        _require(1, width=self.width)

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """The network from images to vectors."""
        from googol.networks import ConvEncoder

        return ConvEncoder(image_shape, outputs, width=self.width)

    def decoder(self, latents: int, image_shape: ImageShape) -> nn.Module:
        """The network from codes to images."""
        from googol.networks import ConvDecoder

        return ConvDecoder(latents, image_shape, width=self.width)


@dataclass(frozen=True)
class MLP:
    """Fully connected layers; for small images."""

    hidden: tuple[int, ...] = (300, 300)
    """sizes of the hidden layers"""

    def __post_init__(self) -> None:
        for size in self.hidden:
            _require(1, hidden=size)

    def encoder(self, image_shape: ImageShape, outputs: int) -> nn.Module:
        """The network from images to vectors."""
        from googol.networks import MLPEncoder

        return MLPEncoder(image_shape, outputs, hidden=self.hidden)

    def decoder(self, latents: int, image_shape: ImageShape) -> nn.Module:
        """The network from codes to images, its hidden layers in the opposite order."""
        from googol.networks import MLPDecoder

        return MLPDecoder(latents, image_shape, hidden=self.hidden[::-1])


Network = Conv | MLP


# -- priors


@dataclass(frozen=True)
class StandardNormal:
    """Independent standard normal codes; nothing to learn."""

    def build(self, latents: int) -> nn.Module:
        """The prior p(z)."""
        from googol.priors import StandardNormal as Prior

        return Prior(latents)


@dataclass(frozen=True)
class TensorRing:
    """A learned lattice of components, whose weights are a tensor ring (or train)."""

    rank: int = 20
    """size of the bonds between neighbouring variables; the cost of a ring grows with its cube"""
    components: int = 10
    """normal components of each continuous variable"""
    boundary: Literal["ring", "train"] = "ring"
    """whether the last variable is tied to the first"""

    def __post_init__(self) -> None:
        _require(1, rank=self.rank, components=self.components)

    def build(self, latents: int, schema: Sequence[Condition] = ()) -> distributions.TensorRing:
        """The prior p(z), or, where there are conditions, the joint p(z, y).

        The conditions lie among the codes, at equal distances, since a bond of rank m tells m states apart, and the
        combinations of several conditions soon are more than that.
        """
        from googol.distributions import Categorical, Normal
        from googol.distributions import TensorRing as Ring

        sizes = [None] * latents + [condition.values and len(condition.values) for condition in schema]
        variables = [Categorical(size) if size else Normal(self.components) for size in sizes]
        positions = [(code + 0.5) / latents for code in range(latents)]
        positions += [(condition + 0.5) / len(schema) for condition in range(len(schema))]
        order = sorted(range(len(variables)), key=positions.__getitem__)
        return Ring(variables, self.rank, self.boundary, order=order)


Prior = StandardNormal | TensorRing
JointPrior = TensorRing


# -- posteriors


@dataclass(frozen=True)
class Diagonal:
    """Independent normal codes given the image."""

    def build(self, network: Network, image_shape: ImageShape, latents: int) -> nn.Module:
        """The posterior q(z given x)."""
        from googol.posteriors import DiagonalNormal

        return DiagonalNormal(network.encoder(image_shape, 2 * latents), latents)


Posterior = Diagonal


# -- likelihoods


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


# -- models


@dataclass(frozen=True)
class VAE:
    """A variational autoencoder: any prior, no conditions."""

    takes_conditions: ClassVar[bool] = False

    latents: int = 32
    """numbers in a code"""
    prior: Prior = StandardNormal()
    posterior: Posterior = Diagonal()
    likelihood: Likelihood = Bernoulli()
    network: Network = Conv()

    def __post_init__(self) -> None:
        _require(1, latents=self.latents)

    def build(self, image_shape: ImageShape, schema: Sequence[Condition]) -> models.VAE:
        """The model, with weights to start from."""
        from googol.models import VAE as Model

        posterior = self.posterior.build(self.network, image_shape, self.latents)
        likelihood = self.likelihood.build(self.network, image_shape, self.latents)
        return Model(self.prior.build(self.latents), posterior, likelihood)


@dataclass(frozen=True)
class JointVAE:
    """A variational autoencoder whose codes and conditions share one tensor ring: generates under any conditions."""

    takes_conditions: ClassVar[bool] = True

    latents: int = 12
    """numbers in a code"""
    label_weight: float = 50.0
    """weight of log p(y given z), which makes the codes tell the conditions"""
    consistency_weight: float = 10.0
    """weight of reading back generated images as what they were generated for"""
    warmup_epochs: int = 2
    """epochs without conditions and with a standard normal prior, before the ring starts from the codes"""
    freeze_autoencoder: bool = False
    """train the ring alone after the warm-up ("pretrained VAE")"""
    prior: JointPrior = TensorRing(rank=64, boundary="train")
    posterior: Posterior = Diagonal()
    likelihood: Likelihood = Bernoulli()
    network: Network = Conv()

    def __post_init__(self) -> None:
        _require(1, latents=self.latents)
        _require(0, label_weight=self.label_weight, consistency_weight=self.consistency_weight)
        _require(0, warmup_epochs=self.warmup_epochs)
        if self.freeze_autoencoder and self.warmup_epochs == 0:
            raise ValueError(
                "freeze_autoencoder needs warmup_epochs of at least 1, in which the autoencoder is trained"
            )

    def build(self, image_shape: ImageShape, schema: Sequence[Condition]) -> models.JointVAE:
        """The model, with weights to start from.

        Raises:
            ValueError: There is no condition, or a continuous one but no warm-up.
        """
        from googol.models import JointVAE as Model

        if not schema:
            raise ValueError("a joint-vae needs data with conditions, and these have none; train a vae, or add them")
        if self.warmup_epochs == 0 and any(condition.values is None for condition in schema):
            raise ValueError("continuous conditions need warmup_epochs of at least 1, after which the ring meets them")
        return Model(
            self.prior.build(self.latents, schema),
            self.posterior.build(self.network, image_shape, self.latents),
            self.likelihood.build(self.network, image_shape, self.latents),
            label_weight=self.label_weight,
            consistency_weight=self.consistency_weight,
            warmup_epochs=self.warmup_epochs,
            freeze_autoencoder=self.freeze_autoencoder,
        )


Model = VAE | JointVAE
