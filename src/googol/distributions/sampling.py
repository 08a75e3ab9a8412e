"""Drawing from a chain: the bonds first, then the indices between them, then the values.

A ring with non-negative cores is a hidden Markov chain over its bonds. Given the first bond (of a ring: drawn
from the diagonal of the full product) the others follow one after the other, each in proportion to an entry of
a link times a message from the right; an index needs its two bonds only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from googol.distributions.chain import Chain, full_precision
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
    cumulated = weights.cumsum(-1)
    total = cumulated[..., -1:]
    threshold = torch.rand(total.shape, dtype=total.dtype, device=total.device) * total
    threshold = torch.minimum(threshold, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulated, threshold, right=True).squeeze(-1).clamp_max_(weights.shape[-1] - 1)


@full_precision
def sample_indices(chain: Chain, log_weights: Tensor, observed: Tensor, count: int) -> Tensor:
    """Draws component indices given the weights of evidence.

    Args:
        log_weights: Shape ``(n, R, N)``, zero where nothing is observed.
        observed: Shape ``(n,)``: which variables are observed in any row.

    Returns:
        Shape ``(n, R, count)``.
    """
    n, batch, _ = log_weights.shape
    m = chain.rank
    columns = observed.nonzero().flatten().tolist()
    # Links of variables that no row observes are the same for all rows.
    shared = chain.links(torch.zeros_like(log_weights[:, :1]))  # (n, 1, m, m)
    own = dict(zip(columns, chain.select(columns).links(log_weights[columns]), strict=True)) if columns else {}
    links = [own.get(j, shared[j]) for j in range(n)]  # each (R or 1, m, m)

    if chain.boundary == "ring":
        around = chain.absorb(columns) if columns else chain
        weights = log_weights[columns] if columns else torch.zeros_like(log_weights[:, :1])
        diagonal = around.product(weights).matrix.diagonal(dim1=1, dim2=2)
        bond = draw(diagonal.expand(batch, -1).unsqueeze(1).expand(-1, count, -1).contiguous())
        message = torch.nn.functional.one_hot(bond, m).to(shared.dtype)
    else:
        bond = None
        message = shared.new_ones(batch, 1, m)

    messages = [message]  # messages[j]: what follows bond j, from the last to the first
    for j in reversed(range(n)):
        link = links[j]
        message = message @ link[0].mT if len(link) == 1 else torch.bmm(message, link.mT)
        message = message / message.amax(-1, keepdim=True).clamp_min(torch.finfo(message.dtype).tiny)
        messages.append(message)
    messages.reverse()
    if bond is None:
        bond = draw(messages[0].expand(-1, count, -1).contiguous())

    bonds = torch.empty(n + 1, batch, count, dtype=torch.int64, device=shared.device)
    bonds[0] = bond
    row = torch.arange(batch, device=shared.device).unsqueeze(1)
    for j in range(n):
        onward = links[j][0][bond] if len(links[j]) == 1 else links[j][row, bond]  # (R, count, m)
        bond = draw(onward * messages[j + 1])
        bonds[j + 1] = bond
    return _indices_between(chain, log_weights, bonds)


def _indices_between(chain: Chain, log_weights: Tensor, bonds: Tensor) -> Tensor:
    """Every index in proportion to its weight times the entry of its core between the two bonds, all at once."""
    n = len(chain)
    x = log_weights + chain.log_scale.unsqueeze(1).to(log_weights.dtype)
    weights = (x - x.amax(-1, keepdim=True)).exp().to(chain.cores.dtype)  # (n, R, N)
    by_bonds = chain.cores.flatten(-2).mT.contiguous()  # (n, m * m, N)
    pair = bonds[:-1] * chain.rank + bonds[1:]
    position = torch.arange(n, device=bonds.device).view(n, 1, 1)
    return draw(by_bonds[position, pair] * weights.unsqueeze(2))


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
