"""The conditional variational autoencoder, with a predictor of what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from googol.distributions import Event, TensorRing, TensorRingDistribution
from googol.distributions.draws import mean_code, picture, sample_and_log_prob
from googol.models.conditional import CodedConditionsVAE, Draws
from googol.posteriors import ConditionedPosterior


class CVAE(CodedConditionsVAE):
    r"""A variational autoencoder whose encoder and decoder are told the conditions: :math:`p(z)\,p(y)\,p(x \mid z, y)`.

    It becomes a model of any subset of conditions by what it adds to that of Sohn et al.: a tensor ring :math:`p(y)`
    over the conditions alone, and a predictor :math:`r(y \mid x)` of those that are missing. For an object x with
    observed conditions :math:`y_{ob}` and missing ones :math:`y_m` it maximises

    .. math:: E_{r(y_m \mid x)\, q(z \mid x, y)} [\log p(x \mid z, y) + \log p(z) - \log q(z \mid x, y)]
              + \log p(y_{ob}) + \log r(y_{ob} \mid x).

    What is missing is drawn from r, and not replaced by its probabilities, so that the decoder sees in training what it
    is given later, values, and so that the first term is part of a bound: with
    :math:`\log p(y) - \log r(y_m \mid x)` inside the expectation in place of :math:`\log p(y_{ob})`, it bounds
    :math:`\log p(x, y_{ob})` from below. No gradient goes through the draws, so r learns from observed conditions
    alone.

    Under given conditions the open ones are drawn from :math:`p(y_m \mid y_{ob})`, and z from its prior.

    Args:
        prior: p(z), called without arguments.
        posterior: q(z given x, y) with the predictor r(y given x), over d latents.
        likelihood: p(x given z, y), called with vectors of length d + ``posterior.coding.inputs``: a code and, in the
            form of networks, the conditions.
        condition_prior: p(y), a ring or train over the c conditions.
        warmup_epochs: How many epochs with a standard normal prior of the codes come first.

    Raises:
        ValueError: ``condition_prior`` has other variables than the conditions of the posterior.

    References:
        Sohn et al., Learning Structured Output Representation using Deep Conditional Generative Models, 2015, equation
        4; Kingma et al., Semi-supervised Learning with Deep Generative Models, 2014, equations 6, 7 and 9 (M2).

    Example:
        >>> import torch
        >>> from googol.distributions import Categorical, TensorRing
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.networks import ConditionCoding, MLPDecoder, MLPEncoder
        >>> from googol.posteriors import ConditionedPosterior, DiagonalNormal
        >>> from googol.priors import StandardNormal
        >>> coding = ConditionCoding([10, 2])
        >>> of_both = DiagonalNormal(MLPEncoder((1 + coding.inputs, 8, 8), 2 * 3), 3)
        >>> posterior = ConditionedPosterior(of_both, MLPEncoder((1, 8, 8), coding.outputs), coding)
        >>> likelihood = Bernoulli(MLPDecoder(3 + coding.inputs, (1, 8, 8)))
        >>> ring = TensorRing([Categorical(10), Categorical(2)], rank=4)
        >>> model = CVAE(StandardNormal(3), posterior, likelihood, ring)
        >>> images, conditions = model.generate(6, given=torch.tensor([7.0, float("nan")]))
        >>> images.shape, conditions[:, 0]
        (torch.Size([6, 1, 8, 8]), tensor([7., 7., 7., 7., 7., 7.]))
    """

    def __init__(
        self,
        prior: nn.Module,
        posterior: ConditionedPosterior,
        likelihood: nn.Module,
        condition_prior: TensorRing,
        *,
        warmup_epochs: int = 0,
    ) -> None:
        super().__init__(prior, posterior, likelihood, warmup_epochs=warmup_epochs)
        sizes = tuple(v.components if v.is_discrete else None for v in condition_prior.variables)
        if sizes != self.coding.sizes:
            raise ValueError(
                "condition_prior must have the variables of the posterior's conditions, of sizes "
                f"{self.coding.sizes}, got {sizes}"
            )
        self.condition_prior = condition_prior

    # -- training

    def _start_conditions(self, y: Tensor) -> None:
        super()._start_conditions(y)
        self.condition_prior.fit_initial(y)

    def _encoder_input(self, x: Tensor, y: Tensor) -> Tensor:
        return self.posterior.channels(x, self._filled(y, self.posterior.predict(x).sample()))

    def _initial_sample(self, x: Tensor, y: Tensor) -> Tensor:
        return self.posterior(x, y).sample()

    def loss(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """The negative objective, averaged over the batch, and its terms.

        Args:
            x: Shape ``(B, channels, height, width)``.
            y: Shape ``(B, c)``; NaN = not observed, None = nothing is.
        """
        y = self._observed(x, y)
        log_prior = self._log_prior_in_training()
        predicted = self.posterior.predict(x)
        full = self._filled(y, predicted.sample())
        z, log_q = sample_and_log_prob(self.posterior(x, full))
        terms = {
            "reconstruction": -self._decoded(z, full).log_prob(x).mean(),
            "kl": (log_q - log_prior(z)).mean(),
            "log_p_y": self.condition_prior().log_prob(y).mean(),
            "log_r_y_given_x": predicted.log_prob(y).mean(),
        }
        loss = terms["reconstruction"] + terms["kl"] - terms["log_p_y"] - terms["log_r_y_given_x"]
        return {"loss": loss, **terms}

    @staticmethod
    def _filled(y: Tensor, drawn: Tensor) -> Tensor:
        return torch.where(y.isnan(), drawn, y)

    def _decoded(self, z: Tensor, y: Tensor) -> Any:
        """p(x given z, y)."""
        return self.likelihood(torch.cat([z, self.coding.write(y).to(z.dtype)], -1))

    # -- bounds

    def _draw(self, x: Tensor, k: int, y: Tensor) -> Draws:
        r"""Draws of z and the missing conditions, :math:`r(y_m \mid x)\, q(z \mid x, y)`."""
        predicted, missing = self.posterior.predict(x), y.isnan()
        full = self._filled(y, predicted.sample((k,)))
        z, log_q = sample_and_log_prob(self.posterior(x.expand(k, *x.shape), full))
        log_r = predicted.log_prob(full.masked_fill(~missing, torch.nan))
        log_prior = self.log_prior(z) + self.condition_prior().log_prob(full)
        return Draws(self._decoded(z, full).log_prob(x), log_q + log_r - log_prior, partial(self.coding.answers, full))

    # -- questions

    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean image decoded from the mean code of ``x`` and the conditions that the predictor finds likeliest."""
        y = self.posterior.predict(x).mode
        return picture(self._decoded(mean_code(self.posterior(x, y)), y), x)

    def label_distribution(self) -> TensorRingDistribution:
        """p(y): the distribution of the c conditions."""
        return self.condition_prior()

    @torch.no_grad()
    def generate(
        self, n: int, given: Tensor | None = None, *, within: Mapping[int, Event] | None = None
    ) -> tuple[Tensor, Tensor]:
        """n images with their conditions; see :meth:`ConditionalVAE.generate`."""
        y = self.label_distribution().condition(self._given(n, given), within=within).sample()
        return picture(self._decoded(self.prior().sample((n,)), y)), y

    @torch.no_grad()
    def impute(self, x: Tensor, y: Tensor | None = None, *, draws: int = 8) -> list[Tensor]:
        """What the predictor says of every condition, r(y_j given x).

        Args:
            x: Shape ``(B, channels, height, width)``.
            y: Conditions known already, ``(B, c)``; NaN = not observed. The predictor does not take them into account.
            draws: Without a meaning here, where no codes are drawn.

        Returns:
            For each condition the probabilities of its values, ``(B, N_j)``, or the mean of a number, ``(B, 1)``;
            certainty of those that are known already.
        """
        return self._answers(self._observed(x, y), self.posterior.predict(x).answers)
