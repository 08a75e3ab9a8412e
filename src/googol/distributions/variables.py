"""What is seen of a variable, given the index of its component.

A variable describes one family of components. It holds no parameters itself: those of all variables of a
family are stacked and live in the tensor ring, so ``[Normal(10)] * 100`` are a hundred variables of their own.
A new family is one class here.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import constraints

Parameters = Mapping[str, Tensor]


class Variable(ABC):
    """A family of distributions p(v given s) with one member for each index s = 0 … N − 1.

    The methods below take the parameters of many variables of a kind at once, each of shape ``(…, N)``, and values
    that broadcast against them.

    Args:
        components: The number N of values that the index can take, at least 1.
    """

    is_discrete: ClassVar[bool]

    def __init__(self, components: int) -> None:
        if isinstance(components, bool) or not isinstance(components, int):
            raise TypeError(f"components must be an int, got {components!r} of type {type(components).__name__}")
        if components < 1:
            raise ValueError(f"components must be at least 1, got {components}")
        self.components = components

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.components})"

    @property
    @abstractmethod
    def support(self) -> constraints.Constraint:
        """The values that can be seen."""

    @abstractmethod
    def initial_parameters(self, samples: Tensor | None = None) -> dict[str, Tensor]:
        """Unconstrained parameters to start from, each of shape ``(N,)``, fitted to samples ``(B,)`` if given."""

    @abstractmethod
    def log_prob(self, parameters: Parameters, value: Tensor) -> Tensor:
        """log p(value given s)."""

    def cdf(self, parameters: Parameters, value: Tensor) -> Tensor:
        """P(v ≤ value given s), of continuous variables."""
        raise TypeError(f"a distribution function needs a continuous variable, got {self!r}")

    @abstractmethod
    def sample(self, parameters: Parameters, index: Tensor) -> Tensor:
        """Values drawn from p(v given s), where the parameters are those of the drawn components already."""

    @abstractmethod
    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """The mean and the variance of every component, of shapes that broadcast to ``(…, N)``."""


class Normal(Variable):
    r"""A continuous variable: component s is normal with mean :math:`\mu_s` and standard deviation :math:`\sigma_s`.

    Args:
        components: The number N of components.
        loc: The means to start from, shape ``(N,)``; by default spread over (−2, 2).
        scale: The standard deviations to start from, shape ``(N,)`` or a number, positive.

    Raises:
        ValueError: ``loc`` or ``scale`` has another shape, is not finite, or ``scale`` is not positive.

    Example:
        >>> from googol.distributions import Normal
        >>> Normal(3, loc=[-1.0, 0.0, 1.0], scale=0.5)
        Normal(3)
    """

    is_discrete = False

    def __init__(self, components: int, *, loc: Any = None, scale: Any = None) -> None:
        super().__init__(components)
        spread = torch.linspace(-2.0, 2.0, components, dtype=torch.float64) if components > 1 else torch.zeros(1)
        self.loc = spread if loc is None else self._argument("loc", loc)
        default = torch.full((components,), 4.0 / max(components, 4))
        self.scale = default if scale is None else self._argument("scale", scale)
        if not bool((self.scale > 0).all()):
            raise ValueError(f"scale must be positive, got {self.scale.tolist()}")

    def _argument(self, name: str, value: Any) -> Tensor:
        try:
            tensor = torch.as_tensor(value, dtype=torch.float64).detach()
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"{name} must be numbers, got {value!r}") from None
        if tensor.shape not in {(), (self.components,)}:
            raise ValueError(f"{name} must have the shape ({self.components},), got {tuple(tensor.shape)}")
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} must be finite, got {tensor.tolist()}")
        return tensor.expand(self.components).clone()

    @property
    def support(self) -> constraints.Constraint:
        return constraints.real

    def initial_parameters(self, samples: Tensor | None = None) -> dict[str, Tensor]:
        if samples is None:
            return {"loc": self.loc.clone(), "log_scale": self.scale.log()}
        # Components sit at the quantiles of the data, each as wide as the distance to its neighbours.
        samples = samples[: 2**20].double()
        edges = torch.linspace(0, 1, self.components + 1, dtype=samples.dtype, device=samples.device)
        centres = samples.quantile((edges[1:] + edges[:-1]) / 2)
        spread = samples.std(correction=0).clamp_min(1e-3 * (1 + samples.abs().mean()))
        if self.components == 1:
            return {"loc": samples.mean().reshape(1), "log_scale": spread.log().reshape(1)}
        gaps = torch.gradient(centres)[0]
        return {"loc": centres, "log_scale": gaps.clamp_min(0.5 * spread / self.components).log()}

    def log_prob(self, parameters: Parameters, value: Tensor) -> Tensor:
        result: Tensor = _NormalLogProb.apply(value, parameters["loc"], parameters["log_scale"])
        return result

    def cdf(self, parameters: Parameters, value: Tensor) -> Tensor:
        """P(v ≤ value given s)."""
        return torch.special.ndtr((value - parameters["loc"]) * (-parameters["log_scale"]).exp())

    def sample(self, parameters: Parameters, index: Tensor) -> Tensor:
        return torch.normal(parameters["loc"], parameters["log_scale"].exp())

    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        return parameters["loc"], (2 * parameters["log_scale"]).exp()


class _NormalLogProb(torch.autograd.Function):
    """The log-density, and its gradients, in place: a new page of memory costs more than all that is computed on it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
        ctx.save_for_backward(value, loc, log_scale)
        z = (value - loc).mul_((-log_scale).exp())
        return z.square_().mul_(-0.5).sub_(log_scale + 0.5 * math.log(2 * math.pi))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value, loc, log_scale = ctx.saved_tensors
        inverse = (-log_scale).exp()
        z = (value - loc).mul_(inverse)
        by_z = grad * z
        by_log_scale = z.mul_(by_z).sub_(grad).sum_to_size(log_scale.shape)
        by_loc = by_z.mul_(inverse)
        return -by_loc.sum_to_size(value.shape), by_loc.sum_to_size(loc.shape), by_log_scale


