"""The most probable indices against the largest of all entries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import random_pair, random_values

from googol.distributions import Categorical, Normal, TensorRing
from googol.distributions.mode import most_probable_indices

NAN = float("nan")
BOUNDARIES = ["ring", "train"]
KINDS = ["n4", "c2", "n1", "c3", "n2", "c2"]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("rank", [1, 2, 5, 9])
def test_mode_is_the_largest_entry(rank, boundary):
    for seed in range(5):
        pair = random_pair(KINDS, rank, boundary, seed=seed)
        given = random_values(KINDS, 4, missing=0.6, seed=seed)
        given[0] = NAN
        expected = [pair.truth.mode(row)[0] for row in given.numpy()]
        np.testing.assert_allclose(pair.ring().condition(given).mode, expected, rtol=1e-12)
        np.testing.assert_allclose(pair.ring().mode, expected[0], rtol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_mode_of_a_marginal_sums_the_others_out(boundary):
    for seed in range(5):
        pair = random_pair(KINDS, 3, boundary, seed=seed)
        given = random_values(KINDS, 3, missing=0.5, seed=seed)
        kept, hidden = [0, 3, 5], [1, 2, 4]
        expected = np.array([pair.truth.mode(row, hidden)[0] for row in given.numpy()])[:, kept]
        np.testing.assert_allclose(pair.ring().condition(given).marginal(kept).mode, expected, rtol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_component_of_an_observed_number_is_summed_out(boundary):
    """The most probable category given a number is that of the highest density, whichever component it comes from."""
    for seed in range(200):
        torch.manual_seed(seed)
        joint = TensorRing([Normal(3), Categorical(2)], 2, boundary, dtype=torch.float64)()
        given = torch.tensor([torch.randn(()), NAN], dtype=torch.float64)
        both = torch.stack([given.clone().index_fill_(0, torch.tensor(1), k) for k in range(2)])
        assert joint.condition(given).mode[1] == joint.log_prob(both).argmax()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("beginnings", [1, 2, 5, 30])
def test_what_is_said_to_be_proven_is_true(beginnings, boundary):
    """With few beginnings the search fails at times, and knows when it may have failed."""
    right, proven = [], []
    for seed in range(40):
        pair = random_pair(["c3", "c2", "c4", "c3", "c2"], 3, boundary, seed=seed)
        chain = pair.ring().chain
        found = most_probable_indices(chain, torch.zeros(5, 1, 4, dtype=torch.float64), beginnings=beginnings)
        entry = pair.truth.entries[tuple(found.indices[:, 0].tolist())]
        right.append(bool(np.isclose(entry, pair.truth.entries.max(), rtol=1e-9)))
        proven.append(bool(found.proven[0]))
    assert all(r or not p for r, p in zip(right, proven, strict=True))
    assert any(proven)
    if beginnings == 1:
        assert not all(proven)
    if beginnings == 30:
        assert all(right)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_more_beginnings_are_never_worse(boundary):
    torch.manual_seed(0)
    joint = TensorRing([Categorical(4)] * 15, 4, boundary, dtype=torch.float64)()
    zero = torch.zeros(15, 1, 4, dtype=torch.float64)

    def value(beginnings: int) -> float:
        indices = most_probable_indices(joint.chain, zero, beginnings=beginnings).indices[:, 0]
        return joint.log_prob(indices).item()

    values = [value(beginnings) for beginnings in (16, 128, 1024)]
    assert values == sorted(values)
    assert values[-1] >= joint.log_prob(joint.sample((2000,))).max().item()


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_long_chains_with_a_known_mode(boundary):
    """Bonds that rarely change and cores that prefer the index 1, at every scale."""
    stay = 0.9 * torch.eye(4) + 0.1 / 4
    scales = torch.logspace(-20, 20, 1000).unsqueeze(-1)
    cores = [scale * torch.stack([0.2 * stay, 0.7 * stay, 0.1 * stay]) for scale in scales.unsqueeze(-1)]
    ring = TensorRing([Categorical(3)] * 1000, 4, boundary, cores=cores)
    assert (ring().mode == 1).all()
    evidence = torch.full((1000,), NAN)
    evidence[::3] = 2.0
    assert torch.equal(ring().condition(evidence).mode, torch.where(evidence.isnan(), 1.0, 2.0))


def test_entries_of_zero_are_avoided():
    cores = [torch.tensor([[[0.0]], [[1.0]]]), torch.tensor([[[1.0]], [[0.0]]])]
    assert TensorRing([Categorical(2)] * 2, 1, cores=cores)().mode.tolist() == [1.0, 0.0]


def test_components_are_weighed_not_their_peaks():
    """A narrow component has the higher density at its mean, a wide one the higher weight."""
    cores = [torch.tensor([[[0.3]], [[0.7]]])]
    ring = TensorRing([Normal(2, loc=[0.0, 5.0], scale=[0.01, 1.0])], 1, cores=cores)
    assert ring().mode.item() == 5.0
