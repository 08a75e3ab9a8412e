"""The joint distribution of a table: its answers against sums over all rows that there can be, and rounding."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from googol.distributions import Categorical, Interval, Normal, OneOf, TensorRing
from googol.models import Tabular
from googol.models.tabular import last_decimal

NAN = math.nan


@pytest.fixture
def model() -> Tabular:
    """Of three columns of 2, 3 and 4 categories."""
    torch.manual_seed(0)
    return Tabular(TensorRing([Categorical(2), Categorical(3), Categorical(4)], rank=3).double())


def mixed(rows: int = 400) -> Tensor:
    """Rows of two numbers, one of them whole, and a category that depends on them; a fifth of the entries missing."""
    random = np.random.default_rng(0)
    first, second = random.integers(0, 60, rows), random.normal(0, 0.01, rows)
    table = np.stack([first, second + first / 1000, first > 30], 1)
    table[random.random(table.shape) < 0.2] = NAN
    return torch.from_numpy(table).float()


def started(rows: Tensor) -> Tabular:
    torch.manual_seed(0)
    model = Tabular(TensorRing([Normal(6), Normal(6), Categorical(2)], rank=5, boundary="train"))
    assert model.on_epoch_start(0, lambda: iter([(rows.new_empty(len(rows), 0, 0, 0), rows)]))
    return model


def test_answers_are_sums_over_all_rows(model: Tabular) -> None:
    every = torch.tensor(list(itertools.product(range(2), range(3), range(4))), dtype=torch.float64)
    p = model.log_prob(every).exp().detach().view(2, 3, 4)
    torch.testing.assert_close(p.sum(), torch.tensor(1.0, dtype=torch.float64))
    y = torch.tensor([[1, NAN, NAN], [NAN, 2, 3]], dtype=torch.float64)
    torch.testing.assert_close(model.log_prob(y).exp(), torch.stack([p[1].sum(), p[:, 2, 3].sum()]))
    assert model.loss(None, y)["loss"].item() == pytest.approx(-model.log_prob(y).mean().item())
    filled = model.impute(None, y)
    torch.testing.assert_close(filled[1][0], p[1].sum(1) / p[1].sum())
    torch.testing.assert_close(filled[0][1], p[:, 2, 3] / p[:, 2, 3].sum())
    assert filled[2][1].tolist() == pytest.approx([0, 0, 0, 1])
    each = model.impute_each(y)
    torch.testing.assert_close(each[0][0], p.sum((1, 2)))  # whatever is known of it
    torch.testing.assert_close(each[1][0], p[1].sum(1) / p[1].sum())
    torch.testing.assert_close(each[2][1], p[:, 2].sum(0) / p[:, 2].sum())
    assert y.isnan().sum() == 3


def test_rows_come_as_often_as_they_are_probable(model: Tabular) -> None:
    torch.manual_seed(1)
    rows = model.sample(20_000, given=torch.tensor([NAN, 1.0, NAN]), within={2: OneOf([0, 3])})
    assert (rows[:, 1] == 1).all()
    seen = (
        torch.zeros(2, 4).index_put_((rows[:, 0].long(), rows[:, 2].long()), torch.ones(()), accumulate=True) / 20_000
    )
    every = torch.tensor([[a, 1.0, c] for a in (0.0, 1.0) for c in (0.0, 3.0)], dtype=torch.float64)
    expected = model.log_prob(every).softmax(0).view(2, 2).float()
    torch.testing.assert_close(seen[:, [0, 3]], expected, atol=0.015, rtol=0)


def test_a_start_from_data_and_rows_as_exact_as_these() -> None:
    rows = mixed()
    model = started(rows)
    assert model.units.tolist() == [1, 0, 0]
    assert not model.on_epoch_start(1, lambda: iter([]))
    assert model.log_prob(rows).mean() > Tabular(TensorRing(model.prior.variables, 5)).log_prob(rows).mean() + 5
    given = torch.tensor([[NAN, 0.034567, NAN], [7.0, NAN, 1.0]])
    drawn = model.sample(2, given=given)
    assert drawn[given.isfinite()].equal(given[given.isfinite()])  # not rounded
    drawn = model.sample(500, within={0: Interval(20.2, 20.4), 1: Interval(low=0.0)})
    assert ((drawn[:, 0] >= 20.2) & (drawn[:, 0] <= 20.4)).all()  # where no whole number lies
    drawn = model.sample(500, within={0: Interval(20, 40)})
    assert (drawn[:, 0] == drawn[:, 0].round()).all()
    assert ((drawn[:, 0] >= 20) & (drawn[:, 0] <= 40)).all()
    assert model.sample(0).shape == (0, 3)


def test_components_stay_as_wide_as_rounding_makes_them() -> None:
    """Without that, the likelihood of numbers that come again and again grows without bound."""
    rows = torch.tensor([[0.0, 5.0, 0.0], [0.0, 7.5, 1.0], [3.0, 5.0, 1.0], [9.0, 0.5, 0.0]]).repeat(30, 1)
    model = started(rows)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        model.loss(None, rows)["loss"].backward()
        optimizer.step()
        model.on_update()
    scale = model.prior().emissions.moments()[1].sqrt()
    assert scale[0].min().item() == pytest.approx(1 / math.sqrt(12), rel=1e-5)
    assert scale[1].min().item() == pytest.approx(0.1 / math.sqrt(12), rel=1e-5)


@pytest.mark.parametrize(
    ("values", "units"),
    [
        ([1e6, 3.0], 1),
        ([0.5, 2.25], 100),
        ([0.1234], 10_000),
        ([1 / 3], 0),
        ([-0.1, 20_000.3], 10),
        ([0.0], 1),
        ([400_000.25, 612_345.5], 100),
    ],
)
def test_last_decimals(values: list[float], units: int) -> None:
    assert last_decimal(torch.tensor(values)) == units


def test_what_cannot_be_is_refused(model: Tabular) -> None:
    with pytest.raises(ValueError, match=r"given must have the shape \(3,\) or \(4, 3\), got \(2,\)"):
        model.sample(4, given=torch.zeros(2))
    with pytest.raises(ValueError, match="n must"):
        model.sample(-1)
    with pytest.raises(ValueError, match=r"least must be 3 numbers that are not negative, got \[1.0, -1.0, 0.0\]"):
        model.prior.widen(torch.tensor([1.0, -1.0, 0.0]))