class Categorical(Variable):
    """A discrete variable with values 0 … N − 1: what is seen is the index itself.

    Args:
        components: The number N of values.

    Example:
        >>> from googol.distributions import Categorical
        >>> Categorical(2)
        Categorical(2)
    """

    is_discrete = True

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.components - 1)

    def initial_parameters(self, samples: Tensor | None = None) -> dict[str, Tensor]:
        return {}

    def log_prob(self, parameters: Parameters, value: Tensor) -> Tensor:
        values = torch.arange(self.components, device=value.device)
        return torch.zeros((), dtype=value.dtype, device=value.device).where(value == values, -math.inf)

    def sample(self, parameters: Parameters, index: Tensor) -> Tensor:
        return index.to(torch.get_default_dtype())

    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        values = torch.arange(self.components, dtype=torch.get_default_dtype())
        return values, torch.zeros_like(values)


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
        self.components = max(variable.components for variable in variables)
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
        columns = value.mT.unsqueeze(-1)  # (n, B, 1)
        missing = columns.isnan()
        columns = columns.masked_fill(missing, 0.0)
        parts = [self._group_log_prob(positions, parameters, columns) for positions, parameters in self.groups]
        dtype = functools.reduce(torch.promote_types, (part.dtype for part in parts), self._like.dtype)
        return self._in_order([self._pad(part.to(dtype)) for part in parts]).masked_fill(missing, 0.0)

    def _group_log_prob(self, positions: list[int], parameters: Parameters, columns: Tensor) -> Tensor:
        kind = self._kind(positions)
        chosen = columns if len(positions) == len(columns) else columns[positions]
        stacked = {name: parameter.unsqueeze(1) for name, parameter in parameters.items()}
        result = kind.log_prob(stacked, chosen)
        if kind.is_discrete or result.dtype == torch.float64 or not result.numel():
            return result
        if not bool(result.detach().amin() < -1e3):
            return result
        # Far from every component, what the components differ by is small beside the values.
        stacked = {name: parameter.double() for name, parameter in stacked.items()}
        return kind.log_prob(stacked, chosen.double())

    def sample(self, index: Tensor) -> Tensor:
        """Values drawn given the indices ``(n, B)``, of shape ``(B, n)``."""
        parts = []
        for positions, parameters in self.groups:
            chosen = index[positions]
            drawn = {name: parameter.detach().gather(1, chosen) for name, parameter in parameters.items()}
            parts.append(self._kind(positions).sample(drawn, chosen).to(self._like.dtype))
        return self._in_order(parts).mT

    def moments(self) -> tuple[Tensor, Tensor]:
        """The means and variances of all components, each ``(n, N)``."""
        pairs = [
            [moment.to(self._like).expand(len(positions), -1) for moment in self._kind(positions).moments(parameters)]
            for positions, parameters in self.groups
        ]
        means, variances = ([self._pad(pair[i]) for pair in pairs] for i in (0, 1))
        return self._in_order(means), self._in_order(variances)

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
                rows = [row for _, row in pairs]
                groups.append(([p for p, _ in pairs], {name: value[rows] for name, value in parameters.items()}))
        return Emissions(tuple(self.variables[j] for j in kept), groups, self._like)
