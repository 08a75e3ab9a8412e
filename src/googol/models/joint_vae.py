"""The variational autoencoder whose codes and labels share one tensor ring: VAE-TTLP and VAE-TRIP."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from googol.distributions import Event, TensorRing, TensorRingDistribution
from googol.distributions.draws import mean_code, picture, sample_and_log_prob
from googol.likelihoods import has_mean
from googol.models.conditional import ConditionalVAE, Draws, check_draws, check_given
from googol.models.reading import constant, log_read_back
from googol.models.vae import likelihood_and_divergences

SURE = 0.95  # the probability from which on a filled-in condition is learned from


class JointVAE(ConditionalVAE):
    r"""A variational autoencoder with a joint distribution :math:`p(z, y)` of codes and conditions.

    For an object x with observed conditions :math:`y_{ob}` it maximises (equation 6 of the reference)

    .. math:: E_{q(z \mid x)} [\log p(x \mid z) + \log p(z, y_{ob}) - \log q(z \mid x)]
              + \lambda\, \big(E_{q(z \mid x)} \log p(y_{ob} \mid z) + \log p(y_{ob})\big)

    where the conditions that are not observed are summed out exactly, and the second line is an option that makes
    the codes tell the labels, without letting the distribution of these drift. (Of a single categorical condition that
    is set in the end, see :meth:`on_train_end`, and its part is left out.) It generates under any subset of the
    conditions and fills in the others.

    The bound grows with the pixels, and so has λ to. The prior does not see pixels: with a large λ of its own it would
    tell labels apart where codes are, at the price of where it has codes itself. So it can have a weight μ in place of
    λ for its parameters.

    The bound hardly notices prior mass where no code ever falls, which decodes to nonsense. Another option asks that
    the model can read what it generates,

    .. math:: \kappa\, E_{p(y)\, p(z \mid y)\, q(z' \mid \hat x(z))} \log p(y \mid z'),

    where the gradient goes through the decoded image and the code (by :meth:`rsample
    <googol.distributions.TensorRingDistribution.rsample>`) into the decoder and the ring, and not into the reader.

    Where few labels are known, a third option takes the missing categorical conditions of which the model is sure
    (a probability of 0.95) for known ones, :math:`E_{q(z \mid x)} \log p(\hat y \mid z)` with :math:`\hat y` the most
    probable value given z (Lee, Pseudo-Label, 2013). It is no part of the bound, and plays no part in validation.

    Training can start with stages: for ``warmup_epochs`` the codes have a standard normal prior and the labels play
    no part; then the ring starts from the codes and labels of the training data
    (:meth:`~googol.distributions.TensorRing.fit_initial`), and everything is trained together, or, with
    ``freeze_autoencoder`` ("pretrained VAE"), the ring alone.

    Args:
        prior: A ring or train over the d latents followed by the c conditions.
        posterior: q(z given x), over d latents.
        likelihood: p(x given z).
        label_weight: The weight λ of log p(y given z) for the codes, not negative.
        prior_label_weight: That for the prior, μ, and, of several conditions, of log p(y); not negative, by default λ.
        consistency_weight: The weight κ of reading back what is generated, not negative.
        self_training_weight: The weight of log p(y given z) for conditions that the model fills in, not negative.
        warmup_epochs: How many epochs of a plain VAE come first.
        kl_warmup_epochs: Over how many epochs the weight of the divergence rises.
        freeze_autoencoder: Whether only the ring is trained after the warm-up.
        free_bits: How many nats of the mean divergence of each layer of codes cost nothing in training.

    References:
        Kuznetsov et al., Subset-Conditioned Generation Using Variational Autoencoder With A Learnable Tensor-Train
        Induced Prior (2018), equations 4 to 8; Kuznetsov et al., A Prior of a Googol Gaussians (2019).

    Example:
        >>> import torch
        >>> from googol.distributions import Categorical, Normal, TensorRing
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> prior = TensorRing([Normal(5)] * 3 + [Categorical(10), Categorical(2)], rank=4)
        >>> posterior = DiagonalNormal(MLPEncoder((1, 8, 8), 2 * 3), 3)
        >>> model = JointVAE(prior, posterior, Bernoulli(MLPDecoder(3, (1, 8, 8))))
        >>> model.sample(6, given=torch.tensor([7.0, float("nan")])).shape
        torch.Size([6, 1, 8, 8])
        >>> [probs.shape for probs in model.impute(torch.rand(4, 1, 8, 8))]
        [torch.Size([4, 10]), torch.Size([4, 2])]
    """

    prior: TensorRing

    def __init__(
        self,
        prior: TensorRing,
        posterior: nn.Module,
        likelihood: nn.Module,
        *,
        label_weight: float = 0.0,
        prior_label_weight: float | None = None,
        consistency_weight: float = 0.0,
        self_training_weight: float = 0.0,
        warmup_epochs: int = 0,
        kl_warmup_epochs: int = 0,
        freeze_autoencoder: bool = False,
        free_bits: float = 0.0,
    ) -> None:
        super().__init__(
            prior,
            posterior,
            likelihood,
            warmup_epochs=warmup_epochs,
            kl_warmup_epochs=kl_warmup_epochs,
            free_bits=free_bits,
        )
        if not isinstance(posterior.latents, int):
            raise TypeError("posterior must have an attribute latents, the number of latent variables")
        self.latents = posterior.latents
        self.conditions = len(prior) - self.latents
        if self.conditions < 1:
            raise ValueError(
                f"prior must have more variables than posterior has latents, got {len(prior)} and {self.latents}"
            )
        if freeze_autoencoder and warmup_epochs < 1:
            raise ValueError("freeze_autoencoder needs warmup_epochs of at least 1, got 0: nothing would be trained")
        own_weight = label_weight if prior_label_weight is None else prior_label_weight
        weights = {"label_weight": label_weight, "prior_label_weight": own_weight}
        weights |= {"consistency_weight": consistency_weight, "self_training_weight": self_training_weight}
        for name, weight in weights.items():
            if not weight >= 0:
                raise ValueError(f"{name} must not be negative, got {weight}")
        if consistency_weight and not has_mean(likelihood):
            raise ValueError(
                "consistency_weight must be 0 with an autoregressive likelihood: its images are drawn and have no "
                f"gradient; got {consistency_weight}"
            )
        self.label_weight = label_weight
        self.prior_label_weight = own_weight
        self.consistency_weight = consistency_weight
        self.self_training_weight = self_training_weight
        self.freeze_autoencoder = freeze_autoencoder

    # -- training

    def _initial_sample(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([super()._initial_sample(x, y), y], -1)

    def on_train_end(self, y: Tensor) -> None:
        """Gives each discrete condition the shares of its values in the data, and leaves p(z given y) as it is.

        Conditions that are weighted more than codes let the shares drift. Those of the data are smoothed by one
        example of each value.

        Args:
            y: The conditions of the training data, ``(n, c)``; NaN = not observed.
        """
        learned = any(parameter.requires_grad for parameter in self.prior.parameters())
        if not self._has_started() or not learned:
            return
        shares = dict[int, Tensor]()
        for j, label in enumerate(self.prior.variables[self.latents :]):
            observed = y[~y[:, j].isnan(), j]
            if label.is_discrete and len(observed):
                shares[self.latents + j] = 1 + observed.long().bincount(minlength=label.components)
        self.prior.match_marginals(shares)

    def loss(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """The negative objective, averaged over the batch, and its terms.

        Args:
            x: Shape ``(B, channels, height, width)``.
            y: Shape ``(B, c)``; NaN = not observed, None = nothing is.
        """
        y = self._observed(x, y)
        if not self._has_started():
            return super().loss(x, y)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_autoencoder):
            z, log_q = sample_and_log_prob(self.posterior(x))
            log_likelihood, below = likelihood_and_divergences(self.likelihood(z), x)
        joint = self.prior()
        log_code, log_label = self.log_code_and_label(joint, z, y)
        terms = self._bound_terms(log_likelihood, [log_q - log_code, *below])
        log_label = log_label.mean()
        loss = terms["loss"] - (1 + self.prior_label_weight) * log_label
        if self.label_weight != self.prior_label_weight:
            of_codes = self.log_code_and_label(constant(self.prior), z, y)[1].mean()
            loss = loss - (self.label_weight - self.prior_label_weight) * of_codes
        if self.self_training_weight and self.training:
            filled = self._filled_in(joint, z, y)
            loss = loss - self.self_training_weight * self.log_code_and_label(joint, z, filled)[1].mean()
        terms["log_p_y_given_z"] = log_label
        weighs_labels = self.prior_label_weight > 0 and not self._has_single_label()
        if weighs_labels or self.consistency_weight:
            labels = self._labels(joint)  # once for both: it takes a tenth of a step
            if weighs_labels:
                terms["log_p_y"] = labels.log_prob(y).mean()
                loss = loss - self.prior_label_weight * terms["log_p_y"]
            if self.consistency_weight:
                terms["consistency"] = -log_read_back(self, joint, labels, max(1, len(x) // 4))
                loss = loss + self.consistency_weight * terms["consistency"]
        return terms | {"loss": loss}

    def _labels(self, joint: TensorRingDistribution) -> TensorRingDistribution:
        return joint.marginal(range(self.latents, len(self.prior)))

    def _has_single_label(self) -> bool:
        return self.conditions == 1 and self.prior.variables[-1].is_discrete

    @torch.no_grad()
    def _filled_in(self, joint: TensorRingDistribution, z: Tensor, y: Tensor) -> Tensor:
        """The missing categorical conditions of which the model is sure; NaN for all others."""
        chance, index = joint.component_probs(_beside(z, y))[..., self.latents :, :].max(-1)
        discrete = torch.tensor([v.is_discrete for v in self.prior.variables[self.latents :]], device=y.device)
        return index.to(y.dtype).masked_fill(~(y.isnan() & discrete & (chance >= SURE)), torch.nan)

    def log_code_and_label(self, joint: TensorRingDistribution, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """log p(z) and log p(y_ob given z) of every row.

        Args:
            joint: p(z, y), of this model's prior.
            z: Codes, ``(B, d)``.
            y: Conditions, ``(B, c)``; NaN = not observed.
        """
        both = range(joint.event_shape[0]), range(self.latents)
        log_joint, log_code = joint.log_marginals(_beside(z, y), both)
        return log_code, log_joint - log_code

    # -- bounds

    def log_prior(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(z, y_ob), with NaN and all of ``None`` summed out."""
        y = z.new_full((self.conditions,), torch.nan) if y is None else y
        return self.prior().log_prob(_beside(z, y.expand(*z.shape[:-1], -1)))

    def _draw(self, x: Tensor, k: int, y: Tensor) -> Draws:
        """Draws of z from q(z given x), which are no better for what is known of y."""
        z, log_likelihood, divergence = self._terms(x, (k,), partial(self.log_prior, y=y))
        return Draws(log_likelihood, divergence, partial(self._condition_probs, z, y))

    # -- questions

    def label_distribution(self) -> TensorRingDistribution:
        """p(y): the distribution of the c conditions, with the codes summed out."""
        return self._labels(self.prior())

    def conditional(
        self, given: Tensor | None = None, *, within: Mapping[int, Event] | None = None
    ) -> TensorRingDistribution:
        """p(z, y given what is known of the conditions), over d codes and c conditions.

        Args:
            given: Conditions of shape ``(…, c)``; NaN = left open.
            within: Intervals and sets in which others lie, by the number of the condition.

        Raises:
            ValueError: There is no such condition, or what is given cannot be.
        """
        joint, events = self.prior(), dict[int, Event]()
        for number, event in (within or {}).items():
            if not -self.conditions <= number < self.conditions:
                last = self.conditions - 1
                raise ValueError(f"within must be of conditions from {-self.conditions} to {last}, got {number}")
            events[self.latents + number % self.conditions] = event
        if given is None:
            return joint.condition(within=events)
        evidence = joint.log_normalizer.new_full((*given.shape[:-1], len(self.prior)), torch.nan)
        evidence[..., self.latents :] = given
        return joint.condition(evidence, within=events)

    @torch.no_grad()
    def generate(
        self,
        n: int,
        given: Tensor | None = None,
        *,
        within: Mapping[int, Event] | None = None,
        temperature: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """n images with their conditions; see :meth:`ConditionalVAE.generate`.

        Args:
            n: The number of images.
            given: Conditions of shape ``(c,)``, or ``(n, c)`` with a pattern for each image; NaN = left open.
            within: Intervals and sets in which others lie, by the number of the condition.
            temperature: What the distances of codes from the means of their components are multiplied by: below 1 for
                typical images, 0 for the means themselves. Conditions are drawn as they are at any temperature.

        Raises:
            ValueError: As for :meth:`ConditionalVAE.generate`, or the temperature is negative or infinite.
        """
        check_given(given, n, self.conditions)
        shape = (n,) if given is None or given.dim() == 1 else ()
        joint = self.conditional(given, within=within)
        temperatures = torch.ones(len(self.prior), dtype=torch.float64)
        temperatures[: self.latents] = temperature
        drawn = joint.sample(shape, temperature=temperatures)
        codes, conditions = drawn.split([self.latents, self.conditions], -1)
        return picture(self.likelihood(codes)), conditions

    @torch.no_grad()
    def edit(self, x: Tensor, old: Tensor, new: Tensor) -> Tensor:
        r"""Images with other conditions: their codes moved from one conditional distribution to another.

        With F the distribution function of each code given those before it,

        .. math:: z' = F_{y'}^{-1}(F_y(z)), \qquad z = E[z \mid x],

        so a code keeps its place: what was unusual of its kind stays unusual, and codes that follow p(z given y) become
        such that follow p(z given y') (the Rosenblatt transformation and its inverse). Equal conditions leave a
        code as it is. Codes of further layers are those of x beside the moved one.

        Args:
            x: Shape ``(B, channels, height, width)``.
            old: Their conditions, ``(c,)`` or ``(B, c)``; NaN = not known.
            new: The conditions that they shall have, of the same shapes; NaN = left open.

        Returns:
            Means of p(x given z'), of the shape of x.

        Raises:
            ValueError: Conditions have another shape.
        """
        shape = len(x), self.conditions
        for name, given in (("old", old), ("new", new)):
            if given.shape not in {shape, shape[1:]}:
                raise ValueError(f"{name} must have the shape {shape[1:]} or {shape}, got {tuple(given.shape)}")
        codes = range(self.latents)
        before, after = (self.conditional(y).marginal(codes) for y in (old, new))
        place = before.to_scores(mean_code(self.posterior(x)))
        return picture(self.likelihood(after.from_scores(place)), x)

    @torch.no_grad()
    def impute(self, x: Tensor, y: Tensor | None = None, *, draws: int = 8) -> list[Tensor]:
        r"""p(y_j given x and the observed conditions) of every discrete condition.

        .. math:: p(y_j \mid x, y_{ob}) \approx \frac1L \sum_l p(y_j \mid z_l, y_{ob}),
                  \qquad z_l \sim q(z \mid x)

        Args:
            x: Shape ``(B, channels, height, width)``.
            y: Conditions known already, ``(B, c)``; NaN = not observed.
            draws: The number L of codes drawn for each x.

        Returns:
            For each condition the probabilities of its values, ``(B, N_j)``; for a continuous condition the
            probabilities of its components.
        """
        check_draws(draws)
        y = self._observed(x, y)
        z = self.posterior(x).sample((draws,))
        return [probs.mean(0) for probs in self._condition_probs(z, y)]

    def _condition_probs(self, z: Tensor, y: Tensor) -> list[Tensor]:
        """p(s_j given z and the observed conditions) of every condition, (draws, B, N_j)."""
        probs = self.prior().component_probs(_beside(z, y.expand(*z.shape[:-1], -1)))
        labels = self.prior.variables[self.latents :]
        return [probs[..., self.latents + j, : label.components] for j, label in enumerate(labels)]


def _beside(z: Tensor, y: Tensor) -> Tensor:
    """Codes and conditions side by side, in single precision at least: in half, neighbours would pass for equal."""
    dtype = torch.promote_types(z.dtype, torch.float32)
    return torch.cat([z.to(dtype), y.to(dtype)], -1)
