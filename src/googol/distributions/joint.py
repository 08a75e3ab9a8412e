"""The distribution of a tensor ring or train over continuous and discrete variables."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from googol.distributions import mode as _mode
from googol.distributions import rows as _rows
from googol.distributions import sampling as _sampling
from googol.distributions.chain import Chain
from googol.distributions.variables import Emissions


class TensorRingDistribution(Distribution):
    r"""The joint distribution of n variables whose component indices follow a tensor ring.

    .. math:: p(v) = \frac{1}{Z} \sum_{s_1 … s_n} \mathrm{Tr}\Big(\prod_j Q_j[s_j]\Big) \prod_j p(v_j \mid s_j)

    (for a train, :math:`1^\top \prod_j Q_j[s_j]\, 1` replaces the trace). It is what a
    :class:`~googol.distributions.TensorRing` returns when called. In every value NaN means *not observed*: such
    variables are summed out exactly.

    A conditional distribution is an object of this class that carries its evidence: the observed variables are
    fixed at their values, with a probability of one.

    References:
        Kuznetsov et al., A Prior of a Googol Gaussians (2019), equations 1 to 7;
        Kuznetsov et al., Subset-Conditioned Generation Using VAE With A Learnable Tensor-Train Induced Prior
        (2018), equations 1 to 4 and 8.

    Example:
        >>> import torch
        >>> from googol.distributions import Categorical, Normal, TensorRing
        >>> _ = torch.manual_seed(0)
        >>> joint = TensorRing([Normal(5)] * 3 + [Categorical(2)], rank=4)()
        >>> v = torch.tensor([0.3, float("nan"), -1.0, 1.0])
        >>> joint.log_prob(v).shape
        torch.Size([])
        >>> joint.condition(v).sample((2,)).shape
        torch.Size([2, 4])
        >>> joint.marginal([0, 3]).event_shape
        torch.Size([2])
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (as in torch.distributions)

    def __init__(
        self,
        chain: Chain,
        emissions: Emissions,
        *,
        evidence: Tensor | None = None,
        visible: list[int] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.chain = chain
        self.emissions = emissions
        self._evidence = evidence
        self._visible = list(range(len(chain))) if visible is None else visible
        batch_shape = torch.Size() if evidence is None else evidence.shape[:-1]
        super().__init__(batch_shape, torch.Size([len(self._visible)]), validate_args=validate_args)

    # -- what kind of distribution it is

    @property
    def support(self) -> constraints.Constraint:
        supports = [self.emissions.variables[j].support for j in self._visible]
        return constraints.independent(constraints.cat(supports, dim=-1, lengths=[1] * len(supports)), 1)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return not self._open_discrete()

    def _open_discrete(self) -> list[int]:
        """Positions of discrete variables that are not fixed by the evidence of every row."""
        variables = self.emissions.variables
        discrete = [i for i, j in enumerate(self._visible) if variables[j].is_discrete]
        if self._evidence is None or not discrete:
            return discrete
        open_in_any = self._values(self._evidence, -1).isnan().any(0)
        return [i for i in discrete if bool(open_in_any[i])]

    def expand(self, batch_shape: Any, _instance: Any = None) -> TensorRingDistribution:
        batch_shape = torch.Size(batch_shape)
        evidence = self._empty(torch.Size()) if self._evidence is None else self._evidence
        return self._with(evidence=evidence.expand(*batch_shape, -1))

    def _with(self, **changes: Any) -> TensorRingDistribution:
        arguments: dict[str, Any] = {
            "chain": self.chain,
            "emissions": self.emissions,
            "evidence": self._evidence,
            "visible": self._visible,
            "validate_args": self._validate_args,
        }
        return TensorRingDistribution(**(arguments | changes))

    # -- values and evidence

    def _empty(self, shape: torch.Size) -> Tensor:
        return self.chain.cores.new_full((*shape, len(self.chain)), math.nan)

    def _check(self, value: Tensor, name: str) -> Tensor:
        """Refuses what cannot be a value, with the reason; NaN is allowed."""
        n = self.event_shape[0]
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
        if value.dim() == 0 or value.shape[-1] != n:
            raise ValueError(f"{name} must have the shape (…, {n}), got {tuple(value.shape)}")
        if value.is_complex():
            raise TypeError(f"{name} must be real, got {value.dtype}")
        if not value.is_floating_point():
            value = value.to(self.chain.cores.dtype)
        if not self._validate_args:
            return value
        if bool(value.isinf().any()):
            raise ValueError(f"{name} must be finite or NaN (not observed), got an infinite entry")
        for positions, _ in self.emissions.groups:
            variable = self.emissions.variables[positions[0]]
            if not variable.is_discrete:
                continue
            kind = set(positions)
            columns = [i for i, j in enumerate(self._visible) if j in kind]
            part = value[..., columns]
            wrong = ~(variable.support.check(part) | part.isnan())
            if bool(wrong.any()):
                raise ValueError(
                    f"{name}[…, {columns[int(wrong.nonzero()[0, -1])]}] must be one of 0 … {variable.components - 1}, "
                    f"or NaN (not observed), got {part[wrong][0].item():g}"
                )
        return value

    def _rows(self, value: Tensor | None) -> tuple[Tensor, Tensor | None, torch.Size]:
        """Values joined with the evidence as rows of all variables.

        Returns:
            Rows ``(B, n)``, which rows contradict the evidence (None where there is none), and the batch shape.
        """
        if value is None:
            evidence = self._empty(torch.Size()) if self._evidence is None else self._evidence
            return evidence.reshape(-1, len(self.chain)), None, evidence.shape[:-1]
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        value = value.expand(*shape, -1)
        if self._evidence is None:  # Then no variable of the chain is hidden.
            order = sorted(range(len(self._visible)), key=self._visible.__getitem__)
            along = value if order == sorted(order) else value[..., order]
            return along.reshape(-1, len(self.chain)), None, shape
        full = self._empty(shape).to(value.dtype)
        full[..., self._visible] = value
        evidence = self._evidence
        # Values of another precision agree with the evidence if they do in either of the two.
        differ = (full != evidence.to(full.dtype)) & (full.to(evidence.dtype) != evidence)
        conflict = (differ & ~full.isnan() & ~evidence.isnan()).any(-1)
        full = torch.where(evidence.isnan(), full, evidence)
        return full.reshape(-1, len(self.chain)), conflict.reshape(-1), shape

    def _values(self, rows: Tensor, *shape: int) -> Tensor:
        """Rows of all variables as values of this distribution."""
        return rows[..., self._visible].reshape(*shape, len(self._visible))

    # -- densities

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of the entries that are not NaN, in nats.

        Args:
            value: Shape ``(…, n)``; NaN = not observed, summed out exactly. Entries that the evidence fixes may
                be NaN or equal to it; another value has a log-density of ``-inf``.

        Returns:
            Shape ``(…,)``.

        Raises:
            ValueError: The last dimension is not n, an entry is infinite, or a discrete one is not a value.
        """
        value = self._check(value, "value")
        rows, conflict, shape = self._rows(value)
        base, _, base_shape = self._rows(None)
        count = len(rows)
        # The log-densities of all rows are expected to count alike, so that of the base as often as there are rows.
        expected = torch.ones(count + len(base), dtype=torch.float64, device=rows.device)
        expected[count:] = -count / max(1, len(base))
        log_sums = _rows.log_sums(self.chain, self.emissions, torch.cat([rows, base.to(rows.dtype)]), expected)
        result = log_sums[:count].view(shape) - log_sums[count:].view(base_shape)
        if conflict is not None:
            result = result.masked_fill(conflict.view(shape), -math.inf)
        return result.to(torch.promote_types(value.dtype, self.chain.cores.dtype))

    @property
    def log_normalizer(self) -> Tensor:
        """log Z: the logarithm of the sum of all entries of the tensor, times the density of the evidence, if any."""
        rows, _, shape = self._rows(None)
        return self.chain.log_sum(self.emissions.log_prob(rows)).view(shape).to(self.chain.cores.dtype)

    def component_probs(self, value: Tensor | None = None) -> Tensor:
        """p(s_j given v) of every variable, whether it is observed or not.

        Args:
            value: Shape ``(…, n)``, NaN = not observed; by default nothing is observed beyond the evidence.

        Returns:
            Shape ``(…, n, N)``, with N the largest number of components and zeros beyond a variable's own. It
            carries no gradient.
        """
        rows, _, shape = self._rows(None if value is None else self._check(value, "value"))
        probs = self.chain.posterior(self.emissions.log_prob(rows))[self._visible]
        return probs.movedim(0, 1).reshape(*shape, *probs.shape[::2])

    # -- new distributions

    def condition(self, value: Tensor) -> TensorRingDistribution:
        """The distribution of all variables given the entries of ``value`` that are not NaN.

        Args:
            value: Shape ``(…, n)``; every row has its own pattern of observed variables. The leading
                dimensions become the batch shape.

        Raises:
            ValueError: As for :meth:`log_prob`, or ``value`` contradicts what was conditioned on before.
        """
        value = self._check(value, "value")
        rows, conflict, shape = self._rows(value)
        if conflict is not None and bool(conflict.any()):
            raise ValueError("value contradicts the evidence that this distribution was conditioned on before")
        return self._with(evidence=rows.view(*shape, len(self.chain)).to(self.chain.cores.dtype))

    def marginal(self, variables: Sequence[int]) -> TensorRingDistribution:
        """The distribution of some of the variables, the others summed out once and for all.

        Args:
            variables: Their positions in increasing order; negative ones count from the end.

        Raises:
            ValueError: A position is out of range, or they are not increasing.
            TypeError: They are not ints.
        """
        n = self.event_shape[0]
        try:
            positions = [operator.index(i) for i in variables]
        except TypeError:
            raise TypeError(f"variables must be a sequence of positions (ints), got {variables!r}") from None
        if not positions or any(not -n <= i < n for i in positions):
            raise ValueError(f"variables must be positions from {-n} to {n - 1}, at least one, got {list(variables)}")
        positions = [i % n for i in positions]
        if any(a >= b for a, b in itertools.pairwise(positions)):
            raise ValueError(f"variables must be increasing, got {list(variables)}")
        visible = [self._visible[i] for i in positions]
        kept = set(visible)
        if self._evidence is not None:
            observed = (~self._evidence.reshape(-1, len(self.chain)).isnan()).any(0)
            kept |= set(observed.nonzero().flatten().tolist())
        columns = sorted(kept)
        emissions = self.emissions.select(columns)
        return self._with(
            chain=self.chain.absorb(columns).select(list(range(len(columns))), emissions.components),
            emissions=emissions,
            evidence=None if self._evidence is None else self._evidence[..., columns],
            visible=[columns.index(j) for j in visible],
        )

    def roll(self, shift: int) -> TensorRingDistribution:
        """The same ring with its variables shifted cyclically: variable j moves to (j + shift) mod n.

        Raises:
            ValueError: It is a train, or some variables are hidden (a marginal of a conditional).
        """
        n = len(self.chain)
        if self.chain.boundary != "ring":
            raise ValueError("only a ring can be shifted cyclically, this is a train")
        if self._visible != list(range(n)):
            raise ValueError("only a ring of all its variables in their own order can be shifted")
        order = [(j - shift) % n for j in range(n)]
        evidence = None if self._evidence is None else self._evidence[..., order]
        return self._with(chain=self.chain.select(order), emissions=self.emissions.select(order), evidence=evidence)

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
        """The values at the most probable component indices: their means, or the indices of discrete variables.

        The indices maximise the tensor's entry times the density of the evidence. They are found by a search
        that keeps the most promising beginnings, ordered by an upper bound on what can still follow; see
        :func:`googol.distributions.mode.most_probable_indices`.
        """
        rows, _, shape = self._rows(None)
        with torch.no_grad():
            hidden = [j for j in range(len(self.chain)) if j not in self._visible]
            log_weights = self.emissions.log_prob(rows)
            index = _mode.most_probable_indices(self.chain, log_weights, summed=hidden).indices
            means = self.emissions.moments()[0]
            values = torch.where(rows.isnan(), means.gather(1, index).mT, rows)
        return self._values(values, *shape)

    # -- samples

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws the component indices first, then the values; evidence is kept as it is."""
        with torch.no_grad():
            rows, _, shape = self._rows(None)
            values = _sampling.sample(self.chain, self.emissions, rows, torch.Size(sample_shape).numel())
        return self._values(values, *sample_shape, *shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        r"""Draws samples that are differentiable in every parameter and in the evidence.

        With :math:`F_j` the distribution function of variable j given those before it, a mixture's, the gradient
        is that of :math:`z_j` as the solution of :math:`F_j(z_j \mid z_{<j}) = u_j`, by implicit
        differentiation (Figurnov et al., Implicit Reparameterization Gradients, 2018).

        Raises:
            ValueError: A discrete variable is open; condition on it or take a marginal without it first.
        """
        if discrete := self._open_discrete():
            raise ValueError(
                f"rsample needs continuous variables, but variables {discrete} are discrete and not observed: "
                "condition on them or leave them out with marginal()"
            )
        rows, _, shape = self._rows(None)
        with torch.no_grad():
            drawn = _sampling.sample(self.chain, self.emissions, rows, torch.Size(sample_shape).numel())
        values = _sampling.reparameterize(self.chain, self.emissions, rows, drawn, self._visible)
        return self._values(values, *sample_shape, *shape)
