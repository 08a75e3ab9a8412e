"""A distribution of the variables of a chain of which some may be observed: its values, and what is known of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from googol.distributions.chain import Chain
from googol.distributions.emissions import Emissions
from googol.distributions.events import Event, Interval
from googol.distributions.indexing import as_int, index_of
from googol.distributions.variables import rounded


class EvidenceDistribution(Distribution):
    """What :class:`~googol.distributions.TensorRingDistribution` builds on: no mathematics, but shapes and checks.

    Args:
        chain: The weights of all combinations of components.
        emissions: What is seen of each variable of the chain.
        evidence: Observed values, ``(…, n)`` with NaN for open variables; its leading dimensions are the batch.
        visible: The links whose variables are those of the distribution, in their order; others are summed out.
        validate_args: As in `torch.distributions`.
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

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        batch_shape = torch.Size(batch_shape)
        evidence = self._empty(torch.Size()) if self._evidence is None else self._evidence
        return self._with(evidence=evidence.expand(*batch_shape, -1))

    def _with(self, **changes: Any) -> Self:
        arguments: dict[str, Any] = {
            "chain": self.chain,
            "emissions": self.emissions,
            "evidence": self._evidence,
            "visible": self._visible,
            "validate_args": self._validate_args,
        }
        return type(self)(**(arguments | changes))

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
        value = value.to(torch.promote_types(value.dtype, torch.float32))  # half precision takes neighbours for equal
        if not self._validate_args or torch.compiler.is_compiling():
            return value
        infinite, groups = value.isinf().any(), []
        for positions, _ in self.emissions.groups:
            variable = self.emissions.variables[positions[0]]
            if not variable.is_discrete:
                continue
            kind = set(positions)
            columns = [i for i, j in enumerate(self._visible) if j in kind]
            part = value[..., index_of(columns)]
            groups.append((variable, columns, part, ~(variable.support.check(part) | part.isnan())))
        if not bool(torch.stack([infinite, *(wrong.any() for *_, wrong in groups)]).any()):
            return value  # a GPU is waited for once
        if bool(infinite):
            raise ValueError(f"{name} must be finite or NaN (not observed), got an infinite entry")
        for variable, columns, part, wrong in groups:
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
        if self._evidence is None:  # Then no variable of the chain is hidden.
            shape = value.shape[:-1]
            order = sorted(range(len(self._visible)), key=self._visible.__getitem__)
            along = value if order == sorted(order) else value[..., order]
            return along.reshape(-1, len(self.chain)), None, shape
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        value = value.expand(*shape, -1)
        full = self._empty(shape).to(value.dtype)
        full[..., self._visible] = value
        evidence = self._evidence
        # Values of another precision agree with the evidence if they do in either of the two.
        differ = (full != evidence.to(full.dtype)) & (full.to(evidence.dtype) != evidence)
        conflict = (differ & ~full.isnan() & ~evidence.isnan()).any(-1)
        full = torch.where(evidence.isnan(), full, evidence)
        return full.reshape(-1, len(self.chain)), conflict.reshape(-1), shape

    def _consistent_rows(self, value: Tensor | None) -> tuple[Tensor, torch.Size]:
        """The rows and the batch shape, of values that are checked here.

        Raises:
            ValueError: They contradict the evidence, or as for ``_check``.
        """
        rows, conflict, shape = self._rows(None if value is None else self._check(value, "value"))
        if conflict is not None and bool(conflict.any()):
            raise ValueError("value contradicts the evidence that this distribution was conditioned on before")
        return rows, shape

    def _values(self, rows: Tensor, *shape: int) -> Tensor:
        """Rows of all variables as values of this distribution."""
        return rows[..., self._visible].reshape(*shape, len(self._visible))

    def _require_continuous(self, method: str) -> None:
        if discrete := self._open_discrete():
            raise ValueError(
                f"{method} needs continuous variables, but variables {discrete} are discrete and not observed: "
                "condition on them or leave them out with marginal()"
            )

    def _full(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The evidence, a row for each entry of the batch ``(R, n)``, and numbers of all variables ``(S, R, n)``."""
        rows, _, shape = self._rows(None)
        if shape and tuple(numbers.shape[-len(shape) - 1 : -1]) != tuple(shape):
            expected = ", ".join(map(str, (*shape, *self.event_shape)))
            raise ValueError(f"expected numbers of the shape (…, {expected}), got {tuple(numbers.shape)}")
        full = self._empty(numbers.shape[:-1])
        full[..., self._visible] = numbers.to(full.dtype)
        return rows, full.view(full[..., 0].numel() // max(1, len(rows)), len(rows), len(self.chain))

    def _events(self, within: Mapping[int, Event]) -> dict[int, Event]:
        """Events by positions from 0 on, with intervals as the values of the type can reach their ends."""
        n, found = len(self._visible), dict[int, Event]()
        if not isinstance(within, Mapping):
            raise TypeError(f"within must be a dictionary of events by positions, got {within!r}")
        for key, event in within.items():
            if not isinstance(event, Event):
                raise TypeError(f"within[{key}] must be an Interval or OneOf, got {type(event).__name__}")
            try:
                position = as_int(key)
            except TypeError:
                raise TypeError(f"within must have positions (ints) as its keys, got {key!r}") from None
            if not -n <= position < n:
                raise ValueError(f"within must have positions from {-n} to {n - 1} as its keys, got {position}")
            if position % n in found:
                raise ValueError(f"within has two events of variable {position % n}")
            if isinstance(event, Interval):
                event = Interval(*(rounded(end, self.chain.cores.dtype) for end in (event.low, event.high)))
            found[position % n] = event
        return found
