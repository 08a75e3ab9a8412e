"""Where training of a tensor ring starts: a mixture over the bonds that was fitted to data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from googol.distributions.variables import Variable

_ITERATIONS = 40
# The probability that a chain changes its bond value anywhere on its way.
_CHANGE = 0.1


def latent_class_cores(log_weights: Tensor, classes: int, variables: Sequence[Variable]) -> list[Tensor]:
    """Cores of a chain whose bonds carry the class of a latent class model.

    Args:
        log_weights: log p(v_j given s_j) of the samples, ``(n, B, N)``, zero where nothing is observed.
        classes: The number of classes, the rank of the chain.
        variables: The n variables.

    Returns:
        Positive cores, one ``(N_j, m, m)`` a variable.
    """
    valid = torch.arange(log_weights.shape[-1], device=log_weights.device)
    valid = valid < torch.tensor([v.components for v in variables], device=log_weights.device).view(-1, 1, 1)
    log_weights = log_weights.masked_fill(~valid, -torch.inf)
    weights = (log_weights - log_weights.amax(-1, keepdim=True)).exp().float()
    # One more sample, of which nothing is known, so that a value that was never seen can still happen.
    weights = torch.cat([weights, valid.to(weights)], 1)
    tables, shares = fit_latent_classes(weights, classes)
    change = _CHANGE / len(variables)
    stay = torch.eye(classes, device=tables.device) * (1 - change) + change / classes
    cores = stay * tables.unsqueeze(2)  # Q_j[s, a, b] = P(b given a) p_j(s given b)
    cores[0] = cores[0] * (shares * classes)
    return [core[: variable.components] for core, variable in zip(cores, variables, strict=True)]


def fit_latent_classes(weights: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Expectation-maximisation for ``p(v) = sum_a share_a prod_j sum_s table_j[s, a] p(v_j given s)``.

    Args:
        weights: p(v_j given s) up to a factor for each j and sample, ``(n, B, N)``; all ones where missing.
        classes: The number of classes.

    Returns:
        The tables ``(n, N, classes)`` and the shares ``(classes,)``.
    """
    n, batch, _ = weights.shape
    overall = weights / weights.sum(-1, keepdim=True)
    overall = overall.mean(1)  # (n, N)
    # Every class starts halfway between one sample and all of them.
    chosen = torch.randint(batch, (classes,), device=weights.device)
    if classes <= batch:
        chosen = torch.randperm(batch, device=weights.device)[:classes]
    of_sample = weights[:, chosen] * overall.unsqueeze(1)
    of_sample = of_sample / of_sample.sum(-1, keepdim=True)
    tables = (0.5 * of_sample + 0.5 * overall.unsqueeze(1)).mT  # (n, N, classes)
    shares = weights.new_full((classes,), 1 / classes)
    for _ in range(_ITERATIONS):
        log_joint = shares.log().expand(batch, -1).clone()
        for weight, table in zip(weights, tables, strict=True):
            log_joint += (weight @ table).clamp_min(torch.finfo(weights.dtype).tiny).log()
        responsibility = log_joint.softmax(-1)  # (B, classes)
        total = responsibility.sum(0)
        shares = (total + 1) / (batch + classes)
        for j in range(n):
            mixed = weights[j] @ tables[j]
            ratio = responsibility / mixed.clamp_min(torch.finfo(weights.dtype).tiny)
            counts = tables[j] * (weights[j].mT @ ratio)  # expected counts of (s, class)
            smoothed = counts + overall[j].unsqueeze(-1)  # a prior of one sample of all the data
            tables[j] = smoothed / smoothed.sum(0)
    return tables, shares
