"""Mutual information against enumeration and quadrature."""

import math

import numpy as np
import pytest
import torch
from oracles import random_pair
from scipy.stats import multivariate_normal

from googol.distributions import Categorical, Interval, Normal, OneOf, TensorRing, mutual_information

NAN = math.nan


@pytest.mark.parametrize("boundary", ["ring", "train"])
@pytest.mark.parametrize("events", [{}, {0: OneOf([1, 2]), 2: OneOf([0])}], ids=["open", "given"])
def test_discrete_variables_against_enumeration(boundary, events):
    ring, truth = random_pair(["c3", "n2", "c2", "c4"], 3, boundary, seed=1)
    masses = {j: np.array([float(s in event) for s in range(truth.shape[j])]) for j, event in events.items()}
    table = truth.weighted([NAN] * 4, masses).sum((1, 2))
    table = table / table.sum()
    independent = table.sum(1, keepdims=True) * table.sum(0)
    positive = table > 0
    expected = (table[positive] * np.log(table[positive] / independent[positive])).sum()
    found = mutual_information(ring().condition(within=events), 0, -1)
    assert found.item() == pytest.approx(expected, rel=1e-8)
    assert mutual_information(ring().condition(within=events), 3, 0).item() == pytest.approx(expected, rel=1e-8)


def test_continuous_variables_against_quadrature():
    loc = torch.tensor([-1.5, 1.5])
    variables = [Normal(2, loc=loc, scale=0.8), Normal(2, loc=loc, scale=1.2), Categorical(2)]
    eye = torch.eye(2, dtype=torch.float64)
    agree = torch.stack([torch.outer(row, row) for row in eye])  # index and both bonds are the same
    joint = TensorRing(variables, 2, cores=[agree] * 3, dtype=torch.float64)()
    grid = np.linspace(-8, 8, 801)
    density = sum(
        0.5
        * multivariate_normal(mean, np.diag([0.8**2, 1.2**2])).pdf(np.stack(np.meshgrid(grid, grid, indexing="ij"), -1))
        for mean in ([-1.5, -1.5], [1.5, 1.5])
    )
    cell = (grid[1] - grid[0]) ** 2
    marginals = density.sum(1, keepdims=True) * density.sum(0) * cell
    expected = (density * np.log(np.maximum(density, 1e-300) / np.maximum(marginals, 1e-300))).sum() * cell
    assert mutual_information(joint, 0, 1).item() == pytest.approx(expected, rel=1e-2)
    assert 0 < mutual_information(joint, 0, 2).item() < math.log(2)


def test_given_an_interval_there_is_less_to_tell():
    joint = random_pair(["n3", "c3"], 3, seed=2).ring()
    few = joint.condition(within={0: Interval(0.0, 0.01)})
    assert mutual_information(few, 0, 1) < 1e-3 < mutual_information(joint, 0, 1)


def test_what_is_refused():
    joint = random_pair(["n3", "c3"], 3, seed=2).ring()
    with pytest.raises(ValueError, match="two variables, got 1 and -1"):
        mutual_information(joint, 1, -1)
    with pytest.raises(ValueError, match="positions from -2 to 1"):
        mutual_information(joint, 0, 5)
    with pytest.raises(ValueError, match="empty batch shape"):
        mutual_information(joint.expand((3,)), 0, 1)
