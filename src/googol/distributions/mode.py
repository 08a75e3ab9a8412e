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
_BUDGET = 2**21


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
    width = max(16, min(4096, _BUDGET // chain.rank**2)) if beginnings is None else beginnings
    n, batch, _ = log_weights.shape
    indices = torch.empty(n, batch, dtype=torch.int64, device=log_weights.device)
    proven = torch.empty(batch, dtype=torch.bool, device=log_weights.device)
    for b, row in enumerate(log_weights.unbind(1)):
        indices[:, b], proven[b] = _search_row(chain, row, summed, width)
    return MostProbable(indices, proven)


def _search_row(chain: Chain, log_weights: Tensor, summed: Sequence[int], width: int) -> tuple[Tensor, bool]:
    n, components = log_weights.shape
    x = log_weights.double() + chain.log_scale.double()
    weights = (x - x.amax(-1, keepdim=True)).exp()
    links = weights[..., None, None] * chain.cores.double()  # (n, N, m, m)
    for j in summed:
        links[j, 0], links[j, 1:] = links[j].sum(0), 0
    m = chain.rank
    eye = torch.eye(m, dtype=links.dtype, device=links.device)

    # bounds[j] bounds what follows the first j links, up to exp(log_bounds[j]).
    bounds, log_bounds = [eye if chain.boundary == "ring" else eye.new_ones(m, 1)], [0.0]
    for link in links.flip(0).unbind(0):
        bound = (link @ bounds[-1]).amax(0)
        peak = bound.amax().clamp_min(torch.finfo(bound.dtype).tiny)
        bounds.append(bound / peak)
        log_bounds.append(log_bounds[-1] + peak.log().item())
    bounds.reverse()
    log_bounds.reverse()

    prefixes, log_prefix = (eye.unsqueeze(0) if chain.boundary == "ring" else eye.new_ones(1, 1, m)), 0.0
    indices = torch.zeros(0, 1, dtype=torch.int64, device=links.device)
    log_dropped = -math.inf
    for j, link in enumerate(links.unbind(0)):
        prefixes = (prefixes.unsqueeze(1) @ link).flatten(0, 1)  # (K N, rows, m)
        score = torch.einsum("kac,ca->k", prefixes, bounds[j + 1])  # a trace; for a train a product of vectors
        order = score.argsort(descending=True, stable=True)
        if len(order) > width:
            log_dropped = max(log_dropped, score[order[width]].log().item() + log_prefix + log_bounds[j + 1])
            order = order[:width]
        # Beginnings of weight zero cannot be completed; one is kept so that there always is a result.
        order = order[: max(1, int((score[order] > 0).sum()))]
        indices = torch.cat([indices[:, order // components], (order % components).unsqueeze(0)])
        peak = prefixes[order].amax().clamp_min(torch.finfo(links.dtype).tiny)
        prefixes = prefixes[order] / peak
        log_prefix += peak.log().item()
    value = torch.einsum("kac,ca->k", prefixes, bounds[n])
    best = value.argmax()
    return indices[:, best], value[best].log().item() + log_prefix >= log_dropped - 1e-9
