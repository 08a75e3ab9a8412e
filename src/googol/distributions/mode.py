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

# Numbers held by the beginnings of the rows searched at a time: fewer are kept at a high rank, at least 16 a row.
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
    log_cores, log_weights = chain.log_cores.detach(), log_weights.detach()
    lowest = torch.finfo(log_cores.dtype).min
    log_scale = log_cores.amax((-2, -1)).clamp_min(lowest)  # (n, N)
    cores = (log_cores - log_scale[..., None, None]).exp()
    x = log_weights.double() + log_scale.unsqueeze(1)
    weights = (x - x.amax(-1, keepdim=True).clamp_min(lowest)).exp()  # (n, B, N)
    eye = torch.eye(chain.rank, dtype=cores.dtype, device=cores.device)
    ends = (eye, eye) if chain.boundary == "ring" else (eye.new_ones(1, chain.rank), eye.new_ones(chain.rank, 1))
    links = [
        _Link((w[..., None, None] * core).sum(1, keepdim=True), w.new_ones(batch, 1)) if j in summed else _Link(core, w)
        for j, (core, w) in enumerate(zip(cores, weights, strict=True))
    ]
    indices = torch.zeros(n, batch, dtype=torch.int64, device=cores.device)
    log_values = cores.new_full((batch,), -math.inf)
    proven = torch.zeros(batch, dtype=torch.bool, device=cores.device)
    width = min(16, most)
    while True:  # few are enough where the distribution is far from uniform
        for rows in (~proven).nonzero().flatten().split(max(1, _BUDGET // (width * chain.rank**2))):
            found, log_value, log_dropped = _search([link.of_rows(rows) for link in links], ends, width)
            better = log_value >= log_values[rows]
            indices[:, rows] = torch.where(better, found, indices[:, rows])
            log_values[rows] = torch.maximum(log_value, log_values[rows])
            proven[rows] = log_values[rows] >= log_dropped - 1e-9
        if width == most or bool(proven.all()):
            return MostProbable(indices, proven)
        width = min(8 * width, most)


class _Link(NamedTuple):
    """The matrices of a link, and what they are multiplied by in each row."""

    matrices: Tensor  # (N, m, m), or (B, 1, m, m) where the index is summed out
    weights: Tensor  # (B, N)

    def of_rows(self, rows: Tensor) -> _Link:
        matrices = self.matrices if self.matrices.dim() == 3 else self.matrices[rows]
        return _Link(matrices, self.weights[rows])

    def before(self, after: Tensor) -> Tensor:
        """The products with what follows, ``(B, m, r)``, for every index: ``(B, N, m, r)``."""
        return self.matrices @ after.unsqueeze(1) * self.weights[..., None, None]

    def after(self, prefixes: Tensor, parents: Tensor, index: Tensor) -> Tensor:
        """Some of the products ``(B, K, r, m)``, times the matrix of an index each; both ``(B, k)``."""
        flat = prefixes.flatten(0, 1)
        chosen = (parents + torch.arange(len(prefixes), device=flat.device).unsqueeze(1) * prefixes.shape[1]).flatten()
        if self.matrices.dim() == 4:
            return flat[chosen].unflatten(0, index.shape) @ self.matrices
        out = flat.new_empty(len(chosen), *flat.shape[1:])
        for k, matrix in enumerate(self.matrices.unbind(0)):  # one matrix product of all that take this index
            where = (index.flatten() == k).nonzero().flatten()
            out[where] = flat[chosen[where]] @ matrix
        return out.unflatten(0, index.shape).mul_(self.weights.gather(1, index)[..., None, None])


def _upper_bounds(links: Sequence[_Link], end: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For j = 0 … n, bounds on every product of what follows the first j links, ``(B, m, r)``, with log-scales."""
    rows = len(links[0].weights)
    bounds = [(end.expand(rows, -1, -1), end.new_zeros(rows))]
    for link in reversed(links):
        after, log_scale = bounds[-1]
        bound, peak = _rescaled(link.before(after).amax(1))
        bounds.append((bound, log_scale + peak.log()))
    return bounds[::-1]


def _search(links: Sequence[_Link], ends: tuple[Tensor, Tensor], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best indices among the beginnings kept, ``(n, B)``, the logarithms of their entries, and bounds on what was
    dropped.
    """
    bounds, rows = _upper_bounds(links, ends[1]), len(links[0].weights)
    prefixes = ends[0].expand(rows, 1, -1, -1)  # (B, K, r, m)
    log_prefix = ends[0].new_zeros(rows)
    log_best = log_dropped = torch.full_like(log_prefix, -math.inf)
    steps = []  # of every beginning: which one it continues, and with which index
    for link, (bound, log_bound) in zip(links, bounds[1:], strict=True):
        # A trace for every beginning and next index; for a train a product of vectors.
        score = (prefixes.flatten(2) @ link.before(bound).mT.flatten(2).mT).flatten(1)
        score, order = score.sort(dim=1, descending=True, stable=True)
        log_score = score[:, [0, width] if score.shape[1] > width else [0]].log() + (log_prefix + log_bound)[:, None]
        log_best = log_score[:, 0]
        if score.shape[1] > width:
            log_dropped = torch.maximum(log_dropped, log_score[:, 1])
            order = order[:, :width]
        components = link.weights.shape[1]
        parents, index = order // components, order % components
        steps.append((parents, index))
        prefixes, peak = _rescaled(link.after(prefixes, parents, index).flatten(1, 2))
        prefixes = prefixes.unflatten(1, (order.shape[1], -1))
        log_prefix = log_prefix + peak.log()
    best = torch.zeros(rows, 1, dtype=torch.int64, device=log_prefix.device)
    indices = []
    for parents, index in reversed(steps):
        indices.append(index.gather(1, best).squeeze(1))
        best = parents.gather(1, best)
    return torch.stack(indices[::-1]), log_best, log_dropped


def _rescaled(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices ``(B, …)`` with a largest entry of one, and what they were divided by, ``(B,)``."""
    peak = matrices.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(matrices.dtype).tiny)
    return matrices / peak, peak[:, 0, 0]
