"""Pairs of latent variables: which are worth a picture, and their density."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from googol.distributions import Mixture, TensorRingDistribution


def pair_density(distribution: Any, pair: Sequence[int]) -> Any:
    """The density of two variables, the first before the second.

    It is the marginal of a tensor ring, of a normal with independent variables, or of a mixture of such; another
    distribution itself if it has no more than these variables, or else None.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> normal = Independent(Normal(torch.tensor([0.0, 1.0, 2.0]), torch.ones(3)), 1)
        >>> pair_density(normal, (0, 2)).mean
        tensor([0., 2.])
    """
    chosen = list(pair)
    if isinstance(distribution, TensorRingDistribution):
        return distribution.marginal(chosen)
    if isinstance(distribution, Mixture):
        components = pair_density(distribution.components, chosen)
        return None if components is None else Mixture(distribution.logits, components)
    base = getattr(distribution, "base_dist", None)
    if isinstance(distribution, Independent) and isinstance(base, Normal):
        return Independent(Normal(base.loc[..., chosen], base.scale[..., chosen]), 1)
    return distribution if tuple(distribution.event_shape) == (2,) else None


def dependent_pairs(codes: Tensor, count: int) -> list[tuple[int, int]]:
    """The pairs of variables that depend most on each other, no variable twice: by the largest correlation of two
    variables or of their squares.

    Arguments:
        codes: Samples, (n, variables).
        count: How many pairs at most.
    """
    standard = (codes - codes.mean(0)) / codes.std(0, correction=0)
    both = torch.stack([standard, (standard.square() - 1) / standard.square().std(0, correction=0)])
    dependence = (both.mT @ both / len(codes)).abs().amax(0)
    firsts, seconds = torch.triu_indices(codes.shape[1], codes.shape[1], 1, device=codes.device)
    pairs: list[tuple[int, int]] = []
    for number in dependence[firsts, seconds].argsort(descending=True).tolist():
        pair = int(firsts[number]), int(seconds[number])
        if len(pairs) < count and not {*pair} & {i for chosen in pairs for i in chosen}:
            pairs.append(pair)
    return pairs


def active_pairs(codes: Tensor, others: Tensor, count: int) -> list[tuple[int, int]]:
    """Pairs of the variables that tell most about the image, no variable twice.

    Arguments:
        codes: Codes of images, drawn from q(z given x), (n, variables).
        others: Codes of the same images, drawn once more.
        count: How many pairs at most.
    """
    # Codes drawn twice for the same image vary together as much as their mean varies between images.
    activity = ((codes - codes.mean(0)) * (others - others.mean(0))).mean(0)
    order = activity.argsort(descending=True).tolist()[: 2 * count]
    return [(min(pair), max(pair)) for pair in zip(order[::2], order[1::2], strict=False)]
