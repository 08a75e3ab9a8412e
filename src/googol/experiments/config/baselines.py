"""The choices of models of conditions that are compared with the joint one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from googol.experiments.config.common import ImageShape, require, require_conditions, require_positive
from googol.experiments.config.likelihoods import Bernoulli, Likelihood
from googol.experiments.config.networks import Conv, Network
from googol.experiments.config.posteriors import Diagonal, Posterior
from googol.experiments.config.priors import JointPrior, Prior, StandardNormal, TensorRing

if TYPE_CHECKING:
    from googol import models
    from googol.data import Condition
    from googol.networks import ConditionCoding

HIDDEN = 128  # the size of the hidden layer of the decoders of conditions


def _coding(kind: str, schema: Sequence[Condition]) -> ConditionCoding:
    from googol.networks import ConditionCoding

    require_conditions(kind, schema)
    return ConditionCoding([len(condition.values) if condition.values else None for condition in schema])


@dataclass(frozen=True)
class CVAE:
    """A variational autoencoder that is told the conditions, with a predictor of those that are missing."""

    takes_conditions: ClassVar[bool] = True

    latents: int = 12
    """numbers in a code"""
    warmup_epochs: int = 0
    """epochs with a standard normal prior, before a learned one starts from the codes"""
    prior: Prior = StandardNormal()
    condition_prior: JointPrior = TensorRing(rank=16, boundary="train")
    posterior: Posterior = Diagonal()
    likelihood: Likelihood = Bernoulli()
    network: Network = Conv()

    def __post_init__(self) -> None:
        require(1, latents=self.latents)
        require(0, warmup_epochs=self.warmup_epochs)

    def build(self, image_shape: ImageShape, schema: Sequence[Condition]) -> models.CVAE:
        """The model, with weights to start from.

        Raises:
            ValueError: There is no condition.
        """
        from googol.models import CVAE as Model
        from googol.posteriors import ConditionedPosterior

        coding = _coding("cvae", schema)
        channels, height, width = image_shape
        both_shape = (channels + coding.inputs, height, width)
        of_both = self.posterior.build(self.network, both_shape, self.latents)
        predictor = self.network.encoder(image_shape, coding.outputs)
        return Model(
            self.prior.build(self.latents, of_both, both_shape),
            ConditionedPosterior(of_both, predictor, coding),
            self.likelihood.build(self.network, image_shape, self.latents + coding.inputs),
            self.condition_prior.build_joint(0, schema),
            warmup_epochs=self.warmup_epochs,
        )


@dataclass(frozen=True)
class ExpertsVAE:
    """A variational autoencoder with a product of experts: one for the image and one for each condition."""

    takes_conditions: ClassVar[bool] = True

    latents: int = 12
    """numbers in a code"""
    label_weight: float = 50.0
    """weight of log p(y given z), which makes the codes tell the conditions"""
    likelihood: Likelihood = Bernoulli()
    network: Network = Conv()

    def __post_init__(self) -> None:
        require(1, latents=self.latents)
        require_positive(label_weight=self.label_weight)

    def build(self, image_shape: ImageShape, schema: Sequence[Condition]) -> models.ExpertsVAE:
        """The model, with weights to start from.

        Raises:
            ValueError: There is no condition.
        """
        from googol.models import ExpertsVAE as Model
        from googol.networks import MLP
        from googol.posteriors import ProductOfExperts

        coding = _coding("experts-vae", schema)
        return Model(
            ProductOfExperts(Diagonal().build(self.network, image_shape, self.latents), coding),
            self.likelihood.build(self.network, image_shape, self.latents),
            MLP(self.latents, coding.outputs, hidden=(HIDDEN,)),
            label_weight=self.label_weight,
        )
