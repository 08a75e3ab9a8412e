"""The most probable component indices of a chain.

Finding the largest entry of a tensor train is NP-hard in general (its bonds are summed, so it is not the problem
that the Viterbi algorithm solves). The search here keeps a limited number of beginnings, ordered by an upper bound
on every completion, and so knows whether what it found is the maximum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from googol.distributions.chain import Chain

# Numbers held by the beginnings of one row: fewer beginnings are kept at a high rank, at least 16.
_BUDGET = 2**18


class MostProbable(NamedTuple):
    """What the search found."""

    indices: Tensor  # (n, B)
    proven: Tensor  # (B,), whether no entry can be larger


def most_probable_indices(
    chain: Chain, log_weights: Tensor, *, summed: Sequence[int] = (), beginnings: int | None = None
) -> MostProbable:
    r"""Searches the indices that maximise ``Tr ∏_j exp(log_weights_j[s_j]) Q_j[s_j]`` for every row.

    From right to left the matrices :math:`U_j[a, b] = \max_s \sum_c w_j[s] Q_j[s, a, c]\, U_{j+1}[c, b]` bound
    what can follow a beginning; from left to right the best beginnings by that bound are kept. The result is the
    exact maximum whenever nothing of a larger bound was dropped: always for chains with at most ``beginnings``
    prefixes at any link, and usually where the distribution is far from uniform.

    Args:
        chain: A ring or train.
        log_weights: Shape ``(n, B, N)``.
        summed: Links whose indices are summed out instead; an index of zero is returned for them.
        beginnings: How many beginnings to keep; by default as many as a few megabytes hold.

    Returns:
        The indices ``(n, B)`` and, for every row, whether they are proven to be the maximum.
    """
    most = max(16, min(4096, _BUDGET // chain.rank**2)) if beginnings is None else beginnings
    n, batch, _ = log_weights.shape
    indices = torch.empty(n, batch, dtype=torch.int64, device=log_weights.device)
    proven = torch.empty(batch, dtype=torch.bool, device=log_weights.device)
    log_cores = chain.log_cores
    eye = torch.eye(chain.rank, dtype=log_cores.dtype, device=log_cores.device)
    ends = (eye, eye) if chain.boundary == "ring" else (eye.new_ones(1, chain.rank), eye.new_ones(chain.rank, 1))
    for b, row in enumerate(log_weights.double().unbind(1)):
        x = row[..., None, None] + log_cores
        largest = x.amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(x.dtype).min)
        links = (x - largest).exp()  # (n, N, m, m)
        for j in summed:
            links[j, 0], links[j, 1:] = links[j].sum(0), 0
        bounds = _upper_bounds(links, ends[1])
        value, width = -math.inf, min(16, most)
        while True:
            candidate, log_value, log_dropped = _search(links, ends[0], bounds, width)
            if log_value >= value:
                indices[:, b], value = candidate, log_value
            proven[b] = value >= log_dropped - 1e-9
            if proven[b] or width == most:
                break
            width = min(8 * width, most)  # few are enough where the distribution is far from uniform
    return MostProbable(indices, proven)


def _upper_bounds(links: Tensor, end: Tensor) -> list[tuple[Tensor, float]]:
    """For j = 0 … n, a bound on every product of what follows the first j links, with its log-scale."""
    bounds = [(end, 0.0)]
    for link in links.flip(0).unbind(0):
        after, log_scale = bounds[-1]
        bound = (link @ after).amax(0)
        peak = bound.amax().clamp_min(torch.finfo(bound.dtype).tiny)
        bounds.append((bound / peak, log_scale + peak.log().item()))
    return bounds[::-1]


def _search(
    links: Tensor, start: Tensor, bounds: list[tuple[Tensor, float]], width: int
) -> tuple[Tensor, float, float]:
    """The best indices among the beginnings kept, the logarithm of their entry, and a bound on what was dropped."""
    components = links.shape[1]
    prefixes, log_prefix = start.unsqueeze(0), 0.0
    steps = []  # of every beginning: which one it continues, and with which index
    log_best = log_dropped = -math.inf
    for link, (bound, log_bound) in zip(links.unbind(0), bounds[1:], strict=True):
        # A trace for every beginning and next index; for a train a product of vectors.
        score = torch.einsum("kac,sca->ks", prefixes, link @ bound).flatten()
        order = score.argsort(descending=True, stable=True)
        log_best = score[order[0]].log().item() + log_prefix + log_bound
        if len(order) > width:
            log_dropped = max(log_dropped, score[order[width]].log().item() + log_prefix + log_bound)
            order = order[:width]
        # Beginnings of weight zero cannot be completed; one is kept so that there always is a result.
        order = order[: max(1, int((score[order] > 0).sum()))]
        parents, index = order // components, order % components
        steps.append((parents, index))
        prefixes = prefixes[parents] @ link[index]
        peak = prefixes.amax().clamp_min(torch.finfo(links.dtype).tiny)
        prefixes = prefixes / peak
        log_prefix += peak.log().item()
    best, indices = 0, []
    for parents, index in reversed(steps):
        indices.append(index[best])
        best = int(parents[best])
    return torch.stack(indices[::-1]), log_best, log_dropped
