"""The distribution of a tensor ring or train over continuous and discrete variables."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from googol.distributions import rows as _rows
from googol.distributions.events import Event
from googol.distributions.indexing import as_int
from googol.distributions.values import ValuesDistribution


class TensorRingDistribution(ValuesDistribution):
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

    # -- densities

    def log_prob(self, value: Tensor, *, within: Mapping[int, Event] | None = None) -> Tensor:
        """The log-density of the entries that are not NaN, in nats.

        Args:
            value: Shape ``(…, n)``; NaN = not observed, summed out exactly. Entries that the evidence fixes may
                be NaN or equal to it; another value has a log-density of ``-inf``.
            within: Events by the position of a variable: the result is then the log-density of the entries and the
                events together, and with no entry the log-probability of the events.

        Returns:
            Shape ``(…,)``.

        Raises:
            ValueError: The last dimension is not n, an entry is infinite, or a discrete one is not a value; or as for
                :meth:`condition`.
        """
        if within:
            return self._log_prob_within(value, within)
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

    def _log_prob_within(self, value: Tensor, within: Mapping[int, Event]) -> Tensor:
        """:meth:`log_prob` of a value and events together."""
        evidence, outside = self._evidence, None
        if evidence is not None:
            # Rows of whose evidence an event is not true have the probability 0, whatever else is asked of them.
            outside = torch.zeros(self.batch_shape, dtype=torch.bool, device=evidence.device)
            for position, event in self._events(within).items():
                outside |= _outside(evidence[..., self._visible[position]], event)
            evidence = evidence.masked_fill(outside.unsqueeze(-1), math.nan)
        possible = self._with(evidence=evidence)
        restricted = possible.condition(within=within)
        log_prob = restricted.log_prob(value)
        log_prob = log_prob + (restricted._log_total() - possible._log_total()).to(log_prob.dtype)
        return log_prob if outside is None else log_prob.masked_fill(outside, -math.inf)

    def log_marginals(self, value: Tensor, subsets: Sequence[Sequence[int]]) -> Tensor:
        r"""The log-densities of several subsets of the entries of a value: :meth:`log_prob` with the others missing.

        What the subsets have in common is multiplied once, so that with two of them,
        :math:`\log p(y \mid z) = \log p(z, y) - \log p(z)` costs little more than one density.

        Args:
            value: Shape ``(…, n)``; NaN = not observed.
            subsets: The positions of the variables of each.

        Returns:
            Shape ``(subsets, …)``.

        Raises:
            ValueError: As for :meth:`log_prob`, or a position is out of range.

        Example:
            >>> import torch
            >>> from googol.distributions import Categorical, Normal, TensorRing
            >>> joint = TensorRing([Normal(5)] * 3 + [Categorical(2)], rank=4)()
            >>> v = torch.tensor([0.3, 0.1, -1.0, 1.0])
            >>> both, codes = joint.log_marginals(v, [range(4), range(3)])
            >>> codes.isclose(joint.marginal(range(3)).log_prob(v[:3]))
            tensor(True)
        """
        value, n = self._check(value, "value"), len(self._visible)
        if not subsets or not all(isinstance(subset, Iterable) for subset in subsets):
            raise ValueError(f"subsets must be sequences of positions, at least one, got {subsets!r}")
        included = torch.zeros(len(subsets), n, dtype=torch.bool, device="cpu")  # where it is looked at
        for row, subset in enumerate(subsets):
            if any(not -n <= as_int(i) < n for i in subset):
                raise ValueError(f"subsets must hold positions from {-n} to {n - 1}, got {list(subset)}")
            included[row, list(subset)] = True
        if self._evidence is not None:
            return torch.stack([self.log_prob(value.masked_fill(~one, math.nan)) for one in included.to(value.device)])
        rows, _, shape = self._rows(value)
        along = torch.empty_like(included)
        along[:, self._visible] = included
        result = _rows.log_sums_of_subsets(self.chain, self.emissions, rows, along) - self._log_total()
        return result.view(len(subsets), *shape).to(torch.promote_types(value.dtype, self.chain.cores.dtype))

    @property
    def log_normalizer(self) -> Tensor:
        """log Z: the log-sum of all entries of the tensor, times the probability of the evidence, if any."""
        return self._log_total().to(self.chain.cores.dtype)

    def _log_total(self) -> Tensor:
        """log Z in double precision."""
        rows, _, shape = self._rows(None)
        ones = torch.ones(len(rows), dtype=torch.float64, device=rows.device)
        return _rows.log_sums(self.chain, self.emissions, rows, ones).view(shape)

    def component_probs(self, value: Tensor | None = None) -> Tensor:
        """p(s_j given v) of every variable, whether it is observed or not.

        Args:
            value: Shape ``(…, n)``, NaN = not observed; by default nothing is observed beyond the evidence.

        Returns:
            Shape ``(…, n, N)``, with N the largest number of components and zeros beyond a variable's own. It
            carries no gradient.

        Raises:
            ValueError: As for :meth:`log_prob`, or an entry contradicts the evidence.
        """
        rows, shape = self._consistent_rows(value)
        probs = self.chain.posterior(self.emissions.log_prob(rows))[self._visible]
        return probs.movedim(0, 1).reshape(*shape, *probs.shape[::2])

    @property
    def component_means(self) -> Tensor:
        """The mean of every component of every variable, ``(n, N)`` as :meth:`component_probs`; without gradient."""
        return self.emissions.moments()[0][self._visible].detach()

    @torch.no_grad()
    def bond_probs(self, variable: int, value: Tensor | None = None) -> Tensor:
        r"""p(a given v) of the bond between a variable and the next along the chain: a clustering of values.

        All that the variables before a bond know of those after it is which of its m values it has; given that, in a
        train, the two sides are independent. So the bond values are the classes of a latent class model.

        Args:
            variable: The position of the variable before the bond, any but the last along a train.
            value: Shape ``(…, n)``, NaN = not observed; by default nothing is observed beyond the evidence.

        Returns:
            Shape ``(…, m)``. It carries no gradient.

        Raises:
            ValueError: The position is out of range, or no bond follows it; or an entry contradicts the evidence.

        Example:
            >>> import torch
            >>> from googol.distributions import Normal, TensorRing
            >>> joint = TensorRing([Normal(5)] * 4, rank=3, boundary="train")()
            >>> cluster = joint.bond_probs(1, torch.randn(100, 4)).argmax(-1)
            >>> cluster.shape
            torch.Size([100])
        """
        n = len(self._visible)
        if not -n <= as_int(variable) < n:
            raise ValueError(f"variable must be a position from {-n} to {n - 1}, got {variable}")
        link = self._visible[variable]
        if self.chain.boundary == "train" and link == len(self.chain) - 1:
            raise ValueError(f"no bond follows variable {variable}, the last of a train")
        rows, shape = self._consistent_rows(value)
        return self.chain.bond_posterior(self.emissions.log_prob(rows), link).view(*shape, self.chain.rank)

    # -- new distributions

    def condition(
        self, value: Tensor | None = None, *, within: Mapping[int, Event] | None = None
    ) -> TensorRingDistribution:
        r"""The distribution of all variables given the entries of ``value`` that are not NaN, and events.

        That a variable lies in a set A, an interval or a few values, multiplies the weights of its components by
        :math:`P(v_j \in A \mid s_j)` and truncates the components themselves.

        Args:
            value: Shape ``(…, n)``; every row has its own pattern of observed variables. The leading
                dimensions become the batch shape.
            within: An :class:`~googol.distributions.Interval` or :class:`~googol.distributions.OneOf` by the position
                of the variable (negative ones count from the end), the same for all rows.

        Raises:
            ValueError: As for :meth:`log_prob`, an event is impossible or not one of its variable, or something
                contradicts what was conditioned on before.
            TypeError: A position is not an int, or an event is something else.

        Example:
            >>> import torch
            >>> from googol.distributions import Categorical, Interval, Normal, OneOf, TensorRing
            >>> joint = TensorRing([Normal(5), Normal(5), Categorical(4)], rank=3)()
            >>> some = joint.condition(within={1: Interval(0.5, 1.0), 2: OneOf([0, 3])}).sample((100,))
            >>> some[:, 1].min() >= 0.5, some[:, 2].unique()
            (tensor(True), tensor([0., 3.]))
        """
        evidence = self._evidence
        if value is not None:
            rows, shape = self._consistent_rows(value)
            self._require_possible(rows)
            evidence = rows.view(*shape, len(self.chain)).to(self.chain.cores.dtype)
        events = {self._visible[position]: event for position, event in self._events(within or {}).items()}
        if not events:
            return self._with(evidence=evidence)
        emissions, masses = self.emissions, torch.zeros_like(self.chain.log_scale).unbind(0)
        log_masses = dict(enumerate(masses))
        for j, event in events.items():
            if evidence is not None and bool(_outside(evidence[..., j], event).any()):
                raise ValueError(f"the observed value of variable {self._visible.index(j)} does not lie in {event!r}")
            log_masses[j], emissions = emissions.within(j, event)
        chain = self.chain.weighted(torch.stack(list(log_masses.values())))
        for j in (~chain.possible.any(-1)).nonzero().flatten().tolist():
            raise ValueError(
                f"variable {self._visible.index(j)} cannot lie in {events[j]!r}, given what was conditioned on before"
            )
        return self._with(chain=chain, emissions=emissions, evidence=evidence)

    def _require_possible(self, rows: Tensor) -> None:
        """Raises a ValueError if numbers lie outside of an interval that was conditioned on before."""
        for j, variable in enumerate(self.emissions.variables):
            limited = not variable.is_discrete and isinstance(variable.support, constraints.interval)
            if limited and not bool((rows[:, j].isnan() | variable.support.check(rows[:, j])).all()):
                raise ValueError("value contradicts what this distribution was conditioned on before")

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
            positions = [as_int(i) for i in variables]
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


def _outside(numbers: Tensor, event: Event) -> Tensor:
    """Which numbers are not in an event; NaN, which is not observed, is not outside."""
    wrong = [not math.isnan(number) and number not in event for number in numbers.flatten().tolist()]
    return torch.tensor(wrong, dtype=torch.bool, device=numbers.device).view_as(numbers)
