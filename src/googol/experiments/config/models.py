"""The choices of models, and the joint one of codes and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from googol.experiments.config.adversarial import GAN, WGAN, WGANGP
from googol.experiments.config.autoencoders import HVAE, VAE, ConvHVAE, PixelCNN, PixelHVAE, build_likelihood
from googol.experiments.config.baselines import CVAE, ExpertsVAE
from googol.experiments.config.common import ImageShape, require, require_conditions
from googol.experiments.config.likelihoods import Autoregressive, Bernoulli, Likelihood
from googol.experiments.config.networks import Conv, Network
from googol.experiments.config.posteriors import Diagonal, Posterior
from googol.experiments.config.priors import JointPrior, TensorRing
from googol.experiments.config.tabular import Tabular

if TYPE_CHECKING:
    from googol import models
    from googol.data import Condition


@dataclass(frozen=True)
class JointVAE:
    """A variational autoencoder whose codes and conditions share one tensor ring: generates under any conditions."""

    takes_conditions: ClassVar[bool] = True

    latents: int = 12
    """numbers in a code"""
    label_weight: float = 50.0
    """weight of log p(y given z), which makes the codes tell the conditions; grows with the nats of an image"""
    prior_label_weight: float | None = None
    """the same for the ring, whose weight need not grow, and of log p(y) if there are several; by default the above"""
    consistency_weight: float = 10.0
    """weight of reading back generated images as what they were generated for"""
    self_training_weight: float = 0.0
    """weight of log p(y given z) for missing conditions that the model is sure to fill in right; for few labels"""
    warmup_epochs: int = 2
    """epochs without conditions and with a standard normal prior, before the ring starts from the codes"""
    kl_warmup_epochs: int = 0
    """epochs over which the weight of the divergence from the prior rises to 1"""
    freeze_autoencoder: bool = False
    """train the ring alone after the warm-up ("pretrained VAE")"""
    lower_latents: tuple[int, ...] = ()
    """numbers in the codes of further layers, between the one that the ring joins with the conditions and the image"""
    free_bits: float = 0.0
    """nats of the divergence of each layer of codes that cost nothing in training"""
    prior: JointPrior = TensorRing(rank=64, boundary="train")
    posterior: Posterior = Diagonal()
    lower: Posterior = Diagonal()
    likelihood: Likelihood = Bernoulli()
    network: Network = Conv()

    def __post_init__(self) -> None:
        require(1, latents=self.latents, lower_latents=min(self.lower_latents, default=1))
        require(0, label_weight=self.label_weight, consistency_weight=self.consistency_weight)
        require(0, self_training_weight=self.self_training_weight, prior_label_weight=self.prior_label_weight or 0)
        require(0, warmup_epochs=self.warmup_epochs, kl_warmup_epochs=self.kl_warmup_epochs, free_bits=self.free_bits)
        if self.consistency_weight and isinstance(self.likelihood, Autoregressive):
            raise ValueError(
                "consistency_weight must be 0 with the likelihood autoregressive, whose images have no gradient; "
                f"got {self.consistency_weight}"
            )
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

        require_conditions("joint-vae", schema)
        if self.warmup_epochs == 0 and any(condition.values is None for condition in schema):
            raise ValueError("continuous conditions need warmup_epochs of at least 1, after which the ring meets them")
        return Model(
            self.prior.build_joint(self.latents, schema),
            self.posterior.build(self.network, image_shape, self.latents),
            build_likelihood(
                self.likelihood, self.lower, self.network, image_shape, (self.latents, *self.lower_latents)
            ),
            label_weight=self.label_weight,
            prior_label_weight=self.prior_label_weight,
            consistency_weight=self.consistency_weight,
            self_training_weight=self.self_training_weight,
            warmup_epochs=self.warmup_epochs,
            kl_warmup_epochs=self.kl_warmup_epochs,
            freeze_autoencoder=self.freeze_autoencoder,
            free_bits=self.free_bits,
        )


Model = VAE | HVAE | ConvHVAE | PixelHVAE | PixelCNN | JointVAE | CVAE | ExpertsVAE | GAN | WGAN | WGANGP | Tabular
