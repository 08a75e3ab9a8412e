"""The groups that a tensor ring divides codes into without being told, and how well they agree with conditions."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from googol.data import Dataset
from googol.distributions import TensorRing
from googol.metrics.accuracy import Accuracy, agreement, commonest_values
from googol.metrics.evaluation import device_of, evaluating, in_order


class Grouping(NamedTuple):
    """What the groups of codes are worth.

    Args:
        number: How many groups there are codes in.
        accuracy: How often the most frequent value of a condition in a group is that of an image in it.
    """

    number: int
    accuracy: Accuracy


@torch.no_grad()
def groups(model: Any, x: Tensor) -> Tensor:
    """The group of the code of each image: the most probable value of the bond in the middle of the ring.

    In a train it is all that the two halves of the variables know of each other. Conditions play no part in it.

    Args:
        model: Has a ``posterior`` and a tensor ring as its ``prior``.
        x: Images, ``(B, channels, height, width)``.

    Returns:
        Numbers below the rank, ``(B,)``; random, as codes are drawn.

    Raises:
        ValueError: The prior is no tensor ring of at least two variables.
    """
    ring = getattr(model, "prior", None)
    if not isinstance(ring, TensorRing) or len(ring) < 2:
        raise ValueError(
            f"model must have a tensor ring of at least 2 variables as its prior, got {type(ring).__name__}"
        )
    codes = model.posterior(x).sample()
    unknown = codes.new_full((len(codes), len(ring) - codes.shape[1]), math.nan)
    middle = ring.order[(len(ring) - 1) // 2]
    return ring().bond_probs(middle, torch.cat([codes, unknown], -1)).argmax(-1)


def group_accuracy(model: Any, data: Dataset, *, batch_size: int = 500, seed: int = 0) -> Grouping:
    """See how well groups of codes agree with categorical conditions: the share that the most frequent value is right.

    Args:
        model: As for `groups`.
        data: Images with their true conditions. The most frequent value of a group is that among these images.
        batch_size: Images at once.
        seed: Of the codes that are drawn.

    Raises:
        ValueError: As for `groups`, or no categorical condition of the data is known.

    Example:
        >>> from googol.data import load
        >>> from googol.distributions import Categorical, Normal
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.models import JointVAE
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> ring = TensorRing([Normal(5)] * 2 + [Categorical(10)], rank=4, boundary="train")
        >>> posterior, likelihood = DiagonalNormal(MLPEncoder((1, 8, 8), 4), 2), Bernoulli(MLPDecoder(2, (1, 8, 8)))
        >>> group_accuracy(JointVAE(ring, posterior, likelihood), load("digits", "test")).number <= 4
        True
    """
    categorical = [condition.is_categorical for condition in data.schema]
    if bool(data.conditions[:, categorical].isnan().all()):
        raise ValueError(f"Expected data with a known categorical condition; {data.name} has none.")
    with evaluating(model, seed=seed):
        group = torch.cat([groups(model, x).cpu() for x, _ in in_order(data, batch_size, device_of(model))])
    said = commonest_values(data, group)
    return Grouping(len(group.unique()), agreement(said, data.conditions, data.schema))
