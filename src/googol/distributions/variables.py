"""What is seen of a variable, given the index of its component.

A variable describes one family of components. It holds no parameters itself: those of all variables of a
family are stacked and live in the tensor ring, so ``[Normal(10)] * 100`` are a hundred variables of their own.
A new family is one class here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from googol.distributions import truncated
from googol.distributions.events import Event, Interval, OneOf
from googol.distributions.indexing import as_int
from googol.distributions.once import once_differentiable

Parameters = Mapping[str, Tensor]


class Variable(ABC):
    """A family of distributions p(v given s) with one member for each index s = 0 … N − 1.

    The methods below take the parameters of many variables of a kind at once, each of shape ``(…, N)``, and values
    that broadcast against them.

    Args:
        components: The number N of values that the index can take, at least 1.
    """

    is_discrete: ClassVar[bool]
    """Whether what is seen is the index itself, 0 … N − 1."""
    lengths: ClassVar[tuple[str, ...]] = ()
    """The parameters that are multiplied by u when all values are: a ring learns them in units of the data's spread."""

    def __init__(self, components: int) -> None:
        try:
            components = as_int(components)
        except TypeError:
            got = f"{components!r} of type {type(components).__name__}"
            raise TypeError(f"components must be an int, got {got}") from None
        if components < 1:
            raise ValueError(f"components must be at least 1, got {components}")
        self.components = components

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.components})"

    @property
    def kind(self) -> tuple[object, ...]:
        """What variables have in common whose methods take their parameters at once: all but tensors."""
        settings = {name: value for name, value in vars(self).items() if not isinstance(value, Tensor)}
        return type(self), *(f"{name}={value!r}" for name, value in sorted(settings.items()))

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
        raise TypeError(f"{self!r} has no cdf, which rsample, to_uniform and from_uniform need")

    def log_tails(self, parameters: Parameters, value: Tensor) -> tuple[Tensor, Tensor]:
        """log P(v ≤ value given s) and log P(v > value given s) in double precision, of continuous variables."""
        raise TypeError(f"{self!r} has no log_tails, which to_uniform and from_uniform need")

    def slope(self, parameters: Parameters, value: Tensor) -> Tensor:
        """The derivative of log p(value given s) by the value, of continuous variables."""
        raise TypeError(f"{self!r} has no slope, which the gradients of samples need")

    @abstractmethod
    def sample(self, parameters: Parameters, index: Tensor) -> Tensor:
        """Values drawn from p(v given s), where the parameters are those of the drawn components already."""

    @abstractmethod
    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """The mean and the variance of every component, of shapes that broadcast to ``(…, N)``."""

    def modes(self, parameters: Parameters) -> Tensor:
        """The most probable value of every component, of the shape of the means."""
        return self.moments(parameters)[0]

    @abstractmethod
    def within(self, parameters: Parameters, event: Event) -> tuple[Tensor, Variable, Parameters]:
        """What is left of a variable when it is known to lie in an event.

        Returns:
            log P(v in the event given s), ``(…, N)``, and the variable given that, with its parameters.

        Raises:
            ValueError: No component can lie there, or the event is not one of such a variable.
        """


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
    lengths = ("loc",)

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
        spread, size = samples.std(correction=0), samples.abs().amax()
        if spread <= 1e-6 * size:  # they are all the same
            spread = 1e-3 * size.where(size > 0, 1.0)
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

    def log_tails(self, parameters: Parameters, value: Tensor) -> tuple[Tensor, Tensor]:
        """log P(v ≤ value given s) and log P(v > value given s)."""
        z = (value.double() - parameters["loc"].double()) * (-parameters["log_scale"].double()).exp()
        return torch.special.log_ndtr(z), torch.special.log_ndtr(-z)

    def slope(self, parameters: Parameters, value: Tensor) -> Tensor:
        """The derivative of log p(value given s) by the value."""
        return (parameters["loc"] - value) * (-2 * parameters["log_scale"]).exp()

    def sample(self, parameters: Parameters, index: Tensor) -> Tensor:
        return torch.normal(parameters["loc"], parameters["log_scale"].exp())

    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        return parameters["loc"], (2 * parameters["log_scale"]).exp()

    def within(self, parameters: Parameters, event: Event) -> tuple[Tensor, Variable, Parameters]:
        if not isinstance(event, Interval):
            raise ValueError(f"a continuous variable lies in an Interval(low, high), got {event!r}")
        low, high = (rounded(bound, parameters["loc"].dtype) for bound in (event.low, event.high))
        if not low < high:
            dtype = parameters["loc"].dtype
            raise ValueError(f"an interval of a continuous variable must have low < high in {dtype}, got {event!r}")
        variable = _TruncatedNormal(self.components, low, high)
        return variable.log_mass(parameters), variable, parameters


