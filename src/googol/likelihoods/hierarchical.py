"""The likelihood with further layers of codes between z and the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from googol.distributions.draws import mean_code, sample_and_log_prob
from googol.distributions.hypersphere import require_same_space
from googol.likelihoods.autoregressive import Autoregressive


class LatentLayer(nn.Module):
    r"""A layer of codes below others: :math:`p(z_l \mid z_{>l})` and :math:`q(z_l \mid x, z_{>l})`.

    Any posterior of the library is either of them, with an encoder of codes for p and one of images and codes for q.

    Args:
        prior: Called with the codes of all layers above, side by side, the top one first.
        posterior: Called with x and these codes.

    Raises:
        ValueError: One of them is on the unit sphere, the other not.

    Example:
        >>> import torch
        >>> from googol.networks import MLP, JoinedEncoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> of_both = JoinedEncoder(MLPEncoder((1, 8, 8), 20), MLP(3, 20), MLP(40, 2 * 5))
        >>> layer = LatentLayer(DiagonalNormal(MLP(3, 2 * 5), 5), DiagonalNormal(of_both, 5))
        >>> above = torch.zeros(7, 3)
        >>> layer.prior(above).sample().shape, layer.posterior(torch.rand(7, 1, 8, 8), above).sample().shape
        (torch.Size([7, 5]), torch.Size([7, 5]))
    """

    prior: Any
    posterior: Any

    def __init__(self, prior: nn.Module, posterior: nn.Module) -> None:
        super().__init__()
        require_same_space(prior, posterior)
        self.prior = prior
        self.posterior = posterior


class Hierarchical(nn.Module):
    r"""p(x given the code of the top layer), with the codes of L − 1 layers below it drawn, not summed, out.

    .. math:: p(x \mid z_L) = \int p(x \mid z_1, \dots, z_L) \prod_{l < L} p(z_l \mid z_{l+1}, \dots, z_L)\, dz_{<L}

    A variational autoencoder of L stochastic layers is an ordinary one with this likelihood, so any prior and any
    posterior go on top: a VampPrior, a tensor ring, or the joint of codes and conditions. The layers' approximate
    posteriors :math:`q(z_l \mid x, z_{>l})` are parts of it, since its integral is estimated by them:

    .. math:: \log p(x \mid z_L) \approx \log p(x \mid z_1, \dots, z_L) + \sum_{l < L}
              \log \frac{p(z_l \mid z_{>l})}{q(z_l \mid x, z_{>l})}, \qquad z_l \sim q(z_l \mid x, z_{>l})

    The exponential of the estimate has the mean p(x given the code), so each bound of log p(x) that is made of it is
    the bound of the whole model: with one draw the evidence lower bound of all layers, with k the importance-weighted
    one.

    Args:
        layers: Those below the top, from the top to the image; none leaves the likelihood as it is.
        likelihood: p(x given the codes of all layers, side by side, the top one first).

    References:
        Tomczak & Welling, VAE with a VampPrior, 2018, equations 13 to 17, for two layers.

    Example:
        >>> import torch
        >>> from googol.likelihoods import Bernoulli, Hierarchical, LatentLayer
        >>> from googol.models import VAE
        >>> from googol.networks import MLP, JoinedEncoder, MLPDecoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> from googol.priors import StandardNormal
        >>> shape = (1, 8, 8)
        >>> of_both = JoinedEncoder(MLPEncoder(shape, 20), MLP(3, 20), MLP(40, 2 * 5))
        >>> layer = LatentLayer(DiagonalNormal(MLP(3, 2 * 5), 5), DiagonalNormal(of_both, 5))
        >>> likelihood = Hierarchical([layer], Bernoulli(MLPDecoder(3 + 5, shape)))
        >>> vae = VAE(StandardNormal(3), DiagonalNormal(MLPEncoder(shape, 2 * 3), 3), likelihood)
        >>> vae.importance_bound(torch.rand(7, *shape), k=10).shape, vae.sample(2).shape
        (torch.Size([7]), torch.Size([2, 1, 8, 8]))
    """

    layers: Any
    likelihood: Any

    def __init__(self, layers: Sequence[LatentLayer], likelihood: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.likelihood = likelihood

    @property
    def log_bin(self) -> float | None:
        """That of the likelihood at the bottom."""
        found: float | None = self.likelihood.log_bin
        return found

    @property
    def dequantized(self) -> bool:
        """That of the likelihood at the bottom."""
        return bool(self.likelihood.dequantized)

    def forward(self, z: Tensor) -> HierarchicalDistribution:
        """The distribution of x."""
        return HierarchicalDistribution(z, self)


def has_mean(likelihood: Any) -> bool:
    """Whether the mean of p(x given all codes) is known: it is not, where pixels are told by those before them.

    Args:
        likelihood: Any of this package.

    Example:
        >>> from torch import nn
        >>> from googol.likelihoods import Bernoulli
        >>> has_mean(Hierarchical([], Bernoulli(nn.Identity())))
        True
    """
    while isinstance(likelihood, Hierarchical):
        likelihood = likelihood.likelihood
    return not isinstance(likelihood, Autoregressive)


class HierarchicalDistribution(Distribution):
    """p(x given the code of the top layer); see `Hierarchical`.

    Its densities and samples draw codes, so its ``log_prob`` is an estimate and differs from call to call.
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, z: Tensor, parts: Hierarchical) -> None:
        super().__init__(z.shape[:-1], validate_args=False)
        self.z, self.parts = z, parts

    @property
    def event_shape(self) -> torch.Size:
        """The shape of an image."""
        return torch.Size(self.decoded().event_shape)

    def layers(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """log p(x given all codes), those below the top drawn from q, and log q − log p of each layer of these."""
        z, divergences = self.z, []
        for layer in self.parts.layers:
            code, log_q = sample_and_log_prob(layer.posterior(x, z))
            divergences.append(log_q - layer.prior(z).log_prob(code))
            z = torch.cat([z, code], -1)
        return self.parts.likelihood(z).log_prob(x), divergences

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of an unbiased estimate of p(x given the code), of the shape of the batch."""
        log_likelihood, divergences = self.layers(value)
        return log_likelihood - sum(divergences, torch.zeros_like(log_likelihood))

    def decoded(self, x: Tensor | None = None) -> Any:
        """p(x given all codes), those below the top drawn from p; or, given an image, the means of q."""
        z = self.z
        for layer in self.parts.layers:
            code = layer.prior(z).rsample() if x is None else mean_code(layer.posterior(x, z))
            z = torch.cat([z, code], -1)
        return self.parts.likelihood(z)

    def sample(self, sample_shape: torch.Size | Sequence[int] = ()) -> Tensor:
        """Images, each with codes of its own."""
        with torch.no_grad():
            z = self.z.expand(*sample_shape, *self.z.shape)
            images: Tensor = HierarchicalDistribution(z, self.parts).decoded().sample()
            return images
