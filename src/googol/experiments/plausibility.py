"""Whether a model has met what somebody chooses: to a choice that it never met it answers with a guess."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Normal

from googol.data import Given
from googol.distributions import Event, TensorRingDistribution

RARE = 1e-4  # what is less probable than this was hardly in the data, if at all
POINTS = 20_000  # of each component, so that shares below RARE are told apart


@torch.no_grad()
def plausibility(labels: TensorRingDistribution, given: Given) -> float:
    """How probable something as strange as a choice of conditions is.

    Categories, ranges and sets have a probability. An exact number has none; in its place comes that of a number
    whose density is as low, given the rest and the numbers before it (see `share_as_strange`). The smallest counts.

    Arguments:
        labels: p(y), over the conditions in their order.
        given: The choice.

    Returns:
        A number from 0 to 1; 1 where nothing is chosen.

    Raises:
        ValueError: An event is impossible, or not one of its condition.
    """
    known = given.values.to(labels.log_normalizer)
    numbers = {j: known[j].clone() for j in _numbers(labels) if not bool(known[j].isnan())}
    known[list(numbers)] = math.nan
    least = min(1.0, labels.log_prob(known, within=given.within).exp().item())
    for j, number in numbers.items():
        least = min(least, share_as_strange(labels, j, number, known, within=given.within).item())
        known[j] = number
    return least


@torch.no_grad()
def share_as_strange(
    labels: TensorRingDistribution,
    variable: int,
    number: Tensor,
    given: Tensor,
    *,
    within: Mapping[int, Event] | None = None,
    points: int = POINTS,
) -> Tensor:
    r"""How probable a number with a density as low as that of another one is, :math:`P(p(v) \le p(v_0))`.

    Given the rest, a continuous variable is a mixture of normals. Its probability is summed over points that
    lie at equal shares of each component.

    Arguments:
        labels: p(y).
        variable: Which of them, a continuous one.
        number: The number v₀, ``(…,)``.
        given: What is known of the others, ``(…, c)``; NaN = not known.
        within: Events that others lie in.
        points: How many points each component has.

    Returns:
        Shape ``(…,)``, exact to about one share of a point.

    Example:
        >>> import torch
        >>> from googol.distributions import Normal, TensorRing
        >>> labels = TensorRing([Normal(1, loc=[0.0], scale=1.0), Normal(1)], rank=1)()
        >>> open = torch.full((2,), torch.nan)
        >>> share_as_strange(labels, 0, torch.tensor(1.96), open).round(decimals=3)
        tensor(0.0500, dtype=torch.float64)
    """
    size = labels.emissions.variables[variable].components
    weights = labels.condition(given, within=within).component_probs()[..., variable, :size].double()
    means, variances = (moment[variable, :size].double() for moment in labels.emissions.moments())
    components = Normal(means, variances.sqrt())

    def density(value: Tensor) -> Tensor:
        """Of values with a last dimension for the components."""
        return components.log_prob(value).exp() @ weights.unsqueeze(-1)

    share = torch.zeros_like(weights[..., 0])
    least = density(number.double()[..., None, None])[..., 0]
    middles = (torch.arange(points, dtype=torch.float64, device=means.device) + 0.5) / points
    for index, values in enumerate(components.icdf(middles.unsqueeze(-1)).unbind(-1)):
        share += weights[..., index] * (density(values.unsqueeze(-1))[..., 0] <= least).double().mean(-1)
    return share


def _numbers(labels: TensorRingDistribution) -> list[int]:
    return [j for j, variable in enumerate(labels.emissions.variables) if not variable.is_discrete]
