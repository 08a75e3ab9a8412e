"""The variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]


class VAE(nn.Module):
    r"""A latent variable model :math:`p(z) p(x \mid z)` with an approximate posterior :math:`q(z \mid x)`.

    Any prior goes with any posterior and any likelihood: each is a module that returns a distribution.

    Training can start in two ways that help rich priors. For ``warmup_epochs`` the codes have a standard normal prior,
    and then the model's own starts from the codes of the training data. And over ``kl_warmup_epochs`` the weight of the
    divergence from the prior rises to 1, so that the codes come into use before they are asked to be simple; bounds
    and validation have the weight 1 throughout.

    Args:
        prior: Called without arguments, returns p(z).
        posterior: Called with x, returns q(z given x).
        likelihood: Called with z, returns p(x given z).
        warmup_epochs: How many epochs with a standard normal prior come first.
        kl_warmup_epochs: Over how many epochs the weight of the divergence rises.

    Raises:
        ValueError: One of prior and posterior lives on the unit sphere and the other does not, or a number of epochs is
            negative.

    References:
        Kingma & Welling, Auto-Encoding Variational Bayes, 2014; Bowman et al., Generating Sentences from a Continuous
        Space, 2016, on the rising weight.

    Example:
        >>> import torch
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> from googol.priors import StandardNormal
        >>> shape = (1, 8, 8)
        >>> posterior = DiagonalNormal(MLPEncoder(shape, 2 * 3), 3)
        >>> vae = VAE(StandardNormal(3), posterior, Bernoulli(MLPDecoder(3, shape)))
        >>> vae.elbo(torch.rand(5, *shape)).shape
        torch.Size([5])
        >>> vae.sample(2).shape
        torch.Size([2, 1, 8, 8])
    """

    prior: Any  # an nn.Module; it may have start_from(images) or fit_initial(codes)
    started: Tensor
    kl_weight: Tensor

    def __init__(
        self,
        prior: nn.Module,
        posterior: nn.Module,
        likelihood: nn.Module,
        *,
        warmup_epochs: int = 0,
        kl_warmup_epochs: int = 0,
    ) -> None:
        super().__init__()
        supports = [getattr(part, "support", None) for part in (prior, posterior)]
        if supports[0] is not supports[1]:
            raise ValueError(
                "expected prior and posterior on the same space, but one of them is on the unit sphere: "
                f"got {type(prior).__name__} and {type(posterior).__name__}"
            )
        if supports[0] is not None and warmup_epochs:
            raise ValueError(
                f"warmup_epochs must be 0 on the unit sphere, where no code is normal, got {warmup_epochs}"
            )
        for name, epochs in (("warmup_epochs", warmup_epochs), ("kl_warmup_epochs", kl_warmup_epochs)):
            if epochs < 0:
                raise ValueError(f"{name} must not be negative, got {epochs}")
        self.prior = prior
        self.posterior = posterior
        self.likelihood = likelihood
        self.warmup_epochs = warmup_epochs
        self.kl_warmup_epochs = kl_warmup_epochs
        # Parts of the state, so that training can be resumed: whether the prior is in use yet, and the weight.
        self.register_buffer("started", torch.tensor(warmup_epochs == 0))
        self.register_buffer("kl_weight", torch.tensor(1.0))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        # Weights saved before there were these belong to a model that uses its prior, with the weight 1.
        state_dict.setdefault(f"{prefix}started", torch.tensor(True))
        state_dict.setdefault(f"{prefix}kl_weight", torch.tensor(1.0))
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    # -- training

    def on_epoch_start(self, epoch: int, batches: Batches) -> bool:
        """Sets the weight of the divergence, and starts the prior from training data when the warm-up is over.

        Args:
            epoch: The epoch that begins, from 0.
            batches: Gives the training data in batches ``(x, y)``.

        Returns:
            Whether the prior's parameters have been set anew.
        """
        if self.kl_warmup_epochs:
            self.kl_weight.fill_(min(1.0, (epoch + 1) / self.kl_warmup_epochs))
        if epoch != self.warmup_epochs:
            return False
        starts = self._start_prior(batches)
        self.started.fill_(True)
        return starts

    @torch.no_grad()
    def _start_prior(self, batches: Batches) -> bool:
        """Starts a prior made of training images from some, and after a warm-up any other that can be from codes."""
        if hasattr(self.prior, "start_from"):
            self.prior.start_from(self._encoder_input(x, y) for x, y in batches())
        elif self.warmup_epochs and hasattr(self.prior, "fit_initial"):
            self.prior.fit_initial(torch.cat([self._initial_sample(x, y) for x, y in batches()]))
        else:
            return False
        return True

    def _encoder_input(self, x: Tensor, y: Tensor) -> Tensor:
        """What the encoder sees."""
        return x

    def _initial_sample(self, x: Tensor, y: Tensor) -> Tensor:
        """What the prior starts from: codes of training data."""
        return self.posterior(x).sample()

    def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The negative ELBO, averaged over the batch, and its two terms; labels ``y`` play no part."""
        _, log_likelihood, kl = (term.mean() for term in self._terms(x, (), self._log_prior_in_training))
        weighted = self.kl_weight * kl if self.training and self.kl_warmup_epochs else kl
        return {"loss": weighted - log_likelihood, "reconstruction": -log_likelihood, "kl": kl}

    def _log_prior_in_training(self, z: Tensor) -> Tensor:
        """log p(z), during the warm-up that of a standard normal prior."""
        return self.log_prior(z) if bool(self.started) else _log_standard_normal(z)

    def _terms(
        self, x: Tensor, sample_shape: tuple[int, ...], log_prior: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Codes drawn from q, their log p(x given z), and their log q(z given x) − log p(z)."""
        z, log_q = sample_and_log_prob(self.posterior(x), sample_shape)
        return z, self.likelihood(z).log_prob(x), log_q - log_prior(z)

    # -- bounds

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z)."""
        return self.prior().log_prob(z)

    def elbo(self, x: Tensor) -> Tensor:
        r"""The evidence lower bound :math:`\log p(x \mid z) + \log p(z) - \log q(z \mid x)` with one z a row.

        Args:
            x: Shape ``(B, channels, height, width)``.

        Returns:
            Shape ``(B,)``, in nats.
        """
        return self.importance_bound(x, 1)

    def elbo_terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""The two terms of the bound with one z a row, :math:`\log p(x \mid z)` and
        :math:`\log q(z \mid x) - \log p(z)`, each of shape ``(B,)``, in nats; their difference is the bound.
        """
        return self._terms(x, (), self.log_prior)[1:]

    def importance_bound(self, x: Tensor, k: int) -> Tensor:
        r"""The importance-weighted bound :math:`\log \frac1k \sum_i p(x \mid z_i) p(z_i) / q(z_i \mid x)`.

        It rises with k to log p(x) (Burda et al., Importance Weighted Autoencoders, 2016, equation 8).

        Args:
            x: Shape ``(B, channels, height, width)``.
            k: The number of draws from the posterior, at least 1.

        Returns:
            Shape ``(B,)``, in nats.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        _, log_likelihood, kl = self._terms(x, (k,), self.log_prior)
        return (log_likelihood - kl).logsumexp(0) - math.log(k)

    # -- questions

    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean image decoded from the mean code of ``x``, or from a code drawn where the mean is not known."""
        return self.likelihood(mean_code(self.posterior(x))).mean

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """n images: the means of p(x given z) for z drawn from the prior."""
        return self.likelihood(self.prior().sample((n,))).mean


def sample_and_log_prob(q: Distribution, sample_shape: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """Values drawn from a distribution, differentiable in it, with their log-densities.

    A flow knows the density of what it has drawn without inverting itself.

    Example:
        >>> import torch
        >>> z, log_q = sample_and_log_prob(torch.distributions.Normal(torch.zeros(3), 1.0), (5,))
        >>> z.shape, log_q.shape
        (torch.Size([5, 3]), torch.Size([5, 3]))
    """
    if hasattr(q, "rsample_and_log_prob"):
        return q.rsample_and_log_prob(torch.Size(sample_shape))
    z = q.rsample(torch.Size(sample_shape))
    return z, q.log_prob(z)


def mean_code(q: Distribution) -> Tensor:
    """The mean of a distribution of codes, or a code drawn from it where the mean is not known."""
    try:
        return q.mean
    except NotImplementedError:
        return q.rsample()


def _log_standard_normal(z: Tensor) -> Tensor:
    return Independent(Normal(torch.zeros_like(z), 1.0, validate_args=False), 1).log_prob(z)
