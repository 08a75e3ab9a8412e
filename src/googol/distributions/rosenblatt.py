r"""One variable after the other: what each is given those before it, of chains of continuous variables.

Given the values before it, a variable is a mixture of its components, whose weights follow from the chain. So the
distribution function :math:`F_j(v_j \mid v_{<j})` is known, which maps the variables to independent uniform ones and
back (Rosenblatt, Remarks on a Multivariate Transformation, 1952) and gives samples their gradients. Near one uniform
variables have few digits, so they pass as scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from googol.distributions.chain import Chain, times
from googol.distributions.emissions import Emissions
from googol.distributions.logarithms import log_matmul
from googol.distributions.precision import full_precision
from googol.distributions.variables import Parameters, Variable

# A value for the variable at a position, (S, R), from its emission and the weights (S, R, N) of its components.
Choose = Callable[[int, Emissions, Tensor], Tensor]

_HALVINGS = 70
_WIDEST = 1e5  # values are looked for within so many standard deviations of every component
_NUMBERS = 2**22  # that the products of the links take at once, about
_LEAST = -745.0  # the logarithm of the least number of double precision


def scores(chain: Chain, emissions: Emissions, rows: Tensor, values: Tensor, wanted: Sequence[int]) -> Tensor:
    """Where values lie in their distributions ``F_j(v_j given v_<j)``, as quantiles of a Laplace distribution.

    A score is log 2F on the left of the median and -log 2(1 - F) on its right, so that both tails keep all digits.

    Args:
        rows: Evidence of shape ``(R, n)``, NaN where open.
        values: Shape ``(S, R, n)``, of all wanted variables.
        wanted: The variables to do this for, the discrete ones of them observed in all rows. The others are
            summed out where they are open.

    Returns:
        Shape ``(S, R, n)``, in double precision; 0 for what is not wanted or observed.
    """

    def of_block(rows: Tensor, values: Tensor) -> Tensor:
        found = torch.zeros_like(values, dtype=torch.float64)

        def note(j: int, emission: Emissions, weights: Tensor) -> Tensor:
            found[..., j] = torch.where(rows[:, j].isnan(), _score(emission, weights, values[..., j]), 0.0)
            return values[..., j]

        _one_by_one(chain, emissions, rows, len(values), wanted, note)
        return found

    return _in_blocks(of_block, chain, rows, values)


def from_scores(chain: Chain, emissions: Emissions, rows: Tensor, score: Tensor, wanted: Sequence[int]) -> Tensor:
    """The values of these scores: the inverse of :func:`scores`.

    Args:
        rows: As for :func:`scores`.
        score: Shape ``(S, R, n)``.
        wanted: As for :func:`scores`.

    Returns:
        Shape ``(S, R, n)``, the evidence where a variable is observed.
    """

    def of_block(rows: Tensor, score: Tensor) -> Tensor:
        def invert(j: int, emission: Emissions, weights: Tensor) -> Tensor:
            mean, variance = (moment.double() for moment in emission.moments())
            reach = _WIDEST * variance.sqrt()
            low = torch.full_like(score[..., j], (mean - reach).min().item())
            high = torch.full_like(low, (mean + reach).max().item())
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                below = _score(emission, weights, middle) < score[..., j]
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            return (low + high) / 2

        return _one_by_one(chain, emissions, rows, len(score), wanted, invert)

    return _in_blocks(of_block, chain, rows, score)


def _in_blocks(of_block: Callable[[Tensor, Tensor], Tensor], chain: Chain, rows: Tensor, numbers: Tensor) -> Tensor:
    """What a function of rows ``(R, n)`` and numbers ``(S, R, n)`` gives, of some of both at once."""
    size = len(chain) * chain.rank**2  # of the products after each link, of a row, and more than of those before one
    some_rows = max(1, _NUMBERS // size)
    some = max(1, _NUMBERS // (size * max(1, min(len(rows), some_rows))))
    return torch.cat([
        torch.cat([of_block(*each) for each in zip(rows.split(some_rows), part.split(some_rows, 1), strict=True)], 1)
        for part in numbers.split(some)
    ])  # fmt: skip


def to_uniform(score: Tensor) -> Tensor:
    """The uniform variables of scores: the distribution function of the Laplace distribution."""
    tail = 0.5 * (-score.abs()).exp()
    return torch.where(score < 0, tail, 1 - tail)


def of_uniform(u: Tensor) -> Tensor:
    """The scores of uniform variables, in double precision and finite: the inverse of :func:`to_uniform`."""
    u = u.double()
    return torch.where(u < 0.5, (2 * u).log().clamp_min(_LEAST), -(2 * (1 - u)).log().clamp_min(_LEAST))


@full_precision
def _one_by_one(
    chain: Chain, emissions: Emissions, rows: Tensor, count: int, wanted: Sequence[int], choose: Choose
) -> Tensor:
    """Values of all variables, ``(S, R, n)``: those wanted and open are chosen, one given those before it."""
    is_open = rows.isnan().any(0).tolist()
    evidence = emissions.log_prob(rows)  # (n, R, N)
    around = _Around(chain, evidence, count)
    values = []
    for j in range(len(chain)):
        if j not in wanted or not is_open[j]:
            values.append(rows[:, j].expand(count, -1).to(chain.cores.dtype))
            around.pass_by(evidence[j].expand(count, -1, -1))
        else:
            emission = emissions.select([j])
            # Rows that observe this variable have weights of their own, which do not matter.
            value = torch.where(
                rows[:, j].isnan(), choose(j, emission, around.weights(emission.components)), rows[:, j]
            )
            values.append(value.to(chain.cores.dtype))
            around.pass_by(emission.log_prob(values[-1].reshape(-1, 1))[0].unflatten(0, (count, len(rows))))
    return torch.stack(values, -1)


class _Around:
    """The products of the links before a variable and of those after it, which give the weights of its components.

    p(s_j given z_<j and the evidence) is linear in the core of s_j. Where entries that count could vanish from the
    products, all is by logarithms.
    """

    def __init__(self, chain: Chain, evidence: Tensor, count: int) -> None:
        self.logarithms = not chain.is_mild
        self.remaining = chain.unbind()[::-1]
        self.after = chain.following(self._links(chain, evidence), logarithms=self.logarithms)[::-1]
        self.before = chain.start(evidence.shape[1], logarithms=self.logarithms).expand(count, -1, -1, -1)

    def weights(self, components: int) -> Tensor:
        """Those of the next variable, ``(S, R, N)``."""
        chain = self.remaining[-1].select([0], components)
        if self.logarithms:
            around = log_matmul(self.after[-1], self.before).mT.flatten(-2)
            return log_matmul(around.unsqueeze(-2), chain.log_cores[0].flatten(-2).mT).squeeze(-2).softmax(-1)
        around = (self.after[-1] @ self.before).mT.flatten(-2)
        weights = around @ chain.cores[0].flatten(-2).mT * (chain.log_scale[0] - chain.log_scale.amax()).exp()
        return weights / weights.sum(-1, keepdim=True)

    def pass_by(self, log_weights: Tensor) -> None:
        """Goes on to the next variable, given the log-weights of this one's components, ``(S, R, N)``."""
        chain = self.remaining.pop().select([0], log_weights.shape[-1])
        self.after.pop()
        links = self._links(chain, log_weights.flatten(0, 1).unsqueeze(0))[0].unflatten(0, log_weights.shape[:2])
        self.before = times(self.before, links, logarithms=self.logarithms)

    def _links(self, chain: Chain, log_weights: Tensor) -> Tensor:
        return chain.log_links(log_weights) if self.logarithms else chain.links(log_weights)


def _single(emission: Emissions) -> tuple[Variable, Parameters]:
    """The only variable of an emission, and its parameters."""
    (kind,), ((_, parameters),) = emission.variables, emission.groups
    return kind, {name: parameter[0] for name, parameter in parameters.items()}


def _score(emission: Emissions, weights: Tensor, value: Tensor) -> Tensor:
    """The score of a value of a mixture of the components of a variable."""
    kind, parameters = _single(emission)
    log_weights = weights.double().log()
    below, above = ((log_weights + tail).logsumexp(-1) for tail in kind.log_tails(parameters, value.unsqueeze(-1)))
    half = math.log(2)
    return torch.where(below < above, below + half, -above - half)
