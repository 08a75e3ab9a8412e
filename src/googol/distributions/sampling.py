"""Drawing from a chain: the bonds first, then the indices between them, then the values.

A ring with non-negative cores is a hidden Markov chain over its bonds. The first bond is drawn (of a ring: from the
diagonal of the full product), then those beside observed variables one after the other, each in proportion to an entry
of a link times a message from the right. A stretch of open variables is one step of this chain; the bonds within it are
drawn from the middle outwards, since given two bonds those between them depend on nothing else. An index needs its two
bonds only.

Weights and messages are scaled numbers of single precision, unless the matrices have entries so small that one which
counts could vanish. Then stretches are multiplied and divided by logarithms; and so are the messages of those rows in
whose product too much may have been discarded.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from googol.distributions import kernels
from googol.distributions.chain import Chain, product_tree
from googol.distributions.emissions import Emissions
from googol.distributions.logarithms import log_matmul
from googol.distributions.precision import full_precision
from googol.distributions.products import is_lost

# Weights and messages kept at a time, in numbers: larger requests are drawn in parts.
_NUMBERS = 2**25
# Numbers in the messages of many rows that are kept at a time, while they are in cache.
_SIDE_BY_SIDE = 2**22


def sample(chain: Chain, emissions: Emissions, rows: Tensor, count: int, temperature: Tensor | None = None) -> Tensor:
    """Draws ``count`` samples given every row of evidence.

    Args:
        rows: Evidence of shape ``(R, n)``, NaN where a variable is open.
        temperature: What the distances of drawn values from the means of their components are multiplied by, ``(n,)``.

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


