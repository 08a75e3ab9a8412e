"""What is known of a model's codes and parts: how many latents it uses, and how many parameters."""

from typing import Protocol

import torch
from torch import nn

from googol.data import Dataset
from googol.metrics.evaluation import Evaluable, device_of, evaluating, in_order

# Below this variance of its mean a latent says next to nothing of an image.
THRESHOLD = 0.01


class Encoding(Evaluable, Protocol):
    """A model with a posterior."""

    @property
    def posterior(self) -> nn.Module: ...


def active_units(model: Encoding, data: Dataset, *, draws: int = 8, batch_size: int = 256, seed: int = 0) -> int:
    r"""The number of latents whose posterior mean varies between images.

    .. math:: \#\{j : \operatorname{Var}_x E_{q(z \mid x)}[z_j] > 0.01\}

    The variance is estimated without bias, whatever the posterior, as the covariance of the means of two independent
    sets of draws.

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, https://arxiv.org/abs/1509.00519, section 5.2.

    Args:
        model: Has ``posterior(x)``.
        data: The images, at least two.
        draws: Codes drawn for each image, in each of the sets.
        batch_size: Images at once.
        seed: Of the draws.

    Raises:
        ValueError: There are fewer than two images, or no draws.

    Example:
        >>> from googol.data import load
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.models import VAE
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> from googol.priors import StandardNormal
        >>> posterior, likelihood = DiagonalNormal(MLPEncoder((1, 8, 8), 4), 2), Bernoulli(MLPDecoder(2, (1, 8, 8)))
        >>> model, data = VAE(StandardNormal(2), posterior, likelihood), load("digits", "test")
        >>> active_units(model, data) <= 2
        True
    """
    if len(data) < 2 or draws < 1:
        raise ValueError(f"Expected at least 2 images and draws of at least 1; got {len(data)} and {draws}.")
    with evaluating(model, seed=seed):
        means = [
            model.posterior(x).sample(torch.Size((2, draws))).double().mean(1)
            for x, _ in in_order(data, batch_size, device_of(model))
        ]
    first, second = (half - half.mean(0) for half in torch.cat(means, 1))
    return int(((first * second).mean(0) > THRESHOLD).sum())


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """The number of parameters of each part of a model, learned or fixed.

    Args:
        model: Its parts are its children.

    Example:
        >>> from torch import nn
        >>> parameter_counts(nn.ModuleDict({"prior": nn.Linear(2, 1), "posterior": nn.Tanh()}))
        {'prior': 3, 'posterior': 0}
    """
    return {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
