"""Independent variables of different kinds, any of which may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Normal, constraints


class IndependentVariables(Distribution):
    r"""The distribution of c independent variables, each categorical or normal.

    .. math:: p(y) = \prod_{j \text{ observed}} p_j(y_j)

    As in a :class:`~googol.distributions.TensorRingDistribution`, NaN means *not observed*: such a variable is summed
    out, which here is to leave out its factor.

    Args:
        parts: The c distributions, each a `Categorical` or a `Normal` of `torch.distributions`, with one batch shape.

    Raises:
        ValueError: There are none, or their batch shapes differ.

    Example:
        >>> import torch
        >>> from googol.distributions import IndependentVariables
        >>> digit, age = torch.distributions.Categorical(logits=torch.zeros(10)), torch.distributions.Normal(40.0, 9.0)
        >>> both = IndependentVariables([digit, age])
        >>> both.log_prob(torch.tensor([3.0, float("nan")]))
        tensor(-2.3026)
        >>> both.sample((5,)).shape
        torch.Size([5, 2])
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (as in torch.distributions)

    def __init__(self, parts: Sequence[Categorical | Normal]) -> None:
        self.parts = tuple(parts)
        shapes = {part.batch_shape for part in self.parts}
        if len(shapes) != 1:
            raise ValueError(f"parts must be at least one, of one batch shape, got {sorted(map(tuple, shapes))}")
        super().__init__(shapes.pop(), torch.Size([len(self.parts)]), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        supports = [part.support for part in self.parts]
        return constraints.independent(constraints.cat(supports, dim=-1, lengths=[1] * len(supports)), 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of the entries that are not NaN, in nats.

        Args:
            value: Shape ``(…, c)``.

        Returns:
            Shape ``(…,)``.

        Raises:
            ValueError: The last dimension is not c.
        """
        if value.shape[-1:] != self.event_shape:
            raise ValueError(f"value must have the shape (…, {len(self.parts)}), got {tuple(value.shape)}")
        total: Any = 0.0
        for part, column in zip(self.parts, value.unbind(-1), strict=True):
            known = ~column.isnan()
            # Something likely in place of what is missing, so that no gradient is NaN.
            total = total + part.log_prob(torch.where(known, column, part.mode.to(column))).where(known, 0.0)
        return total

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws every variable; categories come as numbers, as in data."""
        drawn = [part.sample(torch.Size(sample_shape)) for part in self.parts]
        return torch.stack([column.to(self._like) for column in drawn], -1)

    @property
    def mode(self) -> Tensor:
        """The most probable values."""
        return torch.stack([part.mode.to(self._like) for part in self.parts], -1)

    @property
    def answers(self) -> list[Tensor]:
        """For each variable the probabilities of its N values, ``(…, N)``, or the mean of a number, ``(…, 1)``."""
        return [part.probs if isinstance(part, Categorical) else part.mean.unsqueeze(-1) for part in self.parts]

    @property
    def _like(self) -> Tensor:
        first = self.parts[0]
        return first.loc if isinstance(first, Normal) else first.logits
