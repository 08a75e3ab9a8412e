r"""One variable after the other: what each is given those before it, of chains of continuous variables.

Given the values before it, a variable is a mixture of its components, whose weights follow from the chain. So the
distribution function :math:`F_j(v_j \mid v_{<j})` is known, which maps the variables to independent uniform ones and
back (Rosenblatt, Remarks on a Multivariate Transformation, 1952) and gives samples their gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from googol.distributions.chain import Chain, full_precision, rescaled
from googol.distributions.emissions import Emissions
from googol.distributions.variables import Parameters, Variable

# A value for the variable at a position, (S, R), from its emission and the weights (S, R, N) of its components.
Choose = Callable[[int, Emissions, Tensor], Tensor]

_HALVINGS = 60
_WIDEST = 40.0  # beyond so many standard deviations from every component nothing is left, even in double precision


def uniforms(chain: Chain, emissions: Emissions, rows: Tensor, values: Tensor, wanted: Sequence[int]) -> Tensor:
    """The numbers ``u_j = F_j(v_j given v_<j)``, uniform and independent if the values follow the distribution.

    Args:
        rows: Evidence of shape ``(R, n)``, NaN where open.
        values: Shape ``(S, R, n)``, of all wanted variables.
        wanted: The variables to do this for, the discrete ones of them observed in all rows. The others are
            summed out where they are open.

    Returns:
        Shape ``(S, R, n)``; 0.5 for what is not wanted or observed.
    """
    found = torch.full_like(values, 0.5)

    def note(j: int, emission: Emissions, weights: Tensor) -> Tensor:
        found[..., j] = torch.where(rows[:, j].isnan(), _cdf(emission, weights, values[..., j]), 0.5)
        return values[..., j]

    _one_by_one(chain, emissions, rows, len(values), wanted, note)
    return found


def from_uniforms(chain: Chain, emissions: Emissions, rows: Tensor, u: Tensor, wanted: Sequence[int]) -> Tensor:
    """The values with ``F_j(v_j given v_<j) = u_j``: the inverse of :func:`uniforms`.

    Args:
        rows: As for :func:`uniforms`.
        u: Shape ``(S, R, n)``, in [0, 1].
        wanted: As for :func:`uniforms`.

    Returns:
        Shape ``(S, R, n)``, the evidence where a variable is observed.
    """

    def invert(j: int, emission: Emissions, weights: Tensor) -> Tensor:
        mean, variance = (moment.double() for moment in emission.moments())
        reach = _WIDEST * variance.sqrt()
        low = torch.full_like(u[..., j], (mean - reach).min().item(), dtype=torch.float64)
        high = torch.full_like(low, (mean + reach).max().item())
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = _cdf(emission, weights.double(), middle) < u[..., j]
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return ((low + high) / 2).to(u.dtype)

    return _one_by_one(chain, emissions, rows, len(u), wanted, invert)


@full_precision
def _one_by_one(
    chain: Chain, emissions: Emissions, rows: Tensor, count: int, wanted: Sequence[int], choose: Choose
) -> Tensor:
    """Values of all variables, ``(S, R, n)``: those wanted and open are chosen, one given those before it."""
    batch = len(rows)
    is_open = rows.isnan().any(0).tolist()
    evidence = emissions.log_prob(rows)  # (n, R, N)
    after = following(chain, chain.links(evidence))
    ring = chain.boundary == "ring"
    before = torch.eye(chain.rank).to(chain.cores) if ring else chain.cores.new_ones(1, chain.rank)
    before = before.expand(count, batch, -1, -1)  # the product of the links of the variables before
    values = []
    for j, single in enumerate(chain.unbind()):
        if j not in wanted or not is_open[j]:
            values.append(rows[:, j].expand(count, -1).to(chain.cores.dtype))
            before = before @ single.links(evidence[j : j + 1])[0]
        else:
            emission = emissions.select([j])
            single = single.select([0], emission.components)
            core = single.cores[0]
            # p(s_j given z_<j and the evidence) is linear in the core of s_j.
            if ring:
                weights = torch.einsum("srab,kab->srk", before.mT @ after[j].mT, core)
            else:
                by_component = (before.reshape(-1, chain.rank) @ core).unflatten(1, (count, batch))  # (N, S, R, m)
                weights = (by_component * after[j].squeeze(-1)).sum(-1).movedim(0, -1)
            # Rows that observe this variable have weights of their own, which do not matter.
            weights = weights * (single.log_scale - single.log_scale.amax()).exp()
            weights = weights / weights.sum(-1, keepdim=True)
            value = torch.where(rows[:, j].isnan(), choose(j, emission, weights), rows[:, j])
            values.append(value.to(chain.cores.dtype))
            log_weights = emission.log_prob(values[-1].reshape(-1, 1))
            if ring:
                before = before @ single.links(log_weights)[0].unflatten(0, (count, batch))
            else:
                chosen = single.weights(log_weights)[0].unflatten(0, (count, batch))
                before = torch.einsum("srk,ksrm->srm", chosen, by_component).unsqueeze(-2)
        before = rescaled(before)
    return torch.stack(values, -1)


def following(chain: Chain, links: Tensor) -> list[Tensor]:
    """What follows each variable: a matrix for a ring, a vector for a train, ``(R, m, m or 1)``."""
    after = torch.eye(chain.rank).to(links) if chain.boundary == "ring" else links.new_ones(chain.rank, 1)
    following = [after.expand(links.shape[1], -1, -1)]
    for link in reversed(links.unbind(0)[1:]):
        following.append(rescaled(link @ following[-1]))
    return following[::-1]


def _single(emission: Emissions) -> tuple[Variable, Parameters]:
    """The only variable of an emission, and its parameters."""
    (kind,), ((_, parameters),) = emission.variables, emission.groups
    return kind, {name: parameter[0] for name, parameter in parameters.items()}


def _cdf(emission: Emissions, weights: Tensor, value: Tensor) -> Tensor:
    """The distribution function of a mixture of the components of a variable."""
    kind, parameters = _single(emission)
    return (weights * kind.cdf(parameters, value.unsqueeze(-1))).sum(-1)
