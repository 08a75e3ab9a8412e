"""What adversarial models have in common: a generator and a critic that learn against each other, and a prior."""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from googol.distributions.draws import check_count
from googol.priors import VampPrior

PriorGradient = Literal["pathwise", "score"]

# A collapsed generator makes a few images over and over, nearly the same: a tenth as far apart as those of the data, or
# less. Those of generators that learned badly were a quarter as far apart.
COLLAPSED = 0.15
COMPARED = 256  # images of a batch, at most, whose neighbours are looked for
# Nats for each latent by which the entropy of a collapsed prior lies below its start: its range is a seventh of what it
# was. Priors that learned well lost up to 0.2; one that by itself had the shape of 25 narrow modes would lose 1.9.
PRIOR_COLLAPSED = 2.0
# The gradient of a critic that diverged is so many times as large as it used to be: up to 12 times in runs that went
# well, hundreds to thousands of times in those that did not.
DIVERGED = 100.0
CRITIC_NORM = "train_critic_gradient_norm"


class AdversarialModel(nn.Module, ABC):
    r"""Images :math:`G(z)` of codes z from any prior, which a critic D compares with those of the data.

    The players take turns: ``critic_steps`` of the critic, each with images of its own, and one of the generator, which
    minimises :math:`\mathbb E_{z \sim p_\psi} d(G(z))`, the d being a subclass's, and with it the prior p if that has
    parameters. Their gradient is one of two:

    * ``"pathwise"``: through the samples, :math:`\nabla_\psi \mathbb E\, d(G(z)) = \mathbb E\, \nabla_z d(G(z))
      \, \partial z / \partial \psi`, for priors whose samples are differentiable, such as a tensor ring (see
      :meth:`~googol.distributions.TensorRingDistribution.rsample`);
    * ``"score"``: by the score function (Kuznetsov et al., A Prior of a Googol Gaussians, 2019, equation 10),

      .. math:: \frac{1}{l - 1} \sum_{i=1}^l \nabla_\psi \log p_\psi(z_i) \Big[d_i - \frac1l \sum_j d_j\Big],

      for any prior. The baseline holds the sample itself, which shrinks the mean of the published estimator, with
      1/l in front, by (l − 1)/l; with 1/(l − 1) it is unbiased.

    Args:
        prior: Called without arguments, returns p(z).
        generator: From codes ``(n, latents)`` to images in [0, 1].
        critic: From images, their pixels moved to [−1, 1], to one number each, ``(n, 1)``.
        critic_steps: Turns of the critic for each of the generator.
        prior_gradient: "pathwise" or "score".

    Raises:
        ValueError: There is less than one turn, the gradient is unknown, or the samples of a prior that is learned have
            no pathwise gradient.
        TypeError: The prior is a VampPrior, which shares the posterior of an autoencoder.
    """

    prior: Any

    def __init__(
        self,
        prior: nn.Module,
        generator: nn.Module,
        critic: nn.Module,
        *,
        critic_steps: int,
        prior_gradient: PriorGradient = "pathwise",
    ) -> None:
        super().__init__()
        if critic_steps < 1:
            raise ValueError(f"critic_steps must be at least 1, got {critic_steps}")
        if prior_gradient not in get_args(PriorGradient):
            raise ValueError(f"prior_gradient must be one of {get_args(PriorGradient)}, got {prior_gradient!r}")
        if isinstance(prior, VampPrior):
            raise TypeError("prior must not be a VampPrior, which shares the posterior of an autoencoder")
        self.prior, self.generator, self.critic = prior, generator, critic
        self.critic_steps, self.prior_gradient = critic_steps, prior_gradient
        if self._learns_prior and prior_gradient == "pathwise" and not prior().has_rsample:
            raise ValueError(f"samples of {type(prior).__name__} have no pathwise gradient: use prior_gradient='score'")

    @property
    def _learns_prior(self) -> bool:
        return any(parameter.requires_grad for parameter in self.prior.parameters())

    # -- training

    @property
    def players(self) -> dict[str, list[nn.Parameter]]:
        """What each player moves."""
        generator = [*self.generator.parameters(), *self.prior.parameters()]
        return {"critic": list(self.critic.parameters()), "generator": generator}

    @property
    def turns(self) -> Sequence[str]:
        """Who moves in a step, one after the other."""
        return ["critic"] * self.critic_steps + ["generator"]

    @abstractmethod
    def make_optimizer(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """The published optimiser for groups of parameters."""

    def loss(self, x: Tensor, y: Tensor, player: str | None = None) -> dict[str, Tensor]:
        """What a player minimises, with what it is made of; without a player, what tells how training goes.

        Args:
            x: Images of the data, ``(n, channels, height, width)``, in [0, 1].
            y: Conditions, which play no part.
            player: "critic", "generator" or None.

        Returns:
            For the critic "loss" and "gap", how much further apart it puts images of the data from generated ones; for
            the generator "loss". For None both, with "diversity", how far a generated image is from the nearest other
            one, relative to those of the data (1 where there is a single image), and "prior_entropy" in nats.

        Raises:
            ValueError: There is no such player.
        """
        if player == "critic":
            with torch.no_grad():
                generated = self._generate(self.prior().sample((len(x),)))
            return self._critic_terms(_centered(x), _centered(generated))
        if player == "generator":
            return {"loss": self._generator_loss(len(x))}
        if player is not None:
            raise ValueError(f"player must be 'critic', 'generator' or None, got {player!r}")
        z = self.prior().sample((len(x),))
        generated = self._generate(z)
        said = self.critic(_centered(generated))
        apart, of_data = _nearest_distance(generated), _nearest_distance(x)
        return {
            "loss": self._objective(said).mean(),
            "gap": self.critic(_centered(x)).mean() - said.mean(),
            "diversity": apart / of_data.clamp_min(1e-12) if len(x) > 1 else torch.ones_like(apart),
            "prior_entropy": -self.prior().log_prob(z).mean(),
        }

    def diagnose(self, terms: Mapping[str, float], good: Sequence[Mapping[str, float]]) -> tuple[str, str] | None:
        """What is wrong with the training after an epoch, if anything is.

        Args:
            terms: The means of what :meth:`loss` gives without a player; besides, if it is known, the largest norm of
                the gradient of the critic in that epoch, "train_critic_gradient_norm".
            good: The same before training, and after each epoch with which nothing was wrong.

        Returns:
            The problem and the evidence, or None.
        """
        varies = terms["diversity"]
        if varies < COLLAPSED:
            varied = any(each["diversity"] >= COLLAPSED for each in good)
            problem = "has collapsed" if varied else "has not come to vary yet"
            return f"the generator {problem}", f"its images are {varies:.2g} times as far apart as those of the data"
        latents = math.prod(self.prior().event_shape)
        drop = good[0]["prior_entropy"] - terms["prior_entropy"]
        if drop > PRIOR_COLLAPSED * latents:
            return "the prior has collapsed", f"its entropy is {drop:.3g} nats below that at the start"
        norms = [each[CRITIC_NORM] for each in good if CRITIC_NORM in each]
        if norms and terms.get(CRITIC_NORM, 0.0) > DIVERGED * (usual := statistics.median(norms)):
            rise = f"from {usual:.3g}, its median, to {terms[CRITIC_NORM]:.3g}"
            return "the critic has diverged", f"the norm of its gradient rose {rise}"
        return None

    @abstractmethod
    def _critic_terms(self, x: Tensor, generated: Tensor) -> dict[str, Tensor]:
        """The loss of the critic, its gap, and whatever else it is made of, for pixels in [−1, 1]."""

    @abstractmethod
    def _objective(self, said: Tensor) -> Tensor:
        """The d that the generator minimises, of what the critic says of generated images."""

    def _generator_loss(self, n: int) -> Tensor:
        prior = self.prior()
        pathwise = self._learns_prior and self.prior_gradient == "pathwise"
        n = max(n, 2)  # the score function compares samples with each other
        z = prior.rsample((n,)) if pathwise else prior.sample((n,))
        each = self._objective(self.critic(_centered(self._generate(z)))).squeeze(-1)
        loss = each.mean()
        if not self._learns_prior or pathwise:
            return loss
        return loss + score_function(prior.log_prob(z), each)

    def _generate(self, z: Tensor) -> Tensor:
        images: Tensor = self.generator(z)
        return images

    # -- questions

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """n images of codes drawn from the prior.

        Raises:
            ValueError: n is negative.
        """
        check_count(n)
        return self._generate(self.prior().sample((n,)))


def _centered(x: Tensor) -> Tensor:
    """Images in [0, 1] as the critic sees them, in [−1, 1]."""
    return 2 * x - 1


def score_function(log_prob: Tensor, values: Tensor) -> Tensor:
    r"""Zero, with the gradient :math:`\frac{1}{l-1} \sum_i \nabla \log p(z_i) [d_i - \bar d]` of the mean of d.

    Args:
        log_prob: log p of the samples, ``(l,)``, at least two.
        values: What is measured of them, ``(l,)``; it gets no gradient.

    Raises:
        ValueError: There are fewer than two samples.

    References:
        Kuznetsov et al., 2019, equation 10; the factor is the one that makes it unbiased (Kool et al., Buy 4 REINFORCE
        Samples, Get a Baseline for Free!, 2019).

    Example:
        >>> import torch
        >>> loc = torch.tensor(0.0, requires_grad=True)
        >>> z = torch.randn(100_000)
        >>> score_function(torch.distributions.Normal(loc, 1.0).log_prob(z), 2 * z + 7).backward()
        >>> bool((loc.grad - 2).abs() < 0.1)
        True
    """
    if log_prob.dim() != 1 or len(log_prob) < 2 or values.shape != log_prob.shape:
        raise ValueError(
            f"expected at least two samples with a value each, got {tuple(log_prob.shape)} and {tuple(values.shape)}"
        )
    advantage = (values - values.mean()).detach()
    surrogate = (log_prob * advantage).sum() / (len(values) - 1)
    return surrogate - surrogate.detach()


def with_spectral_normalization(network: nn.Module) -> nn.Module:
    """A network whose matrices and kernels are divided by (estimates of) their largest singular values, in place.

    References:
        Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018.

    Example:
        >>> import torch
        >>> layer = with_spectral_normalization(nn.Sequential(nn.Linear(30, 20)))[0].train()
        >>> for _ in range(50):
        ...     _ = layer(torch.zeros(1, 30))
        >>> bool((torch.linalg.matrix_norm(layer.weight, 2) - 1).abs() < 0.01)
        True
    """
    from torch.nn.utils.parametrizations import spectral_norm

    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            spectral_norm(layer)
    return network


def _nearest_distance(images: Tensor) -> Tensor:
    """How far the images of a batch are from the nearest other one, on average; 0 for a single one."""
    flat = images[:COMPARED].flatten(1).float()
    distance = torch.cdist(flat, flat).fill_diagonal_(math.inf).amin(1)
    return distance.masked_fill(distance.isinf(), 0.0).mean()
