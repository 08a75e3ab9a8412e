"""Bounds of the log-likelihood: of each image, with what the same codes tell of its conditions, and averaged."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from googol.data import Dataset
from googol.metrics.evaluation import Evaluable, device_of, evaluating, in_order


class Bounded(Evaluable, Protocol):
    """A model with bounds: each of the variational autoencoders."""

    def elbo_terms(self, x: Tensor) -> tuple[Tensor, Tensor]: ...

    def importance_bound(self, x: Tensor, k: int) -> Tensor: ...


class Answering(Evaluable, Protocol):
    """A model of conditions that weighs its codes, such as a `JointVAE`."""

    def importance_impute(self, x: Tensor, k: int) -> tuple[Tensor, list[Tensor]]: ...


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error, the images being a sample.

    Attributes:
        mean: The mean.
        standard_error: The standard error, NaN for a single image.

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


class Exact(Evaluable, Protocol):
    """A model that gives log p(x, y) itself, of what is known of it."""

    def log_likelihood(self, x: Tensor, y: Tensor) -> Tensor: ...


def log_likelihoods(model: Exact, data: Dataset, *, batch_size: int = 1024) -> Tensor:
    """The log-likelihood of each image or row in nats, (n,), of a model that has it exactly.

    Args:
        model: Has ``log_likelihood(x, y)`` of shape (B,).
        data: The images with their conditions, or the table; what is missing is summed out.
        batch_size: Images at once.

    Example:
        >>> import torch
        >>> from googol.data import Condition, Dataset
        >>> from googol.distributions import Categorical, TensorRing
        >>> from googol.models import Tabular
        >>> rows, nothing = torch.tensor([[0.0], [torch.nan]]), torch.empty(2, 0, 0, 0, dtype=torch.uint8)
        >>> coins = Dataset("coins", nothing, rows, (Condition("side", ("heads", "tails")),))
        >>> log_likelihoods(Tabular(TensorRing([Categorical(2)], rank=1, cores=[torch.ones(2, 1, 1)])), coins)
        tensor([-0.6931,  0.0000])
    """
    with evaluating(model, seed=0):
        found = [model.log_likelihood(x, y).cpu() for x, y in in_order(data, batch_size, device_of(model))]
    return torch.cat(found)


def elbo(model: Bounded, data: Dataset, *, batch_size: int = 256, seed: int = 0) -> Estimate:
    r"""The evidence lower bound in nats an image, with one sample of the posterior for each.

    .. math:: E_{q(z \mid x)} \left[\log p(x \mid z) + \log p(z) - \log q(z \mid x)\right] \le \log p(x)

    Args:
        model: Has ``elbo_terms(x)``, two tensors of shape (B,).
        data: The images.
        batch_size: Images at once.
        seed: Of the samples.

    Example:
        >>> from googol.data import load
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.models import VAE
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> from googol.priors import StandardNormal
        >>> posterior, likelihood = DiagonalNormal(MLPEncoder((1, 8, 8), 4), 2), Bernoulli(MLPDecoder(2, (1, 8, 8)))
        >>> model, data = VAE(StandardNormal(2), posterior, likelihood), load("digits", "test")
        >>> bound = elbo(model, data)
        >>> bound == elbo_terms(model, data)[0], bound.standard_error > 0
        (True, True)
    """
    return elbo_terms(model, data, batch_size=batch_size, seed=seed)[0]


def elbo_terms(
    model: Bounded, data: Dataset, *, batch_size: int = 256, seed: int = 0
) -> tuple[Estimate, Estimate, Estimate]:
    r"""The evidence lower bound and the two terms it is the difference of, in nats an image; see :func:`elbo`.

    Args:
        model: Has ``elbo_terms(x)``, two tensors of shape (B,).
        data: The images.
        batch_size: Images at once.
        seed: Of the samples.

    Returns:
        The bound, :math:`E_q \log p(x \mid z)` and :math:`E_q [\log q(z \mid x) - \log p(z)]`.

    Example:
        >>> from googol.data import load
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.models import VAE
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> from googol.priors import StandardNormal
        >>> posterior, likelihood = DiagonalNormal(MLPEncoder((1, 8, 8), 4), 2), Bernoulli(MLPDecoder(2, (1, 8, 8)))
        >>> model, data = VAE(StandardNormal(2), posterior, likelihood), load("digits", "test")
        >>> bound, log_likelihood, kl = elbo_terms(model, data)
        >>> abs(bound.mean - (log_likelihood.mean - kl.mean)) < 1e-3
        True
    """
    with evaluating(model, seed=seed):
        terms = [torch.stack(model.elbo_terms(x)) for x, _ in in_order(data, batch_size, device_of(model))]
    log_likelihood, kl = torch.cat(terms, 1)
    return Estimate.of(log_likelihood - kl), Estimate.of(log_likelihood), Estimate.of(kl)


def bits_per_dim(bound: Estimate, data: Dataset, log_bin: float) -> Estimate:
    r"""A bound in nats an image, as bits for each of its D numbers of 256 levels; smaller is better.

    .. math:: -\frac{\text{bound} + D \log v}{D \log 2}

    Args:
        bound: In nats, of the log-probability or log-density of an image.
        data: The images.
        log_bin: The log of the volume v of a level, by which a density of pixels becomes a probability; 0 if the bound
            is of a probability.

    Example:
        >>> from googol.data import load
        >>> uniform = Estimate(-64 * math.log(256), 0.0)  # each of the 64 pixels takes 8 bits
        >>> round(bits_per_dim(uniform, load("digits", "test"), 0.0).mean, 6)
        8.0
    """
    nats = math.prod(data.image_shape) * math.log(2)
    return Estimate(-bound.mean / nats - log_bin / math.log(2), bound.standard_error / nats)


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

    Example:
        >>> from googol.data import load
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.models import VAE
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> from googol.priors import StandardNormal
        >>> posterior, likelihood = DiagonalNormal(MLPEncoder((1, 8, 8), 4), 2), Bernoulli(MLPDecoder(2, (1, 8, 8)))
        >>> model, data = VAE(StandardNormal(2), posterior, likelihood), load("digits", "test")
        >>> importance_bound(model, data, 10).mean > elbo(model, data).mean
        True
    """
    return Estimate.of(importance_bounds(model, data, k, batch_size=batch_size, at_once=at_once, seed=seed))


