"""Bounds of the log-likelihood, averaged over a data set."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from googol.data import Dataset
from googol.metrics.evaluation import Evaluable, device_of, evaluating, in_order


class Bounded(Evaluable, Protocol):
    """A model with bounds: each of the variational autoencoders."""

    def elbo(self, x: Tensor) -> Tensor: ...

    def importance_bound(self, x: Tensor, k: int) -> Tensor: ...


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error, the images being a sample.

    Example:
        >>> import torch
        >>> from googol.metrics import Estimate
        >>> Estimate.of(torch.tensor([1.0, 2.0, 3.0, 4.0]))
        Estimate(mean=2.5, standard_error=0.645...)
    """

    mean: float
    standard_error: float

    @classmethod
    def of(cls, values: Tensor) -> "Estimate":
        """The estimate from independent values (n,); a single value has a standard error of NaN."""
        values = values.double()
        deviation = values.std().item() if len(values) > 1 else math.nan
        return cls(values.mean().item(), deviation / math.sqrt(len(values)))


def elbo(model: Bounded, data: Dataset, *, batch_size: int = 256, seed: int = 0) -> Estimate:
    r"""The evidence lower bound in nats an image, with one sample of the posterior for each.

    .. math:: E_{q(z \mid x)} \left[\log p(x \mid z) + \log p(z) - \log q(z \mid x)\right] \le \log p(x)

    Args:
        model: Has ``elbo(x)`` of shape (B,).
        data: The images.
        batch_size: Images at once.
        seed: Of the samples.
    """
    return _average(model, data, model.elbo, batch_size, seed)


def importance_bound(
    model: Bounded, data: Dataset, k: int, *, batch_size: int = 128, at_once: int = 2048, seed: int = 0
) -> Estimate:
    r"""The importance-weighted bound in nats an image.

    .. math:: E \log \frac1k \sum_{i=1}^k \frac{p(x \mid z_i) \, p(z_i)}{q(z_i \mid x)} \le \log p(x)

    The samples are drawn in parts, so the memory does not grow with k.

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, https://arxiv.org/abs/1509.00519.

    Args:
        model: Has ``importance_bound(x, k)`` of shape (B,).
        data: The images.
        k: Samples of the posterior for each image.
        batch_size: Images at once, at most.
        at_once: Images times samples at once, at most.
        seed: Of the samples.

    Raises:
        ValueError: ``k`` or ``at_once`` is below 1.
    """
    if k < 1 or at_once < 1:
        raise ValueError(f"Expected k and at_once to be at least 1; got {k} and {at_once}.")
    batch_size = min(batch_size, at_once)
    part = min(k, at_once // batch_size)

    def bound(x: Tensor) -> Tensor:
        sizes = [min(part, k - start) for start in range(0, k, part)]
        # The weights of a part add up to its size times the exponential of its bound.
        sums = [model.importance_bound(x, size) + math.log(size) for size in sizes]
        return torch.stack(sums).logsumexp(0) - math.log(k)

    return _average(model, data, bound, batch_size, seed)


def _average(model: Bounded, data: Dataset, bound: Callable[[Tensor], Tensor], batch_size: int, seed: int) -> Estimate:
    with evaluating(model, seed=seed):
        return Estimate.of(torch.cat([bound(x) for x, _ in in_order(data, batch_size, device_of(model))]))
