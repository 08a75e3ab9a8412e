"""What is true of a tensor ring, by brute force in float64: no chains, no scales, no autograd, only the definition."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch import Tensor

from googol.distributions import Categorical, Normal, TensorRing


class Truth:
    """Every entry of a small tensor ring or train, and everything that follows from them by summing.

    Args:
        cores: One array ``(N_j, m, m)`` a variable.
        emissions: One item a variable: the means and deviations of its components, or None for a discrete one.
        boundary: ``"ring"`` or ``"train"``.
    """

    def __init__(
        self,
        cores: Sequence[np.ndarray],
        emissions: Sequence[tuple[np.ndarray, np.ndarray] | None],
        boundary: str,
    ) -> None:
        self.cores, self.emissions, self.boundary = list(cores), list(emissions), boundary
        self.shape = tuple(len(core) for core in cores)
        self.entries = np.empty(self.shape)
        for index in itertools.product(*map(range, self.shape)):
            matrix = functools.reduce(np.matmul, (core[s] for core, s in zip(cores, index, strict=True)))
            self.entries[index] = np.trace(matrix) if boundary == "ring" else matrix.sum()

    def __len__(self) -> int:
        return len(self.shape)

    def _density(self, j: int, value: float) -> np.ndarray:
        """p(value given s_j) for every s_j; ones where the value is missing."""
        if math.isnan(value):
            return np.ones(self.shape[j])
        emission = self.emissions[j]
        if emission is None:
            return (np.arange(self.shape[j]) == value).astype(float)
        return norm.pdf(value, *emission)

    def weighted(self, value: Sequence[float], masses: Mapping[int, np.ndarray] | None = None) -> np.ndarray:
        """The entries times the densities of what is observed, or the probabilities of events given each s_j."""
        result = self.entries
        for j in range(len(self)):
            shape = [1] * len(self)
            shape[j] = -1
            factor = self._density(j, float(value[j]))
            if masses is not None and math.isnan(value[j]):
                factor = masses.get(j, factor)
            result = result * factor.reshape(shape)
        return result

    @property
    def log_normalizer(self) -> float:
        return math.log(self.entries.sum())

    def log_prob(self, value: Sequence[float], given: Sequence[float] | None = None) -> float:
        given = np.full(len(self), np.nan) if given is None else np.asarray(given, dtype=float)
        both = np.where(np.isnan(given), np.asarray(value, dtype=float), given)
        return float(np.log(self.weighted(both).sum()) - np.log(self.weighted(given).sum()))

    def component_probs(self, given: Sequence[float]) -> list[np.ndarray]:
        weighted = self.weighted(given)
        axes = range(len(self))
        return [weighted.sum(tuple(a for a in axes if a != j)) / weighted.sum() for j in axes]

    def moments(self, given: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of every variable."""
        means, variances = [], []
        for j, probs in enumerate(self.component_probs(given)):
            emission = self.emissions[j]
            loc, scale = (np.arange(len(probs)), np.zeros(len(probs))) if emission is None else emission
            mean = (probs * loc).sum()
            observed = not math.isnan(given[j])
            means.append(given[j] if observed else mean)
            variances.append(0.0 if observed else (probs * (scale**2 + loc**2)).sum() - mean**2)
        return np.array(means), np.array(variances)

    def mode(self, given: Sequence[float], summed: Sequence[int] = ()) -> tuple[np.ndarray, float]:
        """The values at the most probable indices of open variables, the others summed out, and the entry there."""
        others = {*summed, *np.flatnonzero(~np.isnan(given)).tolist()}
        weighted = self.weighted(given).sum(tuple(others), keepdims=True)
        index = np.unravel_index(weighted.argmax(), weighted.shape)
        values = [
            float(s) if emission is None else emission[0][s] for s, emission in zip(index, self.emissions, strict=True)
        ]
        return np.where(np.isnan(given), values, given), float(weighted.max())


class Pair(NamedTuple):
    """A module and the truth about it."""

    ring: TensorRing
    truth: Truth


def random_pair(
    kinds: Sequence[str], rank: int, boundary: str = "ring", *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Pair:
    """A ring over variables such as ``["n3", "c2"]``: a normal one with three components, a discrete one with two."""
    random = np.random.default_rng(seed)
    variables, emissions, cores = [], [], []
    for kind in kinds:
        components = int(kind[1:])
        cores.append(random.gamma(0.5, size=(components, rank, rank)) + 1e-3)
        if kind[0] == "c":
            variables.append(Categorical(components))
            emissions.append(None)
        else:
            loc, scale = random.normal(0, 2, components), random.uniform(0.3, 1.5, components)
            variables.append(Normal(components, loc=torch.from_numpy(loc), scale=torch.from_numpy(scale)))
            emissions.append((loc, scale))
    ring = TensorRing(variables, rank, boundary, cores=[torch.from_numpy(core) for core in cores], dtype=dtype)
    return Pair(ring, Truth(cores, emissions, boundary))


def random_values(kinds: Sequence[str], rows: int, *, missing: float = 0.0, seed: int = 0) -> Tensor:
    """Float64 values of such variables, ``(rows, n)``, a share of them NaN."""
    random = np.random.default_rng(seed)
    columns = [random.integers(int(k[1:]), size=rows) if k[0] == "c" else random.normal(0, 2, rows) for k in kinds]
    values = np.stack(columns, -1).astype(float)
    values[random.random(values.shape) < missing] = np.nan
    return torch.from_numpy(values)


def log_domain_sum(log_cores: np.ndarray, log_weights: np.ndarray, boundary: str) -> float:
    """log of the closed product of ``sum_k exp(log_weights[j, k]) exp(log_cores[j, k])``, with no exponentials taken.

    Args:
        log_cores: Shape ``(n, N, m, m)``.
        log_weights: Shape ``(n, N)``.
        boundary: ``"ring"`` or ``"train"``.
    """
    links = logsumexp(log_cores.astype(np.float64) + log_weights.astype(np.float64)[:, :, None, None], axis=1)
    total = links[0] if boundary == "ring" else logsumexp(links[0], axis=0, keepdims=True)
    for link in links[1:]:
        total = logsumexp(total[:, :, None] + link[None], axis=1)
    return float(logsumexp(np.diagonal(total) if boundary == "ring" else total))


def normal_log_pdf(value: Tensor, loc: Tensor, scale: Tensor) -> np.ndarray:
    """log N(value; loc, scale) in float64 for ``(n,)`` values and ``(n, N)`` components; zero where missing."""
    v, m, s = (t.detach().double().numpy() for t in (value.unsqueeze(-1), loc, scale))
    return np.where(np.isnan(v), 0.0, norm.logpdf(np.nan_to_num(v), m, s))
