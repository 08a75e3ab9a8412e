"""Accuracies of models that always, never, or sometimes obey."""

import math

import pytest
import torch
from painting import Painter, Reader

from googol.data import Condition, Dataset
from googol.metrics import agreement, condition_accuracy, imputation_accuracy

NAN = math.nan


def test_agreement_by_hand():
    schema = [Condition("a", ("x", "y")), Condition("b", ("x", "y", "z")), Condition("c", None), Condition("d", None)]
    truth = torch.tensor([[0, 0, 1.0, NAN], [1, 1, 3.0, NAN], [0, 2, NAN, NAN], [NAN, 2, 5.0, NAN]])
    said = torch.tensor([[0, 0, 2.0, 1.0], [0, 1, 3.0, 1.0], [0, 2, 9.0, 1.0], [1, 0, 4.0, 1.0]])
    accuracy = agreement(said, truth, schema)
    # 2 of 3; 3 of 4; 1 − (1 + 0 + 1) / (4 + 0 + 4); d is never known.
    assert accuracy.each == pytest.approx({"a": 2 / 3, "b": 3 / 4, "c": 0.75})
    assert accuracy.mean == pytest.approx((2 / 3 + 3 / 4) / 2)


def test_agreement_without_categories_or_without_variation():
    accuracy = agreement(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [1.0]]), [Condition("c", None)])
    assert math.isnan(accuracy.mean)
    assert math.isnan(accuracy.each["c"])


def test_a_model_that_obeys_and_one_that_does_not(painted):
    right = condition_accuracy(Painter(), Reader(), painted, 300, batch_size=128)
    assert right.mean == 1
    assert right.each["level"] == 1
    assert right.each["shade"] == pytest.approx(1)
    wrong = condition_accuracy(Painter(obeys=False), Reader(), painted, 300)
    assert wrong.mean == 0
    # 1 − y instead of y, with y uniform: squared error 1/3, variance 1/12.
    assert wrong.each["shade"] == pytest.approx(1 - (1 / 3) / (1 / 12), abs=0.5)


def test_conditions_are_drawn_as_they_come_in_the_data(painted):
    seen = []

    class Recorder(Painter):
        def sample(self, n, given=None):
            seen.append(given)
            return super().sample(n, given)

    conditions = torch.tensor([[0.0, 0.2]] * 3 + [[2.0, 0.7]] + [[1.0, NAN]] * 4)
    data = Dataset("eight", torch.zeros(8, 1, 8, 8, dtype=torch.uint8), conditions, painted.schema)
    condition_accuracy(Recorder(), Reader(), data, 4000)
    rows = torch.cat(seen)
    assert rows.shape == (4000, 2)
    share = (rows == torch.tensor([0.0, 0.2])).all(1).double().mean().item()
    assert share == pytest.approx(0.75, abs=0.04)
    assert (rows == torch.tensor([2.0, 0.7])).all(1).double().mean().item() == pytest.approx(1 - share)


def test_imputation_of_a_model_that_knows_and_one_that_does_not(painted):
    assert imputation_accuracy(Painter(), painted).each == {"level": 1}
    assert imputation_accuracy(Painter(obeys=False), painted).mean == 0
    truth = painted.conditions.clone()
    truth[:100, 0] = NAN
    truth[100:200, 0] = (truth[100:200, 0] + 1) % 3
    data = Dataset("part", painted.images, truth, painted.schema)
    assert imputation_accuracy(Painter(), data, batch_size=77).mean == pytest.approx(200 / 300)
    assert imputation_accuracy(Painter(obeys=False), data).mean == pytest.approx(100 / 300)


def test_the_model_and_the_random_numbers_are_left_as_they_were(painted):
    model = Painter()
    model.dropout.eval()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = condition_accuracy(model, Reader(), painted, 50, seed=5)
    imputation_accuracy(model, painted)
    assert torch.equal(torch.rand(4), expected)
    assert model.training
    assert not model.dropout.training
    assert condition_accuracy(model, Reader(), painted, 50, seed=5) == first


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda data: condition_accuracy(Painter(), Reader(), data, 0), "at least 1; got 0"),
        (lambda data: condition_accuracy(Painter(), Reader(), data.hide(1.0, seed=0)), "all known in some row"),
        (lambda data: condition_accuracy(Painter(), Reader(), data.select([])), "none in painted"),
        (lambda data: imputation_accuracy(Painter(), data.select([])), "painted has none"),
        (lambda data: imputation_accuracy(Painter(), data.subset(slice(0))), "got 0 and 500"),
        (lambda data: agreement(data.conditions[:, :1], data.conditions, data.schema), r"got \(400, 1\)"),
    ],
)
def test_wrong_arguments_are_refused(painted, call, message):
    with pytest.raises(ValueError, match=message):
        call(painted)
