"""Wasserstein adversarial models: the critic is held to be Lipschitz by clipping, or by a penalty."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from googol.models.adversarial import AdversarialModel, PriorGradient


class _Wasserstein(AdversarialModel):
    """What both share: the gap that the critic widens, and the generator closes."""

    def _gap(self, x: Tensor, generated: Tensor) -> Tensor:
        return self.critic(x).mean() - self.critic(generated).mean()

    def _objective(self, said: Tensor) -> Tensor:
        return -said


class WGAN(_Wasserstein):
    r"""A generator that brings its images close to the data in Wasserstein's distance, with any prior.

    .. math:: \min_{G, \psi} \max_{D \text{ Lipschitz}} \; \mathbb E_x D(x) - \mathbb E_{z \sim p_\psi} D(G(z))

    The weights of the critic are clipped to [−c, c] after each of its steps.

    References:
        Arjovsky et al., Wasserstein GAN, 2017, algorithm 1, with its RMSprop.

    Args:
        prior: As for :class:`~googol.models.adversarial.AdversarialModel`.
        generator: As there.
        critic: As there.
        clip: The bound c, positive.
        critic_steps: As there.
        prior_gradient: As there.

    Raises:
        ValueError: The bound is not positive.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> from googol.priors import StandardNormal
        >>> generator = nn.Sequential(MLPDecoder(4, (1, 8, 8)), nn.Sigmoid())
        >>> wgan = WGAN(StandardNormal(4), generator, MLPEncoder((1, 8, 8), 1))
        >>> sorted(wgan.loss(torch.rand(5, 1, 8, 8), torch.zeros(5, 0), "critic"))
        ['gap', 'loss']
    """

    def __init__(
        self,
        prior: nn.Module,
        generator: nn.Module,
        critic: nn.Module,
        *,
        clip: float = 0.01,
        critic_steps: int = 5,
        prior_gradient: PriorGradient = "pathwise",
    ) -> None:
        super().__init__(prior, generator, critic, critic_steps=critic_steps, prior_gradient=prior_gradient)
        if not clip > 0:
            raise ValueError(f"clip must be positive, got {clip}")
        self.clip = clip

    def make_optimizer(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """RMSprop."""
        return torch.optim.RMSprop(groups, alpha=0.9)

    @torch.no_grad()
    def on_update(self, player: str) -> None:
        """Clips the weights after a step of the critic."""
        if player == "critic":
            for parameter in self.critic.parameters():
                parameter.clamp_(-self.clip, self.clip)

    def _critic_terms(self, x: Tensor, generated: Tensor) -> dict[str, Tensor]:
        gap = self._gap(x, generated)
        return {"loss": -gap, "gap": gap.detach()}


class WGANGP(_Wasserstein):
    r"""A Wasserstein adversarial model whose critic has gradients of norm 1 between images, by a penalty.

    .. math::
        \max_D \; \mathbb E_x D(x) - \mathbb E_z D(G(z))
            - \lambda \, \mathbb E_{\hat x} \big(\lVert \nabla_{\hat x} D(\hat x) \rVert_2 - 1\big)^2

    The norm is that over all pixels and channels of an image; :math:`\hat x` lies at random between an image of the
    data and a generated one.

    References:
        Gulrajani et al., Improved Training of Wasserstein GANs, 2017, equation 3 and algorithm 1, with its Adam.

    Args:
        prior: As for :class:`~googol.models.adversarial.AdversarialModel`.
        generator: As there.
        critic: As there; what it says of an image must not depend on the others.
        penalty: The weight λ, at least 0.
        critic_steps: As there.
        prior_gradient: As there.

    Raises:
        ValueError: The weight is negative.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> from googol.priors import NormalMixture
        >>> generator = nn.Sequential(MLPDecoder(4, (1, 8, 8)), nn.Sigmoid())
        >>> wgan = WGANGP(NormalMixture(4, components=7), generator, MLPEncoder((1, 8, 8), 1))
        >>> sorted(wgan.loss(torch.rand(5, 1, 8, 8), torch.zeros(5, 0), "critic"))
        ['gap', 'loss', 'penalty']
    """

    def __init__(
        self,
        prior: nn.Module,
        generator: nn.Module,
        critic: nn.Module,
        *,
        penalty: float = 10.0,
        critic_steps: int = 5,
        prior_gradient: PriorGradient = "pathwise",
    ) -> None:
        super().__init__(prior, generator, critic, critic_steps=critic_steps, prior_gradient=prior_gradient)
        if not penalty >= 0:
            raise ValueError(f"penalty must not be negative, got {penalty}")
        self.penalty = penalty

    def make_optimizer(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """Adam without momentum."""
        return torch.optim.Adam(groups, betas=(0.0, 0.9))

    def _critic_terms(self, x: Tensor, generated: Tensor) -> dict[str, Tensor]:
        gap = self._gap(x, generated)
        share = torch.rand(len(x), *[1] * (x.dim() - 1), dtype=x.dtype, device=x.device)
        between = (share * x + (1 - share) * generated).requires_grad_()
        (gradient,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
        return {"loss": self.penalty * penalty - gap, "gap": gap.detach(), "penalty": penalty.detach()}
