"""What is asked of the values of a distribution of chained variables: moments, mode, samples, uniform variables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from googol.distributions import implicit as _implicit
from googol.distributions import mode as _mode
from googol.distributions import rosenblatt as _rosenblatt
from googol.distributions import sampling as _sampling
from googol.distributions.evidence import EvidenceDistribution


class ValuesDistribution(EvidenceDistribution):
    """The values that :class:`~googol.distributions.TensorRingDistribution` gives back; it adds densities."""

    # -- moments

    def _moments(self) -> tuple[Tensor, Tensor]:
        rows, _, shape = self._rows(None)
        probs = self.chain.posterior(self.emissions.log_prob(rows))  # (n, B, N)
        means, variances = (moment.detach().unsqueeze(1) for moment in self.emissions.moments())
        mean = (probs * means).sum(-1)
        variance = (probs * (variances + (means - mean.unsqueeze(-1)).square())).sum(-1)
        observed = ~rows.isnan()
        mean = torch.where(observed, rows, mean.mT)
        variance = variance.mT.masked_fill(observed, 0.0)
        return self._values(mean, *shape), self._values(variance, *shape)

    @property
    def mean(self) -> Tensor:
        """The mean of every variable (of a discrete one: of its index); it carries no gradient."""
        return self._moments()[0]

    @property
    def variance(self) -> Tensor:
        """The variance of every variable; it carries no gradient."""
        return self._moments()[1]

    @property
    def mode(self) -> Tensor:
        """The values at the most probable component indices: their modes, or the indices of discrete variables.

        The indices of all open variables together maximise p(s given the evidence); those of observed variables are
        summed out. They are found by a search that keeps the most promising beginnings, ordered by an upper bound on
        what can still follow; see :func:`googol.distributions.mode.most_probable_indices`.
        """
        rows, _, shape = self._rows(None)
        with torch.no_grad():
            log_weights = self.emissions.log_prob(rows)
            index = log_weights.new_zeros(log_weights.shape[:2], dtype=torch.int64)
            is_hidden = torch.ones(len(self.chain), dtype=torch.bool, device=rows.device)
            is_hidden[self._visible] = False
            patterns, pattern_of = (~rows.isnan() | is_hidden).unique(dim=0, return_inverse=True)
            for number, pattern in enumerate(patterns):
                at, summed = pattern_of == number, pattern.nonzero().flatten().tolist()
                index[:, at] = _mode.most_probable_indices(self.chain, log_weights[:, at], summed=summed).indices
            values = torch.where(rows.isnan(), self.emissions.modes().gather(1, index).mT, rows)
        return self._values(values, *shape)

    # -- samples

    def sample(self, sample_shape: Any = (), *, temperature: float | Tensor = 1.0) -> Tensor:
        """Draws the component indices first, then the values; evidence is kept as it is.

        Args:
            sample_shape: The leading dimensions.
            temperature: What the distances of the values from the means of their components are multiplied by: below 1
                for more typical ones, 0 for the means themselves. One for all variables, or one for each, ``(n,)``.

        Raises:
            ValueError: A size or a temperature is negative, or the latter infinite or of another shape.
        """
        factors = torch.as_tensor(temperature, dtype=torch.float64, device="cpu")
        if not bool(((factors >= 0) & factors.isfinite()).all()):
            raise ValueError(f"temperature must be at least 0 and finite, got {temperature}")
        if factors.shape not in {(), self.event_shape}:
            raise ValueError(f"temperature must have the shape {tuple(self.event_shape)}, got {tuple(factors.shape)}")
        along = None
        if bool((factors != 1).any()):
            along = torch.ones(len(self.chain), dtype=torch.float64)
            along[self._visible] = factors
        count = _count(sample_shape)
        with torch.no_grad():
            rows, _, shape = self._rows(None)
            values = _sampling.sample(self.chain, self.emissions, rows, count, along)
        return self._values(values, *sample_shape, *shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        r"""Draws samples that are differentiable in every parameter and in the evidence.

        With :math:`F_j` the distribution function of variable j given those before it, a mixture's, the gradient
        is that of :math:`z_j` as the solution of :math:`F_j(z_j \mid z_{<j}) = u_j`, by implicit
        differentiation (Figurnov et al., Implicit Reparameterization Gradients, 2018).

        Raises:
            ValueError: A discrete variable is open; condition on it or take a marginal without it first.
        """
        self._require_continuous("rsample")
        count = _count(sample_shape)
        rows, _, shape = self._rows(None)
        with torch.no_grad():
            drawn = _sampling.sample(self.chain, self.emissions, rows, count)
        values = _implicit.reparameterize(self.chain, self.emissions, rows, drawn, self._visible)
        return self._values(values, *sample_shape, *shape)

    # -- uniform variables

    @torch.no_grad()
    def to_uniform(self, value: Tensor) -> Tensor:
        r"""The Rosenblatt transformation :math:`u_j = F_j(v_j \mid v_{<j})`, along the chain.

        Of values that follow this distribution, the u are uniform and independent.

        Args:
            value: Shape ``(…, n)``; entries that the evidence fixes may be NaN. It carries no gradient.

        Returns:
            Shape ``(…, n)``, in [0, 1]; 0.5 for what is observed.

        Raises:
            ValueError: As for :meth:`log_prob`; an open entry is NaN, or an open variable is discrete.
        """
        return _rosenblatt.to_uniform(self.to_scores(value)).to(
            torch.promote_types(value.dtype, self.chain.cores.dtype)
        )

    @torch.no_grad()
    def from_uniform(self, u: Tensor) -> Tensor:
        r"""The inverse of :meth:`to_uniform`: the values with :math:`F_j(v_j \mid v_{<j}) = u_j`.

        They turn low-discrepancy points into samples, for example.

        Args:
            u: Shape ``(…, n)``, in [0, 1]; what stands for an observed variable does not matter.

        Returns:
            Shape ``(…, n)``, with the evidence where there is some. It carries no gradient.

        Raises:
            ValueError: The last dimension is not n, a number is outside [0, 1], or an open variable is discrete.

        Example:
            >>> import torch
            >>> from googol.distributions import Normal, TensorRing
            >>> joint = TensorRing([Normal(5), Normal(5)], rank=3)()
            >>> v = joint.sample()
            >>> bool(joint.from_uniform(joint.to_uniform(v)).isclose(v, atol=1e-3).all())
            True
        """
        self._check_last(u, "u")
        if not bool(((u >= 0) & (u <= 1)).all()):
            raise ValueError("u must be in [0, 1]")
        return self.from_scores(_rosenblatt.of_uniform(u))

    @torch.no_grad()
    def to_scores(self, value: Tensor) -> Tensor:
        r"""What :meth:`to_uniform` tells, as quantiles of a Laplace distribution, which keep the digits of both tails.

        .. math:: t_j = \log 2u_j \text{ where } u_j < \tfrac12, \text{ else } -\log 2(1 - u_j)

        Together with :meth:`from_scores` they move values from one conditional distribution to another in the same
        places of their distributions.

        Args:
            value: As for :meth:`to_uniform`.

        Returns:
            Shape ``(…, n)``, in double precision; 0 for what is observed.

        Raises:
            ValueError: As for :meth:`to_uniform`.

        Example:
            >>> import torch
            >>> from googol.distributions import Categorical, Normal, TensorRing
            >>> joint = TensorRing([Normal(5), Normal(5), Categorical(2)], rank=3)()
            >>> nan = float("nan")
            >>> old, new = (joint.condition(torch.tensor([nan, nan, label])) for label in (0.0, 1.0))
            >>> v = torch.tensor([-30.0, 20.0, 0.0])
            >>> bool(old.from_scores(old.to_scores(v)).isclose(v, rtol=1e-3).all())
            True
            >>> new.from_scores(old.to_scores(v))[-1]
            tensor(1.)
        """
        self._require_continuous("to_uniform")
        rows, values = self._full(self._check(value, "value"))
        if bool((values.isnan() & rows.isnan())[..., self._visible].any()):
            raise ValueError("value must have an entry of every variable that the evidence leaves open, got NaN")
        found = _rosenblatt.scores(self.chain, self.emissions, rows, values, self._visible)
        return self._values(found, *value.shape[:-1])

    @torch.no_grad()
    def from_scores(self, score: Tensor) -> Tensor:
        """The inverse of :meth:`to_scores`.

        Args:
            score: Shape ``(…, n)``; what stands for an observed variable does not matter.

        Returns:
            As :meth:`from_uniform`.

        Raises:
            ValueError: The last dimension is not n, a score is NaN, or an open variable is discrete.
        """
        self._require_continuous("from_uniform")
        self._check_last(score, "score")
        if bool(score.isnan().any()):
            raise ValueError("score must not be NaN")
        rows, full = self._full(score.double())
        values = _rosenblatt.from_scores(self.chain, self.emissions, rows, full, self._visible)
        return self._values(values, *score.shape[:-1])

    def _check_last(self, value: Tensor, name: str) -> None:
        if not isinstance(value, Tensor) or value.dim() == 0 or value.shape[-1] != len(self._visible):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{name} must have the shape (…, {len(self._visible)}), got {shape}")


def _count(sample_shape: Any) -> int:
    """How many samples a shape asks for."""
    shape = torch.Size(sample_shape)
    if any(size < 0 for size in shape):
        raise ValueError(f"sample_shape must not have a negative size, got {tuple(shape)}")
    return shape.numel()
