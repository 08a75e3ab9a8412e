"""Drawing from a chain: the bonds first, then the indices between them, then the values.

A ring with non-negative cores is a hidden Markov chain over its bonds. The first bond is drawn (of a ring: from the
diagonal of the full product), then those beside observed variables one after the other, each in proportion to an entry
of a link times a message from the right. A stretch of open variables is one step of this chain; the bonds within it are
drawn from the middle outwards, since given two bonds those between them depend on nothing else. An index needs its two
bonds only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from googol.distributions import kernels
from googol.distributions.chain import Boundary, Chain, full_precision, product_tree
from googol.distributions.emissions import Emissions

# Weights and messages kept at a time, in numbers: larger requests are drawn in parts.
_NUMBERS = 2**25
# Numbers in the messages of many rows that are kept at a time, while they are in cache.
_SIDE_BY_SIDE = 2**22


def sample(chain: Chain, emissions: Emissions, rows: Tensor, count: int, temperature: float = 1.0) -> Tensor:
    """Draws ``count`` samples given every row of evidence.

    Args:
        rows: Evidence of shape ``(R, n)``, NaN where a variable is open.
        temperature: What the distances of drawn values from the means of their components are multiplied by.

    Returns:
        Shape ``(count, R, n)``.
    """
    n, batch = len(chain), len(rows)
    if count == 0 or batch == 0:
        return rows.new_zeros(count, batch, n).to(chain.cores.dtype)
    # A part of the rows if there are many, else a part of the count.
    size = max(1, min(batch, _NUMBERS // (n * max(chain.rank, emissions.components))))
    part = max(1, _NUMBERS // (n * chain.rank * size))
    return torch.cat(
        [
            torch.cat(
                [
                    _sample(chain, emissions, block, min(part, count - start), temperature)
                    for start in range(0, count, part)
                ]
            )
            for block in rows.split(size)
        ],
        1,
    )


def _sample(chain: Chain, emissions: Emissions, rows: Tensor, count: int, temperature: float) -> Tensor:
    columns = (~rows.isnan()).any(0).nonzero().flatten().tolist()
    index = _indices(chain, emissions, rows[:, columns], columns, count)  # (n, R, count)
    values = emissions.sample(index.flatten(1), temperature).view(len(rows), count, len(chain)).transpose(0, 1)
    return torch.where(rows.isnan(), values, rows.to(chain.cores.dtype))


def draw(weights: Tensor) -> Tensor:
    """Indices drawn in proportion to non-negative weights, ``(…, k)`` to ``(…,)``; never one of weight zero."""
    return _at(weights.cumsum(-1), torch.rand_like(weights[..., 0]))


def _at(cumulated: Tensor, uniform: Tensor) -> Tensor:
    """The index of the interval between cumulated weights ``(…, k)`` where a number of [0, 1), ``(…,)``, falls.

    The largest such number of a computer, times the sum of the weights, is rounded to below the sum.
    """
    index = torch.searchsorted(cumulated, uniform.unsqueeze(-1) * cumulated[..., -1:], right=True)
    return index.squeeze(-1).clamp_max_(cumulated.shape[-1] - 1)


def _draw_of_table(cumulated: Tensor, line: Tensor) -> Tensor:
    """Indices drawn from lines ``(S,)`` of cumulated weights ``(…, k)``."""
    uniform = torch.rand(line.shape, dtype=cumulated.dtype, device=line.device)
    if kernels.available(cumulated):
        return kernels.draw(cumulated, line, None, None, uniform)
    return _at(cumulated.reshape(-1, cumulated.shape[-1]).index_select(0, line), uniform)


def _draw_of_product(left: Tensor, of_left: Tensor, right: Tensor, of_right: Tensor) -> Tensor:
    """Indices drawn in proportion to the products of lines of two tables of weights, ``(…, k)`` each."""
    uniform = torch.rand(of_left.shape, dtype=left.dtype, device=of_left.device)
    if kernels.available(left):
        return kernels.draw(left, of_left, right, of_right, uniform)
    weights, others = (
        table.reshape(-1, table.shape[-1]).index_select(0, line) for table, line in ((left, of_left), (right, of_right))
    )
    return _at((weights * others).cumsum(-1), uniform)


@full_precision
def _indices(chain: Chain, emissions: Emissions, seen: Tensor, columns: list[int], count: int) -> Tensor:
    """Draws the component indices of the variables that a row leaves open.

    Args:
        seen: What is observed, shape ``(R, columns)``, NaN where a row leaves open what another does not.
        columns: Which variables are observed in any row.

    Returns:
        Shape ``(n, R, count)``; what it says of an observed variable means nothing.
    """
    n, batch = len(chain), len(seen)
    if columns:
        emissions = emissions.select(columns)
        observed = chain.select(columns, emissions.components)
    # Links of variables that no row observes are the same for all rows: each stretch of them is a single step at first.
    shared = chain.links(chain.log_scale.new_zeros(n, 1, 1)).squeeze(1)
    steps: list[Tensor | None] = []  # (1, m, m) each, or None for a link of the rows' own
    places, trees = [0], []  # the bonds between the steps, and the stretches
    for j in [*columns, n]:
        if j > places[-1]:
            trees.append((len(steps), product_tree(shared[places[-1] : j])))
            steps.append(trees[-1][1][-1].to(shared.dtype))
            places.append(j)
        if j < n:
            steps.append(None)
            places.append(j + 1)
    parts = []
    for block in seen.split(max(32, _SIDE_BY_SIDE // (len(steps) * chain.rank**2))):
        own = iter(observed.links(emissions.log_prob(block)) if columns else ())
        of_block = [next(own) if step is None else step for step in steps]
        parts.append(_bonds(of_block, chain.boundary, len(block), count))
    coarse = torch.cat(parts, 1)
    bonds = coarse.new_empty(n + 1, batch * count)
    bonds[places] = coarse
    for step, tree in trees:
        stretch = bonds[places[step] : places[step + 1] + 1]
        stretch.copy_(_bonds_within(tree, coarse[step : step + 2], shared.dtype)[: len(stretch)])
    return _indices_between(chain, bonds).view(n, batch, count)


def _bonds(steps: list[Tensor], boundary: Boundary, rows: int, count: int) -> Tensor:
    """The bonds between steps, one after the other, ``(steps + 1, R * S)``."""
    like = steps[0]
    m = like.shape[-1]
    # What follows a bond depends on the row and, in a ring, on the first bond: a message for each of its values.
    message = torch.eye(m).to(like) if boundary == "ring" else torch.ones(1, m).to(like)
    message = message.expand(rows, -1, -1)  # (R, K, m)
    messages, log_scale = [message], torch.zeros(message.shape[:2], dtype=torch.float64, device=like.device)
    for step in reversed(steps):
        message = message @ step.mT
        peak = message.amax(-1, keepdim=True).clamp_min(torch.finfo(message.dtype).tiny)
        message, log_scale = message / peak, log_scale + peak.squeeze(-1).double().log()
        messages.append(message)
    messages.reverse()

    first = message.diagonal(dim1=1, dim2=2) if boundary == "ring" else message.squeeze(1)
    if boundary == "ring":
        first = first * (log_scale - log_scale.amax(-1, keepdim=True)).exp().to(like.dtype)
    bond = draw(first.unsqueeze(1).expand(-1, count, -1).contiguous()).flatten()
    row = torch.arange(rows, device=like.device).repeat_interleave(count)
    ending = row * m + bond if boundary == "ring" else row  # which of all messages
    bonds = [bond]
    for step, following in zip(steps, messages[1:], strict=True):
        bond = _draw_of_product(step, bond if len(step) == 1 else row * m + bond, following, ending)
        bonds.append(bond)
    return torch.stack(bonds)


def _bonds_within(tree: list[Tensor], bonds: Tensor, dtype: torch.dtype) -> Tensor:
    """All bonds of a stretch of links given its first and its last, ``(2, S)``: the middle one first, then halves."""
    m, count = tree[0].shape[-1], bonds.shape[1]
    for level in reversed(tree[:-1]):
        # Of a product only the line of the bond on the left matters, or the column of that on the right.
        left, right = _scaled(level[::2]).to(dtype), _scaled(level[1::2].mT).to(dtype)
        halves = torch.arange(len(left), device=bonds.device).unsqueeze(1) * m
        before, after = halves + bonds[:-1], halves + bonds[1:]
        if count < m * m:
            middle = _draw_of_product(left, before.flatten(), right, after.flatten())
        else:  # All distributions that can occur are tabulated where there are fewer of them than samples.
            table = (left.unsqueeze(2) * right.unsqueeze(1)).cumsum(-1)  # (halves, m, m, m)
            middle = _draw_of_table(table, (before.mul_(m).add_(bonds[1:])).flatten())
        bonds = torch.cat([torch.stack([bonds[:-1], middle.view_as(before)], 1).flatten(0, 1), bonds[-1:]])
    return bonds


def _scaled(weights: Tensor) -> Tensor:
    return weights / weights.amax(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


def _indices_between(chain: Chain, bonds: Tensor) -> Tensor:
    """Every index in proportion to the entry of its core between the two bonds, all at once: ``(n, S)``."""
    n, m = len(chain), chain.rank
    weights = chain.weights(chain.log_scale.new_zeros(n, 1, 1)).squeeze(1)
    cores = (chain.cores * weights[..., None, None]).flatten(-2)  # (n, N, m * m)
    pair = bonds[:-1] * m + bonds[1:]
    if pair.shape[1] < m * m:
        cumulated = cores.gather(2, pair.unsqueeze(1).expand(-1, cores.shape[1], -1)).cumsum(1).mT.contiguous()
        return _at(cumulated, torch.rand_like(cumulated[..., 0]))
    # All distributions that can occur are tabulated where there are fewer of them than samples.
    table = cores.cumsum(1).mT.contiguous()  # (n, m * m, N)
    position = torch.arange(n, device=pair.device).unsqueeze(1)
    return _draw_of_table(table, (pair + position * m * m).flatten()).view_as(pair)
