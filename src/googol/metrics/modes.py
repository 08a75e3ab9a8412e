"""How many kinds of images a model generates, where the kinds are known."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from googol.metrics.classifier import Classifier
from googol.metrics.evaluation import device_of, evaluating
from googol.metrics.frechet import Generative, in_batches


class Modes(NamedTuple):
    r"""The modes of generated images: the combinations of the values of all categorical conditions.

    Attributes:
        found: How many come at least once.
        total: How many there are.
        divergence: :math:`\mathrm{KL}(p \Vert u) = \sum_k p_k \log (K p_k)` from the uniform distribution, in nats:
            0 if all come equally often, log K if only one does.
    """

    found: int
    total: int
    divergence: float


def count_modes(values: Tensor, sizes: list[int]) -> Modes:
    """Counts the combinations of values.

    Args:
        values: Indices of the values of each condition, ``(n, c)``, at least one row.
        sizes: How many values each condition has.

    Raises:
        ValueError: There is no row, or no condition.

    Example:
        >>> import torch
        >>> from googol.metrics.modes import count_modes
        >>> count_modes(torch.tensor([[0, 1], [0, 1], [1, 0], [1, 0]]), [2, 2])
        Modes(found=2, total=4, divergence=0.6931471824645996)
    """
    if values.dim() != 2 or not len(values) or not sizes or values.shape[1] != len(sizes):
        raise ValueError(f"Expected rows of a value for each of {len(sizes)} conditions; got {tuple(values.shape)}.")
    number = torch.zeros(len(values), dtype=torch.long)
    for column, size in zip(values.long().cpu().unbind(1), sizes, strict=True):
        number = number * size + column
    counts = number.unique(return_counts=True)[1]
    shares = counts / len(values)
    total = math.prod(sizes)
    return Modes(len(counts), total, (shares * (total * shares).log()).sum().item())


def modes(model: Generative, classifier: Classifier, n: int = 10_000, *, batch_size: int = 500, seed: int = 0) -> Modes:
    """The modes of n images of a model, as a classifier sees them.

    What the classifier gets wrong adds modes that are not there: one of a hundred images, of a model with a single
    mode, may look like another. With n images of K equally probable modes the divergence is about (K − 1) / 2n, not 0.

    References:
        Metz et al., Unrolled Generative Adversarial Networks, 2017, section 3.3.1 (with 1,000 modes, 25,600 images).

    Args:
        model: Has ``sample(n)``.
        classifier: Of images with at least one categorical condition.
        n: How many images, at least 1.
        batch_size: Images at once.
        seed: Of the images.

    Raises:
        ValueError: There is no categorical condition, or no image.

    Example:
        >>> import torch
        >>> from googol.data import Condition
        >>> from googol.metrics import Classifier
        >>> class OneImage(torch.nn.Module):
        ...     def sample(self, n):
        ...         return torch.full((n, 1, 8, 8), 0.5)
        >>> modes(OneImage(), Classifier((1, 8, 8), [Condition("digit", tuple("0123456789"))]).eval(), 100).found
        1
    """
    columns = [column for column, condition in enumerate(classifier.schema) if condition.values is not None]
    sizes = [len(condition.values) for condition in classifier.schema if condition.values is not None]
    if not sizes or n < 1:
        raise ValueError(f"Expected a categorical condition and at least one image; got {len(sizes)} and {n}.")
    with evaluating(model, classifier, seed=seed):
        seen = [classifier.predict(x) for x in in_batches(model, n, batch_size, device_of(classifier))]
    return count_modes(torch.cat(seen)[:, columns], sizes)
