"""Values drawn from a distribution: with their densities, as its best guess, and as pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution


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


def check_count(n: int) -> None:
    """Refuses a number of things to draw that is negative.

    Raises:
        ValueError: It is.
    """
    if n < 0:
        raise ValueError(f"n must be at least 0, got {n}")


def mean_code(q: Distribution) -> Tensor:
    """The mean of a distribution of codes, or a code drawn from it where the mean is not known."""
    try:
        return q.mean
    except NotImplementedError:
        return q.rsample()


def picture(p: Any, x: Tensor | None = None) -> Tensor:
    """What to show of a distribution p(x given z) of images: its mean, or an image drawn where the mean is not known.

    Where there are further codes between z and x, they are drawn first; or, given an image x, they are those of x.

    Example:
        >>> import torch
        >>> picture(torch.distributions.Bernoulli(torch.tensor([0.2, 0.9])))
        tensor([0.2000, 0.9000])
    """
    if hasattr(p, "decoded"):
        p = p.decoded(x)
    try:
        return p.mean
    except NotImplementedError:
        return p.sample()
