"""The variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


class VAE(nn.Module):
    r"""A latent variable model :math:`p(z) p(x \mid z)` with an approximate posterior :math:`q(z \mid x)`.

    Any prior goes with any posterior and any likelihood: each is a module that returns a distribution.

    Args:
        prior: Called without arguments, returns p(z).
        posterior: Called with x, returns q(z given x).
        likelihood: Called with z, returns p(x given z).

    References:
        Kingma & Welling, Auto-Encoding Variational Bayes, 2014.

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

    def __init__(self, prior: nn.Module, posterior: nn.Module, likelihood: nn.Module) -> None:
        super().__init__()
        self.prior = prior
        self.posterior = posterior
        self.likelihood = likelihood

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

    def importance_bound(self, x: Tensor, k: int) -> Tensor:
        r"""The importance-weighted bound :math:`\log \frac1k \sum_i p(x \mid z_i) p(z_i) / q(z_i \mid x)`.

        It rises with k to log p(x) (Burda et al., Importance Weighted Autoencoders, 2016, equation 8).

        Args:
            x: Shape ``(B, channels, height, width)``.
            k: The number of draws from the posterior, at least 1.

        Returns:
            Shape ``(B,)``, in nats.
        """
        return self._importance_weighted(x, k, self.log_prior)

    def _importance_weighted(self, x: Tensor, k: int, log_prior: Callable[[Tensor], Tensor]) -> Tensor:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        q = self.posterior(x)
        z = q.rsample((k,))
        log_weights = self.likelihood(z).log_prob(x) + log_prior(z) - q.log_prob(z)
        return log_weights.logsumexp(0) - math.log(k)

    def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The negative ELBO, averaged over the batch, and its two terms; labels ``y`` play no part."""
        return self._negative_elbo(x, self.log_prior)

    def _negative_elbo(self, x: Tensor, log_prior: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        q = self.posterior(x)
        z = q.rsample()
        reconstruction = -self.likelihood(z).log_prob(x).mean()
        kl = (q.log_prob(z) - log_prior(z)).mean()
        return {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}

    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean image decoded from the mean code of ``x``."""
        return self.likelihood(self.posterior(x).mean).mean

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """n images: the means of p(x given z) for z drawn from the prior."""
        return self.likelihood(self.prior().sample((n,))).mean
