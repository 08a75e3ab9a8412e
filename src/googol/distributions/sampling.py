"""Drawing from a chain: the bonds first, then the indices between them, then the values.

A ring with non-negative cores is a hidden Markov chain over its bonds. Given the first bond (of a ring: drawn
from the diagonal of the full product) the others follow one after the other, each in proportion to an entry of
a link times a message from the right; an index needs its two bonds only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from googol.distributions.chain import Chain, full_precision, suffix_products
from googol.distributions.variables import Emissions

# Messages kept at a time, in numbers: larger requests are drawn in parts.
_MESSAGES = 2**25


def sample(chain: Chain, emissions: Emissions, rows: Tensor, count: int) -> Tensor:
    """Draws ``count`` samples given every row of evidence.

    Args:
        rows: Evidence of shape ``(R, n)``, NaN where a variable is open.

    Returns:
        Shape ``(count, R, n)``.
    """
    n, batch = len(chain), len(rows)
    if count == 0 or batch == 0:
        return rows.new_zeros(count, batch, n).to(chain.cores.dtype)
    part = max(1, _MESSAGES // (n * chain.rank * batch))
    parts = []
    log_weights = emissions.log_prob(rows)
    for start in range(0, count, part):
        size = min(part, count - start)
        index = sample_indices(chain, log_weights, (~rows.isnan()).any(0), size)  # (n, R, size)
        values = emissions.sample(index.flatten(1)).view(batch, size, n)
        parts.append(values.transpose(0, 1))
    return torch.where(rows.isnan(), torch.cat(parts), rows.to(chain.cores.dtype))


def draw(weights: Tensor) -> Tensor:
    """Indices drawn in proportion to non-negative weights, ``(…, k)`` to ``(…,)``; never one of weight zero."""
    return _at(weights.cumsum(-1), torch.rand_like(weights[..., :1]))


def _at(cumulated: Tensor, uniform: Tensor) -> Tensor:
    """The index of the interval between cumulated weights ``(…, k)`` where a number of [0, 1), ``(…, 1)``, falls.

    The largest such number of a computer, times the sum of the weights, is rounded to below the sum.
    """
    index = torch.searchsorted(cumulated, uniform * cumulated[..., -1:], right=True)
    return index.squeeze(-1).clamp_max_(cumulated.shape[-1] - 1)


@full_precision
def sample_indices(chain: Chain, log_weights: Tensor, observed: Tensor, count: int) -> Tensor:
    """Draws the component indices of the variables that a row leaves open, given the weights of its evidence.

    Args:
        log_weights: Shape ``(n, R, N)``, zero where nothing is observed.
        observed: Shape ``(n,)``: which variables are observed in any row.

    Returns:
        Shape ``(n, R, count)``; what it says of an observed variable means nothing.
    """
    batch = log_weights.shape[1]
    m, dtype = chain.rank, chain.cores.dtype
    columns = observed.nonzero().flatten().tolist()
    # Links of variables that no row observes are the same for all rows.
    links = list(chain.links(torch.zeros_like(log_weights[:, :1])))  # each (1, m, m)
    if columns:
        for j, link in zip(columns, chain.select(columns).links(log_weights[columns]), strict=True):
            links[j] = link  # (R, m, m)

    # What follows a bond depends on the row and, in a ring, on the first bond: there is one message for each of its
    # values if many samples share them, else one for each sample, whose first bond is drawn beforehand.
    bond = None
    if chain.boundary == "train":
        last = torch.ones(batch, 1, m, dtype=dtype, device=log_weights.device)
    elif count >= m:
        last = torch.eye(m, dtype=dtype, device=log_weights.device).expand(batch, -1, -1)
    else:
        around = chain.absorb(columns) if columns else chain
        weights = log_weights[columns] if columns else torch.zeros_like(log_weights[:, :1])
        diagonal = around.product(weights).matrix.diagonal(dim1=1, dim2=2)
        bond = draw(diagonal.expand(batch, -1).unsqueeze(1).expand(-1, count, -1).contiguous())
        last = torch.nn.functional.one_hot(bond, m).to(dtype)
    messages, log_scale = _messages(chain, links, last)
    if bond is None:
        first = messages[0].squeeze(1) if chain.boundary == "train" else messages[0].diagonal(dim1=1, dim2=2)
        first = first * (log_scale - log_scale.amax(-1, keepdim=True)).exp().to(dtype)
        bond = draw(first.unsqueeze(1).expand(-1, count, -1).contiguous())
    return _indices_between(chain, _bonds(links, messages, bond))


def _messages(chain: Chain, links: list[Tensor], last: Tensor) -> tuple[list[Tensor], Tensor]:
    """What follows each bond, for several endings in every row.

    Args:
        links: Shape ``(R, m, m)`` each, or ``(1, m, m)`` if it is the same for all rows.
        last: What follows the last bond, ``(R, K, m)``.

    Returns:
        Messages of the ``n + 1`` bonds, ``(R, K, m)`` each with a largest entry of one, and the log-scales
        ``(R, K)`` taken out of the first, up to a constant of every row.
    """
    message, log_scale = last, last.new_zeros(last.shape[:-1], dtype=torch.float64)
    messages, end = [last], len(links)
    for j in [j for j in reversed(range(len(links))) if len(links[j]) > 1] + [-1]:
        if j + 1 < end:  # The links between two observed ones are multiplied once for all.
            products = suffix_products(torch.cat(links[j + 1 : end]))
            following = (message.flatten(0, 1).double() @ products.mT).unflatten(1, last.shape[:2])
            peak = _peak(following)
            following = (following / peak).to(last.dtype)
            messages += following.flip(0).unbind(0)
            message, log_scale = following[0], log_scale + peak[0].squeeze(-1).log()
        if j >= 0:
            message = message @ links[j].mT
            peak = _peak(message)
            message, log_scale = message / peak, log_scale + peak.squeeze(-1).double().log()
            messages.append(message)
        end = j
    return messages[::-1], log_scale


def _peak(messages: Tensor) -> Tensor:
    return messages.amax(-1, keepdim=True).clamp_min(torch.finfo(messages.dtype).tiny)


def _bonds(links: list[Tensor], messages: list[Tensor], bond: Tensor) -> Tensor:
    """All bonds of samples, ``(n + 1, R, S)``, given their first ``(R, S)``."""
    rows, endings, m = messages[0].shape
    count = bond.shape[1]
    row = torch.arange(rows, device=bond.device).repeat_interleave(count)
    bond = bond.flatten()
    ending = row * endings + (bond if endings == m else torch.arange(rows * count, device=bond.device) % endings)
    # All distributions that can occur are tabulated where there are fewer of them than samples.
    tabulate = endings * m <= count
    following = messages if tabulate else torch.stack(messages).flatten(1, 2)[:, ending].unbind(0)  # (R * S, m) each
    uniforms = torch.rand(len(links), rows * count, 1, dtype=messages[0].dtype, device=bond.device).unbind(0)
    bonds = [bond]
    for link, message, uniform in zip(links, following[1:], uniforms, strict=True):
        if tabulate:
            table = (link.unsqueeze(1) * message.unsqueeze(2)).cumsum(-1)  # (R, K, m, m)
            cumulated = table.view(-1, m).index_select(0, ending * m + bond)
        else:
            onward = link.view(-1, m).index_select(0, bond if len(link) == 1 else row * m + bond)
            cumulated = (onward * message).cumsum(-1)
        bond = _at(cumulated, uniform)
        bonds.append(bond)
    return torch.stack(bonds).view(-1, rows, count)


def _indices_between(chain: Chain, bonds: Tensor) -> Tensor:
    """Every index in proportion to the entry of its core between the two bonds, all at once: ``(n, R, S)``."""
    n, m = len(chain), chain.rank
    weights = (chain.log_scale - chain.log_scale.amax(-1, keepdim=True)).exp()
    cores = (chain.cores * weights[..., None, None]).flatten(-2)  # (n, N, m * m)
    pair = (bonds[:-1] * m + bonds[1:]).flatten(1)  # (n, R * S)
    if pair.shape[1] < m * m:
        cumulated = cores.gather(2, pair.unsqueeze(1).expand(-1, cores.shape[1], -1)).cumsum(1).mT.contiguous()
    else:  # All distributions that can occur are tabulated where there are fewer of them than samples.
        table = cores.cumsum(1).mT.reshape(n * m * m, -1)
        position = torch.arange(n, device=pair.device).unsqueeze(1)
        cumulated = table.index_select(0, (position * m * m + pair).flatten()).unflatten(0, pair.shape)
    return _at(cumulated, torch.rand_like(cumulated[..., :1])).view_as(bonds[1:])


@full_precision
def reparameterize(chain: Chain, emissions: Emissions, rows: Tensor, drawn: Tensor, wanted: list[int]) -> Tensor:
    """Attaches to drawn samples their gradients by implicit differentiation.

    Variable after variable: ``z_j = drawn_j − (F_j(drawn_j; z_<j) − its value) / p_j``, whose value is that of
    ``drawn_j`` and whose derivatives solve the triangular system ``dF_j(z_j given z_<j) = 0``.

    Args:
        rows: Evidence of shape ``(R, n)``, NaN where open.
        drawn: Samples of shape ``(S, R, n)``.
        wanted: The variables to do this for, the discrete ones of them observed in all rows. The others are
            summed out where they are open.

    Returns:
        Shape ``(S, R, n)``.
    """
    count, batch, _ = drawn.shape
    is_open = rows.isnan().any(0).tolist()
    evidence = emissions.log_prob(rows)  # (n, R, N)
    following = _following(chain, chain.links(evidence))
    ring = chain.boundary == "ring"
    before = torch.eye(chain.rank).to(drawn) if ring else drawn.new_ones(1, chain.rank)
    before = before.expand(count, batch, -1, -1)  # the product of the links of the variables before
    values = []
    for j, single in enumerate(chain.unbind()):
        if j not in wanted or not is_open[j]:
            values.append(rows[:, j].expand(count, -1).to(drawn.dtype))
            before = before @ single.links(evidence[j : j + 1])[0]
        else:
            emission = emissions.select([j])
            single = single.select([0], emission.components)
            core = single.cores[0]
            # p(s_j given z_<j and the evidence) is linear in the core of s_j.
            if ring:
                weights = torch.einsum("srab,kab->srk", before.mT @ following[j].mT, core)
            else:
                by_component = (before.reshape(-1, chain.rank) @ core).unflatten(1, (count, batch))  # (N, S, R, m)
                weights = (by_component * following[j].squeeze(-1)).sum(-1).movedim(0, -1)
            # Rows that observe this variable have weights of their own, which do not matter.
            weights = weights * (single.log_scale - single.log_scale.amax()).exp()
            weights = weights / weights.sum(-1, keepdim=True)
            value = torch.where(rows[:, j].isnan(), _implicit(emission, weights, drawn[..., j]), rows[:, j])
            values.append(value.to(drawn.dtype))
            log_weights = emission.log_prob(values[-1].reshape(-1, 1))
            if ring:
                before = before @ single.links(log_weights)[0].unflatten(0, (count, batch))
            else:
                chosen = single.weights(log_weights)[0].unflatten(0, (count, batch))
                before = torch.einsum("srk,ksrm->srm", chosen, by_component).unsqueeze(-2)
        before = _rescaled(before)
    return torch.stack(values, -1)


def _following(chain: Chain, links: Tensor) -> list[Tensor]:
    """What follows each variable: a matrix for a ring, a vector for a train, ``(R, m, m or 1)``."""
    after = torch.eye(chain.rank).to(links) if chain.boundary == "ring" else links.new_ones(chain.rank, 1)
    following = [after.expand(links.shape[1], -1, -1)]
    for link in reversed(links.unbind(0)[1:]):
        following.append(_rescaled(link @ following[-1]))
    return following[::-1]


def _rescaled(product: Tensor) -> Tensor:
    return product / product.detach().amax((-2, -1), keepdim=True).clamp_min(torch.finfo(product.dtype).tiny)


def _implicit(emission: Emissions, weights: Tensor, drawn: Tensor) -> Tensor:
    """The value drawn from a mixture with the gradient by its weights and its components' parameters."""
    (kind,), ((_, parameters),) = emission.variables, emission.groups
    parameters = {name: parameter[0] for name, parameter in parameters.items()}
    value = drawn.unsqueeze(-1)
    below = (weights * kind.cdf(parameters, value)).sum(-1)
    with torch.no_grad():
        density = (weights * kind.log_prob(parameters, value).exp()).sum(-1)
        density = density.clamp_min(torch.finfo(density.dtype).tiny)
    return drawn - (below - below.detach()) / density
