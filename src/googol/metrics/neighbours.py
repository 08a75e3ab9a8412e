"""How well generated images cover the real ones, by distances between neighbours."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from googol.data import Dataset
from googol.metrics.evaluation import device_of, evaluating, in_order
from googol.metrics.frechet import Generative, in_batches

_ROWS = 1000  # of a matrix of distances at once


class Coverage(NamedTuple):
    """What two sets of vectors have of each other.

    Attributes:
        precision: The share of generated vectors in the neighbourhood of a real one.
        recall: The share of real vectors in the neighbourhood of a generated one.
        density: In how many neighbourhoods of real vectors a generated one lies, divided by k: 1 if both follow the
            same distribution, more where real ones are dense.
        coverage: The share of real vectors with a generated one in their neighbourhood.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(real: Tensor, generated: Tensor, *, k: int = 5) -> Coverage:
    r"""Compares two sets of vectors by the balls that reach from each vector to its k-th neighbour in its own set.

    With :math:`B_i` the ball of real vector i and :math:`B'_j` that of generated vector j,

    .. math::
        \text{precision} = \frac1m \sum_j 1[y_j \in \cup_i B_i], \quad
        \text{recall} = \frac1n \sum_i 1[x_i \in \cup_j B'_j], \quad
        \text{density} = \frac{1}{km} \sum_{j, i} 1[y_j \in B_i], \quad
        \text{coverage} = \frac1n \sum_i 1[\exists j: y_j \in B_i].

    References:
        Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, 2019; Naeem et al.,
        Reliable Fidelity and Diversity Metrics for Generative Models, 2020, equations 3 and 4.

    Args:
        real: ``(n, d)``, more than k rows.
        generated: ``(m, d)``, more than k rows.
        k: Which neighbour, at least 1.

    Raises:
        ValueError: The shapes do not fit, or there are too few rows.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> one, other = torch.randn(2, 1000, 2)
        >>> near = neighbourhoods(one, other)
        >>> far = neighbourhoods(one, other + 100)
        >>> near.precision > 0.9, near.coverage > 0.9, far.precision, far.coverage
        (True, True, 0.0, 0.0)
    """
    if real.dim() != 2 or generated.dim() != 2 or real.shape[1] != generated.shape[1]:
        raise ValueError(f"Expected vectors of one length; got {tuple(real.shape)} and {tuple(generated.shape)}.")
    if k < 1 or min(len(real), len(generated)) <= k:
        raise ValueError(f"Expected more than k ≥ 1 vectors on both sides; got {len(real)}, {len(generated)} and {k}.")
    # Distances are made of differences of squares, which have few digits left far from the origin.
    real, generated = real.double(), generated.double()
    real, generated = real - real.mean(0), generated - real.mean(0)
    radius_real, radius_generated = (_radii(vectors, k) for vectors in (real, generated))
    inside, recalled, covered, precise = 0, 0, 0, torch.zeros(len(generated), dtype=torch.bool, device=real.device)
    for rows, radii in zip(real.split(_ROWS), radius_real.split(_ROWS), strict=True):
        distances = torch.cdist(rows, generated)
        within = distances <= radii.unsqueeze(1)
        inside += int(within.sum())
        covered += int(within.any(1).sum())
        recalled += int((distances <= radius_generated).any(1).sum())
        precise |= within.any(0)
    n, m = len(real), len(generated)
    return Coverage(int(precise.sum()) / m, recalled / n, inside / (k * m), covered / n)


def _radii(vectors: Tensor, k: int) -> Tensor:
    """The distance of each vector from its k-th neighbour, itself not counted."""
    parts = [torch.cdist(rows, vectors).kthvalue(k + 1, dim=1).values for rows in vectors.split(_ROWS)]
    return torch.cat(parts)


def coverage(
    model: Generative,
    features: nn.Module,
    data: Dataset,
    n: int = 10_000,
    *,
    k: int = 5,
    batch_size: int = 500,
    seed: int = 0,
) -> Coverage:
    """Compares n images of a model and all images of a data set by their features; see `neighbourhoods`.

    Args:
        model: Has ``sample(n)``.
        features: From images to vectors, as for `frechet_distance`.
        data: The real images.
        n: How many images are generated.
        k: Which neighbour.
        batch_size: Images at once.
        seed: Of the generated images.

    Raises:
        ValueError: There are not more than k images on a side.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.data import load
        >>> data = load("digits", "test")
        >>> class Copies(nn.Module):
        ...     def sample(self, n):
        ...         return data.pixels(torch.randint(len(data), (n,)))
        >>> coverage(Copies(), nn.Flatten(), data, 1000).coverage > 0.9
        True
    """
    with evaluating(model, features, seed=seed):
        device = device_of(features)
        real = torch.cat([features(x) for x, _ in in_order(data, batch_size, device)])
        generated = torch.cat([features(x) for x in in_batches(model, n, batch_size, device)])
    return neighbourhoods(real, generated, k=k)
