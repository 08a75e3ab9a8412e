"""How much two variables tell about each other."""

from __future__ import annotations

import torch
from torch import Tensor

from googol.distributions.joint import TensorRingDistribution


@torch.no_grad()
def mutual_information(joint: TensorRingDistribution, i: int, j: int, *, points: int = 200) -> Tensor:
    r"""The mutual information of two variables, in nats; it carries no gradient.

    .. math:: I(v_i; v_j) = E \log \frac{p(v_i, v_j)}{p(v_i)\, p(v_j)}

    All others are summed out. It is exact for two discrete variables. A continuous one is divided into intervals of
    equal probability, and the density taken at their medians.

    Args:
        joint: A distribution with an empty batch shape, with any evidence.
        i: The position of a variable that the evidence leaves open.
        j: That of another.
        points: The number of intervals.

    Raises:
        ValueError: The batch shape is not empty, or the positions are equal or out of range.

    Example:
        >>> from googol.distributions import Categorical, TensorRing
        >>> cores = [torch.eye(2).unsqueeze(2) * torch.ones(2)] * 2  # two coins, thrown apart
        >>> joint = TensorRing([Categorical(2)] * 2, rank=2, cores=cores)()
        >>> mutual_information(joint, 0, 1)
        tensor(0.)
    """
    if joint.batch_shape:
        raise ValueError(f"joint must have an empty batch shape, got {tuple(joint.batch_shape)}")
    n = joint.event_shape[0]
    if i % n == j % n:
        raise ValueError(f"i and j must be two variables, got {i} and {j}")
    first, second = sorted((i % n, j % n)) if -n <= min(i, j) and max(i, j) < n else (i, j)
    pair = joint.marginal([first, second])
    nodes = [_nodes(joint.marginal([k]), points) for k in (first, second)]
    grid = torch.cartesian_prod(*[values for values, _, _ in nodes])
    shape = [len(values) for values, _, _ in nodes]
    log_ratio = pair.log_prob(grid).view(shape) - nodes[0][2].unsqueeze(1) - nodes[1][2]
    weights = nodes[0][1].unsqueeze(1) * nodes[1][1]
    return (weights * torch.special.xlogy(log_ratio.exp(), log_ratio.exp())).sum().clamp_min(0.0)


def _nodes(marginal: TensorRingDistribution, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """Values of a variable with their probabilities, and their log-probabilities or log-densities."""
    (j,) = marginal._visible
    variable = marginal.emissions.variables[j]
    like = marginal.log_normalizer
    if variable.is_discrete:
        values = torch.arange(variable.components).to(like)
        log_probs = marginal.log_prob(values.unsqueeze(-1))
        return values, log_probs.exp(), log_probs.clamp_min(torch.finfo(log_probs.dtype).min)  # not inf − inf
    u = (torch.arange(points).to(like) + 0.5) / points
    values = marginal.from_uniform(u.unsqueeze(-1)).squeeze(-1)
    return values, torch.full_like(u, 1 / points), marginal.log_prob(values.unsqueeze(-1))