def importance_bounds(
    model: Bounded, data: Dataset, k: int, *, batch_size: int = 128, at_once: int = 2048, seed: int = 0
) -> Tensor:
    r"""The importance-weighted bound of every image; :func:`importance_bound` is its mean.

    Args:
        model: Has ``importance_bound(x, k)`` of shape (B,).
        data: n images.
        k: Samples of the posterior for each image.
        batch_size: Images at once, at most.
        at_once: Images times samples at once, at most.
        seed: Of the samples.

    Returns:
        (n,), in nats, on the CPU.

    Raises:
        ValueError: ``k`` or ``at_once`` is below 1, or there are no images.

    Example:
        >>> import torch
        >>> from googol.data import load
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.metrics import importance_bounds
        >>> from googol.models import VAE
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> from googol.priors import StandardNormal
        >>> posterior = DiagonalNormal(MLPEncoder((1, 8, 8), 2 * 3), 3)
        >>> model = VAE(StandardNormal(3), posterior, Bernoulli(MLPDecoder(3, (1, 8, 8))))
        >>> importance_bounds(model, load("digits", "test"), k=2).shape
        torch.Size([393])
    """

    def draw(x: Tensor, size: int) -> tuple[Tensor, list[Tensor]]:
        return model.importance_bound(x, size), []

    return _in_parts(draw, model, data, k, batch_size, at_once, seed)[0]


def importance_impute(
    model: Answering, data: Dataset, k: int, *, batch_size: int = 128, at_once: int = 2048, seed: int = 0
) -> tuple[Tensor, list[Tensor]]:
    r"""The importance-weighted bound of every image, and from the same codes p(y given x), all conditions being open.

    .. math:: p(y_j \mid x) \approx \frac{\sum_i w_i \, p(y_j \mid z_i)}{\sum_i w_i},
              \qquad w_i = \frac{p(x \mid z_i) \, p(z_i)}{q(z_i \mid x)}

    Args:
        model: Has ``importance_impute(x, k)``, such as :class:`~googol.models.JointVAE`.
        data: n images; their conditions are not looked at.
        k: Samples of the posterior for each image.
        batch_size: Images at once, at most.
        at_once: Images times samples at once, at most.
        seed: Of the samples.

    Returns:
        (n,), in nats, and for each condition the answers of the model, (n, N): the probabilities of its N values, or
        what it says of a continuous one; on the CPU.

    Raises:
        ValueError: ``k`` or ``at_once`` is below 1, or there are no images.
    """
    return _in_parts(model.importance_impute, model, data, k, batch_size, at_once, seed)


def _in_parts(
    draw: Callable[[Tensor, int], tuple[Tensor, Sequence[Tensor]]],
    model: Evaluable,
    data: Dataset,
    k: int,
    batch_size: int,
    at_once: int,
    seed: int,
) -> tuple[Tensor, list[Tensor]]:
    """The bound (n,) from k samples of each image, and weighted averages (n, …), never many samples at once.

    Args:
        draw: From images (B, …) and a number of samples, the bound and the weighted averages of these alone.
    """
    for name, number in (("k", k), ("at_once", at_once)):
        if number < 1:
            raise ValueError(f"Expected {name} to be at least 1; got {number}.")
    k = 1 if getattr(model, "exact", False) else k  # more draws would give the same
    batch_size = min(batch_size, at_once)
    part = min(k, at_once // max(1, batch_size))

    def of_batch(x: Tensor) -> list[Tensor]:
        log_sum, averages = draw(x, part)
        log_sum = log_sum + math.log(part)
        for start in range(part, k, part):
            size = min(part, k - start)
            # The weights of a part add up to its size times the exponential of its bound.
            bound, more = draw(x, size)
            log_part = bound + math.log(size)
            log_sum = torch.logaddexp(log_sum, log_part)
            share = (log_part - log_sum).exp()
            averages = [a + share.view(-1, *[1] * (a.dim() - 1)) * (b - a) for a, b in zip(averages, more, strict=True)]
        return [(log_sum - math.log(k)).cpu(), *(average.cpu() for average in averages)]

    with evaluating(model, seed=seed):
        batches = [of_batch(x) for x, _ in in_order(data, batch_size, device_of(model))]
    bounds, *averages = [torch.cat(parts) for parts in zip(*batches, strict=True)]
    return bounds, averages