def _sample(chain: Chain, emissions: Emissions, rows: Tensor, count: int, temperature: Tensor | None) -> Tensor:
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
    mild = chain.is_mild
    coarse, own, places, trees = _coarse(chain, emissions, columns, mild)
    known = emissions.select(columns) if columns else None
    parts = []
    size = coarse.rows_per_block(batch, False) if count == 1 else max(32, _SIDE_BY_SIDE // (len(own) * chain.rank**2))
    for block in seen.split(size):
        log_weights = coarse.log_scale.new_zeros(len(own), len(block), coarse.cores.shape[1])
        if known is not None:
            of_columns = known.log_prob(block)
            log_weights = log_weights.to(of_columns.dtype)
            log_weights[own] = of_columns
        parts.append(_bonds(coarse, own, log_weights, count, mild))
    between = torch.cat(parts, 1)
    bonds = between.new_empty(n + 1, batch * count)
    bonds[places] = between
    for step, tree in trees:
        stretch = bonds[places[step] : places[step + 1] + 1]
        within = _bonds_within if mild else _bonds_within_by_logarithms
        stretch.copy_(within(tree, between[step : step + 2], chain.cores.dtype)[: len(stretch)])
    return _indices_between(chain, bonds, mild).view(n, batch, count)


def _coarse(
    chain: Chain, emissions: Emissions, columns: list[int], mild: bool
) -> tuple[Chain, Tensor, list[int], list[tuple[int, list[Tensor]]]]:
    """The chain in which each stretch of variables that no row observes is a single link, with one matrix.

    Returns:
        The chain, which of its links are observed variables, the bonds of the whole chain between its links, and the
        stretches: which link, and the products of which it is the last, or their logarithms.
    """
    n = len(chain)
    ones = chain.log_scale.new_zeros(n, 1, chain.cores.shape[1])
    shared = (chain.links(ones) if mild else chain.log_links(ones)).squeeze(1)
    components = emissions.select(columns).components if columns else 1
    links: list[int | Tensor] = []
    places, trees = [0], []
    for j in [*columns, n]:
        if j > places[-1]:
            tree = product_tree(shared[places[-1] : j], logarithms=not mild)
            trees.append((len(links), tree))
            links.append(tree[-1][0])
            places.append(j)
        if j < n:
            links.append(j)
            places.append(j + 1)
    own = torch.tensor([isinstance(link, int) for link in links], device=shared.device)
    stretches = [link for link in links if isinstance(link, Tensor)]
    if not mild:
        log_cores = shared.new_full((len(links), components, chain.rank, chain.rank), -math.inf)
        log_cores[own] = chain.log_cores[columns, :components]
        if stretches:
            log_cores[~own, 0] = torch.stack(stretches)
        return Chain(log_cores.to(chain.cores.dtype), chain.boundary), own, places, trees
    cores = shared.new_zeros(len(links), components, chain.rank, chain.rank)
    log_scale = chain.log_scale.new_zeros(len(links), components)
    if columns:
        cores[own], log_scale[own] = chain.cores[columns, :components], chain.log_scale[columns, :components]
    if stretches:
        cores[~own, 0] = torch.stack(stretches).to(cores.dtype)
    return Chain.of_tensors(cores, log_scale, None, chain.boundary), own, places, trees


def _bonds(coarse: Chain, own: Tensor, log_weights: Tensor, count: int, mild: bool) -> Tensor:
    """The bonds between links, one after the other, ``(links + 1, R * S)``."""
    first, lost = None, None
    is_ring = coarse.boundary == "ring"
    if (count == 1 and is_ring) or not mild:
        # In the order of the messages, from the right, so that it discards at least what they do.
        product = coarse.reversed().product(log_weights.flip(0))
        weights = product.matrix.diagonal(dim1=1, dim2=2) if is_ring else product.matrix.squeeze(1)
        lost = product.log_scale.isinf() | is_lost(weights.sum(-1), product.bound)
        if count == 1 and is_ring:
            # The first bond is drawn first, so that what follows a bond depends on the row alone.
            first = draw(weights.contiguous())
    if count == 1 and kernels.available(coarse.cores):
        uniform = torch.rand(len(coarse) + 1, log_weights.shape[1], dtype=coarse.cores.dtype)
        bonds = kernels.bonds(coarse.weights(log_weights), coarse.cores, first, uniform)
    else:
        bonds = _bonds_by_messages(coarse, own, log_weights, count, first)
    if lost is not None and bool(lost.any()):
        rows = log_weights[:, lost].split(max(1, _SIDE_BY_SIDE // (len(coarse) * coarse.rank**2)), 1)
        again = torch.cat([_bonds_by_log_messages(coarse, block, count) for block in rows], 1)
        bonds[:, lost.repeat_interleave(count)] = again
    return bonds


def _bonds_by_log_messages(coarse: Chain, log_weights: Tensor, count: int) -> Tensor:
    """The same by messages of logarithms."""
    links = coarse.log_links(log_weights)
    messages = coarse.following(links, logarithms=True)  # (R, m, K), of each bond and last bond
    whole = log_matmul(links[0], messages[0])
    logits = whole.diagonal(dim1=1, dim2=2) if coarse.boundary == "ring" else whole.squeeze(-1)
    bonds = [draw(logits.softmax(-1).unsqueeze(1).repeat(1, count, 1))]
    row = torch.arange(len(logits), device=logits.device).unsqueeze(1)
    last = bonds[0] if coarse.boundary == "ring" else torch.zeros_like(bonds[0])
    for link, message in zip(links, messages, strict=True):
        bonds.append(draw((link[row, bonds[-1]] + message.mT[row, last]).softmax(-1)))
    return torch.stack(bonds).flatten(1)


def _bonds_by_messages(
    coarse: Chain, own: Tensor, log_weights: Tensor, count: int, first: Tensor | None = None
) -> Tensor:
    """The same by messages for every value of the first bond of a ring, unless that is drawn already, ``(R,)``."""
    rows, m = log_weights.shape[1], coarse.rank
    matrices = iter(coarse.select(own.nonzero().flatten().tolist()).links(log_weights[own]))
    shared = coarse.cores[:, :1]
    steps = [next(matrices) if is_own else link for is_own, link in zip(own.tolist(), shared, strict=True)]
    # What follows a bond depends on the row and, in a ring, on the first bond.
    of_every_first = coarse.boundary == "ring" and first is None
    if first is not None:
        message = torch.nn.functional.one_hot(first, m).to(shared).unsqueeze(1)
    else:
        message = (torch.eye(m) if of_every_first else torch.ones(1, m)).to(shared).expand(rows, -1, -1)  # (R, K, m)
    messages, log_scale = [message], torch.zeros(message.shape[:2], dtype=torch.float64, device=shared.device)
    for step in reversed(steps):
        message = message @ step.mT
        peak = message.amax(-1, keepdim=True).clamp_min(torch.finfo(message.dtype).tiny)
        message, log_scale = message / peak, log_scale + peak.squeeze(-1).double().log()
        messages.append(message)
    messages.reverse()

    if first is None:
        weights = message.squeeze(1)
        if of_every_first:
            weights = message.diagonal(dim1=1, dim2=2)
            weights = weights * (log_scale - log_scale.amax(-1, keepdim=True)).exp().to(shared.dtype)
        first = draw(weights.unsqueeze(1).expand(-1, count, -1).contiguous()).flatten()
    row, bond = torch.arange(rows, device=shared.device).repeat_interleave(count), first
    ending = row * m + bond if of_every_first else row  # which of all messages
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


def _bonds_within_by_logarithms(tree: list[Tensor], bonds: Tensor, dtype: torch.dtype) -> Tensor:
    """The same of products whose logarithms are given."""
    for level in reversed(tree[:-1]):
        half = torch.arange(len(level) // 2, device=bonds.device).unsqueeze(1)
        logits = level[::2][half, bonds[:-1]] + level[1::2].mT[half, bonds[1:]]  # (halves, S, m)
        middle = draw(logits.softmax(-1).to(dtype))
        bonds = torch.cat([torch.stack([bonds[:-1], middle], 1).flatten(0, 1), bonds[-1:]])
    return bonds


def _scaled(weights: Tensor) -> Tensor:
    return weights / weights.amax(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


def _indices_between(chain: Chain, bonds: Tensor, mild: bool) -> Tensor:
    """Every index in proportion to the entry of its core between the two bonds, all at once: ``(n, S)``."""
    n, m = len(chain), chain.rank
    if mild:
        weights = chain.weights(chain.log_scale.new_zeros(n, 1, 1)).squeeze(1)
        cores = (chain.cores * weights[..., None, None]).flatten(-2)  # (n, N, m * m)
    else:
        cores = chain.log_cores.flatten(-2).softmax(1).nan_to_num(0.0).to(chain.cores.dtype)
    pair = bonds[:-1] * m + bonds[1:]
    if pair.shape[1] < m * m:
        cumulated = cores.gather(2, pair.unsqueeze(1).expand(-1, cores.shape[1], -1)).cumsum(1).mT.contiguous()
        return _at(cumulated, torch.rand_like(cumulated[..., 0]))
    # All distributions that can occur are tabulated where there are fewer of them than samples.
    table = cores.cumsum(1).mT.contiguous()  # (n, m * m, N)
    position = torch.arange(n, device=pair.device).unsqueeze(1)
    return _draw_of_table(table, (pair + position * m * m).flatten()).view_as(pair)
