"""The multimodal variational autoencoder with a product of experts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributions import Independent, kl_divergence

from googol.distributions import Event
from googol.distributions.draws import picture, sample_and_log_prob
from googol.models.conditional import CodedConditionsVAE, Draws, check_draws
from googol.posteriors import ProductOfExperts
from googol.priors import StandardNormal


class ExpertsVAE(CodedConditionsVAE):
    r"""A variational autoencoder that decodes image and conditions from one code, and infers it from any of them.

    With :math:`p(z) = N(0, I)`, decoders :math:`p(x \mid z)` and :math:`p(y_j \mid z)`, and the product of experts
    :math:`q(z \mid S)` for any set S of things that are known, the bound of :math:`\log p(S)`, with weighted
    conditions, is

    .. math:: L(S) = E_{q(z \mid S)} \Big[ [x \in S] \log p(x \mid z)
              + \lambda \sum_{y_j \in S} \log p(y_j \mid z) \Big] - KL(q(z \mid S) \,\|\, p(z)).

    For an object with observed conditions :math:`y_{ob}` it maximises the sum over the subsets

    .. math:: L(\{x\} \cup y_{ob}) + L(\{x\}) + \sum_{y_j \in y_{ob}} L(\{y_j\}),

    where the first is left out if nothing is observed. Under given conditions z is drawn from the product of the prior
    and their experts, and the open conditions from their decoders.

    Args:
        posterior: The product of experts, over d latents.
        likelihood: p(x given z).
        heads: A network from codes to vectors of length ``posterior.coding.outputs``, for p(y given z).
        label_weight: The weight λ of the conditions, positive.

    Raises:
        ValueError: The weight is not positive.

    References:
        Wu & Goodman, Multimodal Generative Models for Scalable Weakly-Supervised Learning, 2018, equations 3 and 5
        (without the further random subsets), https://arxiv.org/abs/1802.05335; there the weight of labels is 50 for
        MNIST. Vedantam et al., Generative Models of Visually Grounded Imagination, 2018, equation 1.

    Example:
        >>> import torch
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.networks import MLP, ConditionCoding, MLPDecoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal, ProductOfExperts
        >>> coding = ConditionCoding([10, 2])
        >>> posterior = ProductOfExperts(DiagonalNormal(MLPEncoder((1, 8, 8), 2 * 3), 3), coding)
        >>> model = ExpertsVAE(posterior, Bernoulli(MLPDecoder(3, (1, 8, 8))), MLP(3, coding.outputs))
        >>> model.sample(6, given=torch.tensor([7.0, float("nan")])).shape
        torch.Size([6, 1, 8, 8])
        >>> [probs.shape for probs in model.impute(torch.rand(4, 1, 8, 8))]
        [torch.Size([4, 10]), torch.Size([4, 2])]
    """

    def __init__(
        self, posterior: ProductOfExperts, likelihood: nn.Module, heads: nn.Module, *, label_weight: float = 50.0
    ) -> None:
        super().__init__(StandardNormal(posterior.latents), posterior, likelihood)
        if not label_weight > 0:
            raise ValueError(f"label_weight must be positive, got {label_weight}")
        self.heads = heads
        self.label_weight = label_weight

    # -- training

    def loss(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """The negative objective, averaged over the batch, the terms of L({x}), and the other bounds, negative.

        Args:
            x: Shape ``(B, channels, height, width)``.
            y: Shape ``(B, c)``; NaN = not observed, None = nothing is.
        """
        y = self._observed(x, y)
        loc, precision = self.posterior.image_expert(x)
        log_likelihood, kl = self._terms_of(self.posterior.product((loc, precision), None), x, None)
        # One row for each condition alone, of which those that are not observed add nothing.
        alone = torch.where(torch.eye(self.conditions, dtype=torch.bool, device=y.device).unsqueeze(1), y, torch.nan)
        of_each, kl_of_each = self._terms_of(self.posterior.product(None, alone), None, alone)
        terms = {
            "reconstruction": -log_likelihood.mean(),
            "kl": kl.mean(),
            "conditions": (kl_of_each - of_each).sum(0).mean(),
            "both": kl.new_zeros(()),
        }
        rows = ~y.isnan().all(-1)
        if bool(rows.any()):
            q = self.posterior.product((loc[rows], precision[rows]), y[rows])
            of_both, kl_of_both = self._terms_of(q, x[rows], y[rows])
            terms["both"] = (kl_of_both - of_both).sum() / len(x)
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    def _terms_of(self, q: Independent, x: Tensor | None, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """The weighted log-likelihood of what is there, at a code drawn from q, and q's divergence from the prior."""
        z = q.rsample()
        log_likelihood = z.new_zeros(z.shape[:-1])
        if x is not None:
            log_likelihood = log_likelihood + self.likelihood(z).log_prob(x)
        if y is not None:
            log_likelihood = log_likelihood + self.label_weight * self.coding.read(self.heads(z)).log_prob(y)
        return log_likelihood, kl_divergence(q, self.prior())

    # -- bounds

    def _draw(self, x: Tensor, k: int, y: Tensor) -> Draws:
        r"""Draws of z from :math:`q(z \mid x, y_{ob})`."""
        z, log_q = sample_and_log_prob(self.posterior(x, y), (k,))
        said = self.coding.read(self.heads(z))
        divergence = log_q - self.log_prior(z) - said.log_prob(y)
        return Draws(self.likelihood(z).log_prob(x), divergence, lambda: self._answers(y, said.answers))

    # -- questions

    @torch.no_grad()
    def generate(
        self, n: int, given: Tensor | None = None, *, within: Mapping[int, Event] | None = None
    ) -> tuple[Tensor, Tensor]:
        """n images with their conditions; see :meth:`ConditionalVAE.generate`.

        Raises:
            ValueError: An interval or a set is given, for which there is no expert; or ``given`` has another shape.
        """
        if within:
            raise ValueError("a product of experts has experts for exact values alone, not for ranges or sets")
        known = self._given(n, given)
        z = self.posterior(y=known).sample()
        drawn = self.coding.read(self.heads(z)).sample()
        return picture(self.likelihood(z)), torch.where(known.isnan(), drawn, known)

    @torch.no_grad()
    def impute(self, x: Tensor, y: Tensor | None = None, *, draws: int = 8) -> list[Tensor]:
        r"""p(y_j given x and the observed conditions) of every condition.

        .. math:: p(y_j \mid x, y_{ob}) \approx \frac1L \sum_l p(y_j \mid z_l), \qquad z_l \sim q(z \mid x, y_{ob})

        Args:
            x: Shape ``(B, channels, height, width)``.
            y: Conditions known already, ``(B, c)``; NaN = not observed.
            draws: The number L of codes drawn for each x.

        Returns:
            For each condition the probabilities of its values, ``(B, N_j)``, or the mean of a number, ``(B, 1)``;
            certainty of those that are known already.
        """
        check_draws(draws)
        y = self._observed(x, y)
        z = self.posterior(x, y).sample((draws,))
        return self._answers(y, [answer.mean(0) for answer in self.coding.read(self.heads(z)).answers])