def rounded(bound: float, dtype: torch.dtype) -> float:
    """A bound as the values of a type can reach it."""
    return torch.tensor(bound, dtype=dtype).item()


class _TruncatedNormal(Normal):
    """A normal variable that is known to lie between two bounds."""

    def __init__(self, components: int, low: float, high: float) -> None:
        super().__init__(components)
        self.low, self.high = low, high

    @property
    def support(self) -> constraints.Constraint:
        return constraints.interval(self.low, self.high)

    def _standardized(self, parameters: Parameters, *values: Tensor | float) -> list[Tensor]:
        loc, inverse = parameters["loc"].double(), (-parameters["log_scale"].double()).exp()
        # An infinite bound stays what it is whatever the parameters; its derivatives would be NaN.
        return [
            torch.full_like(loc, value) if isinstance(value, float) and math.isinf(value) else (value - loc) * inverse
            for value in values
        ]

    def log_mass(self, parameters: Parameters) -> Tensor:
        """log P(low ≤ v ≤ high given s), of the normal before it was truncated."""
        return truncated.log_mass(*self._standardized(parameters, self.low, self.high)).to(parameters["loc"].dtype)

    def log_prob(self, parameters: Parameters, value: Tensor) -> Tensor:
        inside = (value >= self.low) & (value <= self.high)
        # Far out, both are large and nearly equal.
        double = {name: parameter.double() for name, parameter in parameters.items()}
        log_prob = super().log_prob(double, value.double()) - self.log_mass(double)
        return log_prob.to(value.dtype).masked_fill(~inside, -math.inf)

    def cdf(self, parameters: Parameters, value: Tensor) -> Tensor:
        return self.log_tails(parameters, value)[0].exp().to(parameters["loc"].dtype)

    def log_tails(self, parameters: Parameters, value: Tensor) -> tuple[Tensor, Tensor]:
        value = value.double().clamp(self.low, self.high)
        a, x, b = self._standardized(parameters, self.low, value, self.high)
        whole = truncated.log_mass(a, b)
        return truncated.log_mass(a, x) - whole, truncated.log_mass(x, b) - whole

    def modes(self, parameters: Parameters) -> Tensor:
        return parameters["loc"].clamp(self.low, self.high)

    def sample(self, parameters: Parameters, index: Tensor) -> Tensor:
        a, b = self._standardized(parameters, self.low, self.high)
        loc, scale = parameters["loc"], parameters["log_scale"].exp()
        standard = truncated.quantile(a, b, torch.rand_like(a))
        return (loc + scale * standard).to(loc.dtype).clamp(self.low, self.high)

    def moments(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        loc, log_scale = parameters["loc"], parameters["log_scale"]
        mean, variance = truncated.moments(*self._standardized(parameters, self.low, self.high))
        mean = loc + log_scale.exp() * mean
        return mean.to(loc.dtype).clamp(self.low, self.high), ((2 * log_scale).exp() * variance).to(loc.dtype)

    def within(self, parameters: Parameters, event: Event) -> tuple[Tensor, Variable, Parameters]:
        if isinstance(event, Interval):
            low, high = max(event.low, self.low), min(event.high, self.high)
            if not low < high:
                raise ValueError(f"a variable known to lie in {Interval(self.low, self.high)} cannot lie in {event!r}")
            event = Interval(low, high)
        log_mass, variable, parameters = super().within(parameters, event)
        return log_mass - self.log_mass(parameters), variable, parameters


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

    def within(self, parameters: Parameters, event: Event) -> tuple[Tensor, Variable, Parameters]:
        allowed = [value for value in range(self.components) if value in event]
        if not allowed:
            raise ValueError(f"a discrete variable with values 0 … {self.components - 1} cannot lie in {event!r}")
        if isinstance(event, OneOf) and (wrong := set(event.values) - set(allowed)):
            raise ValueError(f"a value must be one of 0 … {self.components - 1}, got {min(wrong)}")
        log_mass = torch.full((self.components,), -math.inf)
        log_mass[allowed] = 0.0
        return log_mass, self, parameters
