"""What is seen of all variables of a ring at once, given the indices of their components."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from googol.distributions import kernels
from googol.distributions.indexing import index_of
from googol.distributions.variables import Event, Normal, Parameters, Variable


class Emissions:
    """p(v given s) of all variables of a ring, at once for those of the same family and size.

    Args:
        variables: The n variables.
        groups: Pairs of the positions of the variables of a group and their stacked parameters, each ``(g, N)``.
        like: A tensor of the type and device of the values.
    """

    def __init__(
        self, variables: tuple[Variable, ...], groups: Sequence[tuple[list[int], Parameters]], like: Tensor
    ) -> None:
        self.variables = variables
        self.groups = groups
        self.components = max(self._kind(positions).components for positions, _ in groups)
        self._like = like.new_empty(0)

    def _kind(self, positions: list[int]) -> Variable:
        return self.variables[positions[0]]

    def _in_order(self, parts: list[Tensor]) -> Tensor:
        """Joins what was computed group by group along the first dimension, in the order of the variables."""
        order = [position for positions, _ in self.groups for position in positions]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts)
        if order == sorted(order):
            return joined
        return joined[torch.tensor(order, device=joined.device).argsort()]

    def _pad(self, part: Tensor) -> Tensor:
        missing = self.components - part.shape[-1]
        return torch.nn.functional.pad(part, (0, missing)) if missing else part

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(v_j given s_j), with 0 (no information) where the value is missing.

        Args:
            value: Shape ``(B, n)``, NaN = missing.

        Returns:
            Shape ``(n, B, N)``; in double precision where single precision would not do.
        """
        parts = [self._group_log_prob(positions, parameters, value.mT) for positions, parameters in self.groups]
        dtype = functools.reduce(torch.promote_types, (part.dtype for part in parts), self._like.dtype)
        return self._in_order([self._pad(part.to(dtype)) for part in parts])

    def _group_log_prob(self, positions: list[int], parameters: Parameters, columns: Tensor) -> Tensor:
        """The same for a group, ``(g, B, N)``, given all values as columns ``(n, B)``."""
        kind = self._kind(positions)
        chosen = columns if len(positions) == len(columns) else columns[index_of(positions)]
        if type(kind) is Normal and chosen.dtype == parameters["loc"].dtype and kernels.available(parameters["loc"]):
            result: Tensor = kernels.CompiledNormal.apply(chosen, parameters["loc"], parameters["log_scale"])
        else:
            result = self._log_prob(kind, parameters, chosen)
        if kind.is_discrete or result.dtype == torch.float64 or not result.numel():
            return result
        # A compiler's graph cannot look: there, all is computed in double precision.
        if not torch.compiler.is_compiling() and not bool(result.detach().amin() < -1e3):
            return result
        # Far from every component, what the components differ by is small beside the values.
        doubles = {name: parameter.double() for name, parameter in parameters.items()}
        return self._log_prob(kind, doubles, chosen.double())

    @staticmethod
    def _log_prob(kind: Variable, parameters: Parameters, value: Tensor) -> Tensor:
        missing = value.isnan().unsqueeze(-1)
        stacked = {name: parameter.unsqueeze(1) for name, parameter in parameters.items()}
        return kind.log_prob(stacked, value.unsqueeze(-1).masked_fill(missing, 0.0)).masked_fill(missing, 0.0)

    def normals(self) -> tuple[Tensor, Tensor] | None:
        """Means and logarithms of deviations of all components, ``(n, N)``, if all variables are normal and alike."""
        (positions, parameters), *others = self.groups
        if others or type(self._kind(positions)) is not Normal or positions != sorted(positions):
            return None
        return parameters["loc"], parameters["log_scale"]

    def cdf(self, value: Tensor) -> Tensor:
        """P(v_j ≤ value given s_j) of the continuous variables, ``(n, B, N)`` for values ``(B, n)``; 0 for others."""
        return self._of_continuous("cdf", value)

    def slope(self, value: Tensor) -> Tensor:
        """The derivative of log p(v_j given s_j) by the value, of the continuous variables; as :meth:`cdf`."""
        return self._of_continuous("slope", value)

    def _of_continuous(self, method: str, value: Tensor) -> Tensor:
        columns = value.mT.unsqueeze(-1)  # (n, B, 1)
        missing = columns.isnan()
        columns = columns.masked_fill(missing, 0.0)
        parts = []
        for positions, parameters in self.groups:
            kind = self._kind(positions)
            if kind.is_discrete:
                part = columns.new_zeros(len(positions), columns.shape[1], kind.components)
            else:
                stacked = {name: parameter.unsqueeze(1) for name, parameter in parameters.items()}
                part = getattr(kind, method)(stacked, columns[index_of(positions)])
            parts.append(self._pad(part.to(self._like)))
        return self._in_order(parts).masked_fill(missing, 0.0)

    def sample(self, index: Tensor, temperature: Tensor | None = None) -> Tensor:
        """Values drawn given the indices ``(n, B)``, of shape ``(B, n)``, their distances from the means of their
        components multiplied by the temperatures, ``(n,)``.

        Values that are known to lie in an interval are not moved farther from the means than they were drawn, since
        they could leave it.
        """
        parts = []
        for positions, parameters in self.groups:
            chosen = index[index_of(positions)]
            drawn = {name: parameter.detach().gather(1, chosen) for name, parameter in parameters.items()}
            parts.append(self._kind(positions).sample(drawn, chosen).to(self._like.dtype))
        values = self._in_order(parts)
        if temperature is not None:
            means = self.moments()[0].gather(1, index)
            anywhere = torch.tensor([v.support is constraints.real for v in self.variables])
            factors = torch.where(anywhere, temperature, temperature.clamp(max=1.0))
            values = means.lerp(values, factors.to(values).unsqueeze(-1))
        return values.mT

    def moments(self) -> tuple[Tensor, Tensor]:
        """The means and variances of all components, each ``(n, N)``."""
        pairs = [
            [moment.to(self._like).expand(len(positions), -1) for moment in self._kind(positions).moments(parameters)]
            for positions, parameters in self.groups
        ]
        means, variances = ([self._pad(pair[i]) for pair in pairs] for i in (0, 1))
        return self._in_order(means), self._in_order(variances)

    def modes(self) -> Tensor:
        """The most probable values of all components, ``(n, N)``."""
        parts = [
            self._pad(self._kind(positions).modes(parameters).to(self._like).expand(len(positions), -1))
            for positions, parameters in self.groups
        ]
        return self._in_order(parts)

    def within(self, position: int, event: Event) -> tuple[Tensor, Emissions]:
        """The log-probability that each component of a variable gives to an event, ``(N,)``, and the emissions given
        that the variable lies there.
        """
        groups: list[tuple[list[int], Parameters]] = []
        for positions, parameters in self.groups:
            if position not in positions:
                groups.append((positions, parameters))
                continue
            own = {name: value[[positions.index(position)]] for name, value in parameters.items()}
            log_mass, variable, changed = self.variables[position].within(own, event)
            groups.append(([position], changed))
            if others := [row for row, other in enumerate(positions) if other != position]:
                rest = {name: value[others] for name, value in parameters.items()}
                groups.append(([positions[row] for row in others], rest))
        variables = (*self.variables[:position], variable, *self.variables[position + 1 :])
        log_mass = log_mass.to(self._like).reshape(-1)
        filling = log_mass.new_full((self.components - len(log_mass),), -math.inf)
        return torch.cat([log_mass, filling]), Emissions(variables, groups, self._like)

    def map(self, change: Callable[[Tensor], Tensor]) -> Emissions:
        """The emissions with changed parameters."""
        groups = [
            (positions, {name: change(value) for name, value in parameters.items()})
            for positions, parameters in self.groups
        ]
        return Emissions(self.variables, groups, self._like)

    def select(self, kept: list[int]) -> Emissions:
        """The emissions of some of the variables, in the given order."""
        groups: list[tuple[list[int], Parameters]] = []
        for positions, parameters in self.groups:
            pairs = sorted((kept.index(p), row) for row, p in enumerate(positions) if p in kept)
            if pairs:
                rows = index_of([row for _, row in pairs])
                groups.append(([p for p, _ in pairs], {name: value[rows] for name, value in parameters.items()}))
        return Emissions(tuple(self.variables[j] for j in kept), groups, self._like)
