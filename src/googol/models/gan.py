"""The generative adversarial network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from googol.models.adversarial import AdversarialModel, PriorGradient

Objective = Literal["non-saturating", "minimax"]


class GAN(AdversarialModel):
    r"""A generator against a critic that tells its images from those of the data, with any prior.

    .. math:: \min_{G, \psi} \max_D \; \mathbb E_{x} \log D(x) + \mathbb E_{z \sim p_\psi} \log (1 - D(G(z)))

    The critic gives the logit of D. The non-saturating generator minimises :math:`-\log D(G(z))` instead, whose
    gradient does not vanish where the critic is sure.

    References:
        Goodfellow et al., Generative Adversarial Nets, 2014, equation 1; with a learned prior Kuznetsov et al., A Prior
        of a Googol Gaussians, 2019, equation 9. Adam's settings are those of Radford et al., 2016.

    Args:
        prior: As for :class:`~googol.models.adversarial.AdversarialModel`.
        generator: As there.
        critic: As there; it gives logits.
        objective: "non-saturating" or "minimax".
        critic_steps: As there.
        prior_gradient: As there.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.distributions import Normal, TensorRing
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> generator = nn.Sequential(MLPDecoder(4, (1, 8, 8)), nn.Sigmoid())
        >>> gan = GAN(TensorRing([Normal(5)] * 4, rank=3), generator, MLPEncoder((1, 8, 8), 1))
        >>> gan.sample(2).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        prior: nn.Module,
        generator: nn.Module,
        critic: nn.Module,
        *,
        objective: Objective = "non-saturating",
        critic_steps: int = 1,
        prior_gradient: PriorGradient = "pathwise",
    ) -> None:
        super().__init__(prior, generator, critic, critic_steps=critic_steps, prior_gradient=prior_gradient)
        if objective not in get_args(Objective):
            raise ValueError(f"objective must be one of {get_args(Objective)}, got {objective!r}")
        self.objective = objective

    def make_optimizer(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """Adam with β₁ = 0.5."""
        return torch.optim.Adam(groups, betas=(0.5, 0.999))

    def _critic_terms(self, x: Tensor, generated: Tensor) -> dict[str, Tensor]:
        real, fake = self.critic(x), self.critic(generated)
        loss = softplus(-real).mean() + softplus(fake).mean()
        return {"loss": loss, "gap": (real.mean() - fake.mean()).detach()}

    def _objective(self, said: Tensor) -> Tensor:
        # log(1 − D) = −softplus(logit), and −log D = softplus(−logit).
        return -softplus(said) if self.objective == "minimax" else softplus(-said)
