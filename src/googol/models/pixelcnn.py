"""The autoregressive model of images alone."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from googol.distributions.draws import check_count
from googol.likelihoods import Autoregressive


class PixelCNN(nn.Module):
    r"""p(x) itself, pixel by pixel, without codes. Its log-likelihood is exact.

    It has the bounds of a :class:`VAE`, all of them equal to log p(x), so that the same commands measure it.

    Args:
        likelihood: An autoregressive one without a decoder.

    Raises:
        ValueError: The likelihood has a decoder.

    Example:
        >>> from torch import nn
        >>> from googol.likelihoods import Autoregressive, Bernoulli
        >>> from googol import models, networks
        >>> network = networks.GatedPixelCNN((1, 8, 8), 1, width=4, layers=2)
        >>> model = models.PixelCNN(Autoregressive(network, Bernoulli(nn.Identity())))
        >>> model.log_prob(model.sample(3)).shape
        torch.Size([3])
    """

    exact: ClassVar[bool] = True
    """whether the importance-weighted bound is log p(x) with a single draw"""

    def __init__(self, likelihood: Autoregressive) -> None:
        super().__init__()
        if likelihood.decoder is not None:
            raise ValueError("likelihood must have no decoder: there are no codes")
        self.likelihood = likelihood

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, ``(B,)``, of images ``(B, channels, height, width)``."""
        found: Tensor = self.likelihood().log_prob(x)
        return found

    def log_likelihood(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """:meth:`log_prob` of the images; labels ``y`` play no part."""
        return self.log_prob(x)

    def loss(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """The mean of −log p(x); labels ``y`` play no part."""
        return {"loss": -self.log_prob(x).mean()}

    def elbo(self, x: Tensor) -> Tensor:
        """log p(x)."""
        return self.log_prob(x)

    def elbo_terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x) and a divergence of zero."""
        found = self.log_prob(x)
        return found, torch.zeros_like(found)

    def importance_bound(self, x: Tensor, k: int) -> Tensor:
        """log p(x), whatever k is."""
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        return self.log_prob(x)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """n images, drawn pixel by pixel.

        Raises:
            ValueError: n is negative.
        """
        check_count(n)
        return self.likelihood().sample((n,))
