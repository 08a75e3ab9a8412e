"""Mixtures of a batch of distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeGuard

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, constraints
from torch.nn.functional import linear

from googol.distributions.once import first_order

# The most numbers held at once in each of a few tensors: 32 MB in double precision.
_CHUNK = 2**22
# As far as infinity for every density, and its square is a number.
_FARTHEST = 1e150


class Mixture(Distribution):
    r"""A mixture of K distributions over vectors, given as one batch.

    .. math:: p(z) = \sum_{k=1}^K w_k \, p_k(z), \qquad w = \operatorname{softmax}(\text{logits})

    Values are worked off in pieces, so that memory stays bounded for many values and components. In single precision
    the densities of independent normal components are matrix products, of double precision as they are differences of
    large numbers.

    Args:
        logits: The logarithms of the weights up to a constant, shape (K,).
        components: The distributions, batch shape (K,) and event shape (d,).

    Raises:
        ValueError: If the shapes are others.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> from googol.distributions import Mixture
        >>> two = Mixture(torch.zeros(2), Independent(Normal(torch.tensor([[-2.0], [2.0]]), 1.0), 1))
        >>> two.log_prob(torch.tensor([2.0]))
        tensor(-1.6118)
        >>> two.sample((3,)).shape
        torch.Size([3, 1])
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012

    def __init__(
        self,
        logits: Tensor,
        components: Distribution,
        batch_shape: torch.Size | tuple[int, ...] = (),
        *,
        validate_args: bool | None = None,
    ) -> None:
        if logits.dim() != 1 or components.batch_shape != logits.shape or len(components.event_shape) != 1:
            raise ValueError(
                "Expected logits of shape (K,), and components of batch shape (K,) and event shape (d,); "
                f"got {tuple(logits.shape)}, {tuple(components.batch_shape)} and {tuple(components.event_shape)}."
            )
        self.logits = logits
        self.components = components
        super().__init__(torch.Size(batch_shape), components.event_shape, validate_args=validate_args)

    def expand(self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: None = None) -> Mixture:
        """Independent copies of the same distribution."""
        return Mixture(self.logits, self.components, tuple(batch_shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint | None:
        """That of the components."""
        return self.components.support

    @property
    def mean(self) -> Tensor:
        """The weighted mean of the components' means."""
        return (self.logits.softmax(0) @ self.components.mean).expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """Of every coordinate: within components and between their means."""
        weights, means = self.logits.softmax(0), self.components.mean
        variance = weights @ (self.components.variance + (means - weights @ means).square())
        return variance.expand(self._extended_shape())

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density at values of shape (…, d), in nats."""
        if value.shape[-1:] != self.event_shape:
            raise ValueError(f"expected values of the shape (…, {self.event_shape[0]}), got {tuple(value.shape)}")
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape, self._extended_shape())
        rows = value.expand(shape).reshape(-1, shape[-1])
        if rows.numel() == 0:  # of which PyTorch's independent distributions have no density
            return rows.sum(-1).view(shape[:-1])
        density: Callable[[Tensor], Tensor] = self._densities
        size = self.logits.numel() * shape[-1]
        # Multiplied out, squares of small scales lose digits that single precision does not have.
        is_single = torch.promote_types(value.dtype, self.logits.dtype) != torch.float64
        if _is_normal(self.components) and is_single and value.device.type != "mps":  # which has no double precision
            density, size = _normal_densities(self.components.base_dist), self.logits.numel()
        log_weights = self.logits.log_softmax(0)
        pieces = [(log_weights + density(piece)).logsumexp(-1) for piece in rows.split(max(1, _CHUNK // size))]
        return torch.cat(pieces).view(shape[:-1]).to(torch.promote_types(value.dtype, self.logits.dtype))

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the components are independent normal ones, whose distribution functions are known."""
        return _is_normal(self.components)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        r"""Values like those of :meth:`sample`, differentiable in weights, means and scales.

        Given the coordinates before it, each is a mixture with the distribution function

        .. math:: F_j(z_j \mid z_{<j}) = \sum_k w_k(z_{<j}) \, \Phi\Big(\frac{z_j - \mu_{kj}}{\sigma_{kj}}\Big).

        The gradient is that of the solution of F(z) = u, a triangular system of linear equations (Figurnov et al.,
        Implicit Reparameterization Gradients, 2018, section 4). Time and memory grow with K d + d² for each value.

        Raises:
            NotImplementedError: The components are others than independent normal ones.

        Example:
            >>> import torch
            >>> from torch.distributions import Independent, Normal
            >>> from googol.distributions import Mixture
            >>> loc = torch.tensor([[-2.0], [2.0]], requires_grad=True)
            >>> z = Mixture(torch.zeros(2), Independent(Normal(loc, 0.01), 1)).rsample((1000,))
            >>> z.mean().backward()  # each half of the values moves with its mean
            >>> bool((loc.grad - 0.5).abs().max() < 0.1)
            True
        """
        if not _is_normal(self.components):
            raise NotImplementedError("gradients of samples need components that are independent normals")
        z = self.sample(sample_shape)
        if z.numel() == 0:
            return z
        size = self.logits.numel() * z.shape[-1]
        pieces = z.view(-1, z.shape[-1]).split(max(1, _CHUNK // size))
        return torch.cat([_with_gradient(self.logits, self.components.base_dist, piece) for piece in pieces]).view_as(z)

    def _densities(self, rows: Tensor) -> Tensor:
        """log p_k(row) of every component, shape (n, K)."""
        return self.components.log_prob(rows.unsqueeze(1).expand(-1, self.logits.numel(), -1))

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Values of shape sample_shape + batch_shape + (d,)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            total = math.prod(shape[:-1])
            if total == 0:
                return self.logits.new_empty(shape)
            index = torch.multinomial(self.logits.softmax(0), total, replacement=True)
            if _is_normal(self.components):
                loc, scale = self.components.base_dist.loc[index], self.components.base_dist.scale[index]
                return torch.normal(loc, scale).view(shape)
            # A batch of components is drawn from as a whole, and as often as needed for the one that is drawn most.
            ranked, order = index.sort(stable=True)
            counts = torch.bincount(index, minlength=self.logits.numel())
            first = counts.cumsum(0) - counts
            occurrence = torch.empty_like(index)
            occurrence[order] = torch.arange(total, device=index.device) - first[ranked]
            drawn, at_once = self.logits.new_empty(shape).view(total, -1), -(-total // len(counts))
            for start in range(0, int(counts.max()), at_once):
                now = (occurrence >= start) & (occurrence < start + at_once)
                drawn[now] = self.components.sample((at_once,))[occurrence[now] - start, index[now]].to(drawn.dtype)
            return drawn.view(shape)


def _is_normal(components: Distribution) -> TypeGuard[Independent]:
    return isinstance(components, Independent) and isinstance(components.base_dist, Normal)


def _normal_densities(components: Normal) -> Callable[[Tensor], Tensor]:
    """log p_k(row), the square multiplied out: a product with one matrix."""
    loc, scale = components.loc.double(), components.scale.double()
    centre = loc.detach().mean(0)
    loc = loc - centre
    precision = scale.reciprocal().square()
    matrix = torch.cat([-0.5 * precision, loc * precision], 1)
    constant = -(0.5 * loc.square() * precision + scale.log() + 0.5 * math.log(2 * math.pi)).sum(1)

    def densities(rows: Tensor) -> Tensor:
        rows = (rows.double() - centre).clamp(-_FARTHEST, _FARTHEST)
        return linear(torch.cat([rows.square(), rows], 1), matrix, constant)

    return densities


def _with_gradient(logits: Tensor, components: Normal, z: Tensor) -> Tensor:
    """Drawn values (n, d) with their gradients: z − J⁻¹ (F(z) − its value), where J = dF/dz is constant."""
    log_p = components.log_prob(z.unsqueeze(1))  # (n, K, d)
    # The weights given the coordinates before, which the first has none of.
    before = log_p.cumsum(-1) - log_p
    weights = (logits.unsqueeze(-1) + before).softmax(1)
    below = components.cdf(z.unsqueeze(1))
    cdf = (weights * below).sum(1)
    with torch.no_grad():
        slope = (components.loc - z.unsqueeze(1)) / components.scale.square()  # of log p, in z
        # A coordinate acts on the later ones through their weights.
        jacobian = (weights * below).mT @ slope - cdf.unsqueeze(-1) * (weights.mT @ slope)
        density = (weights * log_p.exp()).sum(1).clamp_min(torch.finfo(z.dtype).tiny)
        jacobian = jacobian.tril(-1) + torch.diag_embed(density)
    change = torch.linalg.solve_triangular(jacobian, (cdf - cdf.detach()).unsqueeze(-1), upper=False)
    return first_order(z - change.squeeze(-1))
