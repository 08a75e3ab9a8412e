"""The choices of adversarial models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from googol.experiments.config.common import ImageShape, require
from googol.experiments.config.networks import DCGAN, Network
from googol.experiments.config.priors import (
    Flow,
    HypersphericalUniform,
    NormalMixture,
    StandardNormal,
    TensorRing,
)

if TYPE_CHECKING:
    from googol import models
    from googol.data import Condition

# How they were trained when they were published, but for the moving average of the weights and the epochs. A prior that
# learns faster than the networks is drawn to what the critic likes at the moment, and collapses.
_TRAINING: dict[str, Any] = {"epochs": 50, "schedule": "constant"}
_TRAINING |= {"average_weights": 0.999, "prior_learning_rate": None}

GeneratorPrior = StandardNormal | NormalMixture | TensorRing | Flow | HypersphericalUniform


@dataclass(frozen=True)
class _Adversarial:
    """What the choices share: a subclass is the class of the same name in `googol.models`."""

    takes_conditions: ClassVar[bool] = False

    latents: int = 64
    """numbers in a code"""
    critic_steps: int = 5
    """turns of the critic for each of the generator"""
    prior_gradient: Literal["pathwise", "score"] = "pathwise"
    """how the prior learns: through its samples, or by the score function"""
    spectral_normalization: bool = False
    """divide the weights of each layer of the critic by their largest singular value"""
    prior: GeneratorPrior = StandardNormal()
    network: Network = DCGAN()

    def __post_init__(self) -> None:
        require(1, latents=self.latents, critic_steps=self.critic_steps)

    def _build(self, made: type, image_shape: ImageShape, **options: Any) -> Any:
        from torch import nn

        from googol.models.adversarial import with_spectral_normalization

        generator = nn.Sequential(self.network.decoder([self.latents], image_shape), nn.Sigmoid())
        critic = self.network.encoder(image_shape, 1)
        return made(
            self.prior.build(self.latents, None, image_shape),
            generator,
            with_spectral_normalization(critic) if self.spectral_normalization else critic,
            critic_steps=self.critic_steps,
            prior_gradient=self.prior_gradient,
            **options,
        )


@dataclass(frozen=True)
class GAN(_Adversarial):
    """A generator against a critic that tells its images from those of the data."""

    training: ClassVar[Mapping[str, Any]] = _TRAINING | {"learning_rate": 2e-4}

    critic_steps: int = 1
    """turns of the critic for each of the generator"""
    objective: Literal["non-saturating", "minimax"] = "non-saturating"
    """what the generator minimises"""

    def build(self, image_shape: ImageShape, schema: Sequence[Condition]) -> models.GAN:
        """The model, with weights to start from."""
        from googol.models import GAN as Model

        return self._build(Model, image_shape, objective=self.objective)


@dataclass(frozen=True)
class WGAN(_Adversarial):
    """A Wasserstein adversarial model whose critic has its weights clipped; its optimiser is RMSprop."""

    training: ClassVar[Mapping[str, Any]] = _TRAINING | {"learning_rate": 5e-5, "batch_size": 64}

    clip: float = 0.01
    """largest absolute value of the weights of the critic"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spectral_normalization:
            raise ValueError(
                "spectral_normalization divides by the size of the weights, which makes their clipping void: "
                "take it with gan or wgan-gp"
            )

    def build(self, image_shape: ImageShape, schema: Sequence[Condition]) -> models.WGAN:
        """The model, with weights to start from."""
        from googol.models import WGAN as Model

        return self._build(Model, image_shape, clip=self.clip)


@dataclass(frozen=True)
class WGANGP(_Adversarial):
    """A Wasserstein adversarial model with a penalty on the gradient of its critic."""

    called: ClassVar[str] = "wgan-gp"
    training: ClassVar[Mapping[str, Any]] = _TRAINING | {"learning_rate": 1e-4, "batch_size": 64}

    penalty: float = 10.0
    """weight of the squared distance of the gradient's norm from 1"""

    def build(self, image_shape: ImageShape, schema: Sequence[Condition]) -> models.WGANGP:
        """The model, with weights to start from."""
        from googol.models import WGANGP as Model

        return self._build(Model, image_shape, penalty=self.penalty)
