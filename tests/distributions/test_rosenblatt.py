"""The map to uniform variables: its inverse, its derivatives, and the samples it makes uniform."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import random_pair, random_values
from scipy.stats import kstest

from googol.distributions import Interval, Normal, TensorRing, rosenblatt

NAN = math.nan
KINDS = ["n3", "c2", "n2", "n4", "c3"]
LABELS = torch.tensor([[NAN, 1.0, NAN, NAN, 0.0], [NAN, 0.0, NAN, 0.5, 2.0]], dtype=torch.float64)


@pytest.fixture(params=["ring", "train"])
def joint(request):
    return random_pair(KINDS, 3, request.param, seed=1).ring()


def test_samples_become_uniform_and_independent(joint):
    torch.manual_seed(0)
    given = joint.condition(LABELS[0])
    u = given.to_uniform(given.sample((4000,)))[:, [0, 2, 3]]
    for column in u.T:
        assert kstest(column.numpy(), "uniform").pvalue > 1e-3
    assert (u.T.corrcoef() - torch.eye(3)).abs().max() < 5 / 4000**0.5


def test_uniform_numbers_become_samples(joint):
    torch.manual_seed(0)
    given = joint.condition(LABELS[0])
    values = given.from_uniform(torch.rand(20_000, 5, dtype=torch.float64))
    assert (values[:, [1, 4]] == LABELS[0, [1, 4]]).all()
    error = (values.mean(0) - given.mean) / given.stddev.clamp_min(1e-9) * 20_000**0.5
    assert error.abs().max() < 5


def test_there_and_back(joint):
    """With a pattern of evidence for every row, in both directions."""
    given = joint.condition(LABELS)
    values = torch.where(LABELS.isnan(), random_values(KINDS, 10, seed=2).view(5, 2, 5), LABELS)
    u = given.to_uniform(values)
    assert u.shape == (5, 2, 5)
    assert (u[:, ~LABELS.isnan()] == 0.5).all()
    torch.testing.assert_close(given.from_uniform(u), values, rtol=1e-6, atol=1e-6)


def test_it_keeps_to_an_interval(joint):
    given = joint.condition(LABELS[0], within={0: Interval(-0.4, 0.3), 2: Interval(high=0.0)})
    values = given.from_uniform(torch.rand(200, 5, dtype=torch.float64))
    assert ((values[:, 0] >= -0.4) & (values[:, 0] <= 0.3) & (values[:, 2] <= 0)).all()
    torch.testing.assert_close(given.from_uniform(given.to_uniform(values)), values, rtol=1e-5, atol=1e-5)


def test_the_determinant_of_its_derivatives_is_the_density(joint):
    given = joint.condition(LABELS[0])
    value = torch.where(LABELS[0].isnan(), random_values(KINDS, 1, seed=3)[0], LABELS[0])
    columns, step = [0, 2, 3], 1e-6
    moved = torch.stack([value + sign * step * torch.eye(5)[j] for j in columns for sign in (1, -1)])
    u = given.to_uniform(moved)[:, columns].view(3, 2, 3)
    jacobian = (u[:, 0] - u[:, 1]) / (2 * step)
    torch.testing.assert_close(jacobian.det().abs().log(), given.log_prob(value).detach(), rtol=1e-5, atol=1e-5)


def test_the_order_along_the_chain_is_that_of_the_map():
    torch.manual_seed(0)
    from googol.distributions import Normal, TensorRing

    joint = TensorRing([Normal(3)] * 3, 2, order=[2, 0, 1], dtype=torch.float64)()
    value = torch.randn(50, 3, dtype=torch.float64)
    u = joint.to_uniform(value)
    torch.testing.assert_close(joint.from_uniform(u), value, rtol=1e-6, atol=1e-6)
    changed = joint.to_uniform(value + torch.tensor([0.0, 1.0, 0.0]))
    torch.testing.assert_close(changed[:, [0, 2]], u[:, [0, 2]])


def test_single_precision_agrees_with_double(joint):
    pair = random_pair(["n3", "n2", "n4"], 3, seed=5)
    single = random_pair(["n3", "n2", "n4"], 3, seed=5, dtype=torch.float32).ring()
    value = random_values(["n3", "n2", "n4"], 50, seed=5)
    u = single.to_uniform(value.float())
    torch.testing.assert_close(u.double(), pair.ring().to_uniform(value), rtol=1e-4, atol=1e-5)
    inside = ((u > 0.01) & (u < 0.99)).all(-1)
    torch.testing.assert_close(single.from_uniform(u)[inside], value.float()[inside], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_numbers_are_in_the_unit_interval_and_scores_keep_the_tails(dtype):
    """However far values are out, on either side."""
    from googol.distributions import Normal, TensorRing

    torch.manual_seed(0)
    joint = TensorRing([Normal(10)] * 4, rank=8, dtype=dtype)()
    value = torch.cat([torch.randn(500, 4, dtype=dtype) * scale for scale in (1, 3, 30, 1000)])
    u, scores = joint.to_uniform(value), joint.to_scores(value)
    assert ((u >= 0) & (u <= 1)).all()
    torch.testing.assert_close(
        joint.to_uniform(value)[:500], torch.distributions.Laplace(0.0, 1.0).cdf(scores).to(dtype)[:500]
    )
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(joint.from_scores(scores), value, rtol=tolerance, atol=tolerance)
    extremes = joint.from_uniform(torch.tensor([[0.0] * 4, [1.0] * 4], dtype=dtype))
    assert extremes.isfinite().all()
    assert (extremes[0] < -10).all()
    assert (extremes[1] > 10).all()


@pytest.mark.parametrize("method", ["to_uniform", "from_uniform", "to_scores", "from_scores"])
def test_of_nothing_comes_nothing(method):
    ring = TensorRing([Normal(2)] * 2, rank=2)()
    for joint in (ring, ring.condition(torch.full((0, 2), NAN))):
        assert getattr(joint, method)(torch.zeros(0, 2)).shape == (0, 2)


def test_what_is_refused(joint):
    with pytest.raises(ValueError, match="to_uniform needs continuous variables, but variables \\[1, 4\\]"):
        joint.to_uniform(torch.zeros(5))
    given = joint.condition(LABELS[0])
    with pytest.raises(ValueError, match="entry of every variable"):
        given.to_uniform(LABELS[0])
    with pytest.raises(ValueError, match="must be in"):
        given.from_uniform(torch.full((5,), 1.1))
    with pytest.raises(ValueError, match="must have the shape"):
        given.from_uniform(torch.zeros(4))
    with pytest.raises(ValueError, match="score must not be NaN"):
        given.from_scores(torch.full((5,), NAN))
    with pytest.raises(ValueError, match="expected numbers of the shape"):
        joint.condition(LABELS).from_uniform(torch.zeros(3, 5))


def test_blocks_of_rows_and_of_samples_give_what_all_give_at_once(joint, monkeypatch):
    torch.manual_seed(0)
    given = joint.condition(LABELS)
    values = given.sample((7,))
    scores, u = given.to_scores(values), torch.rand(7, 2, 5, dtype=torch.float64)
    drawn = given.from_uniform(u)
    for numbers in (1, 5 * 9, 5 * 9 * 6):
        monkeypatch.setattr(rosenblatt, "_NUMBERS", numbers)
        torch.testing.assert_close(given.to_scores(values), scores)
        torch.testing.assert_close(given.from_uniform(u), drawn)
