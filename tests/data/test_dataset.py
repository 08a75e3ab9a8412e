from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from googol.data import Condition, Dataset
from googol.data.dataset import Noise

HAIR = Condition("hair", ("black", "blond", "brown"))
AGE = Condition("age", None)
NAN = torch.nan


def dataset(conditions: Tensor, *schema: Condition) -> Dataset:
    images = torch.arange(len(conditions) * 6).to(torch.uint8).reshape(-1, 1, 2, 3)
    return Dataset("made", images, conditions, schema)


def test_categories_are_encoded_by_index() -> None:
    assert [HAIR.encode(value) for value in ("black", "blond", "brown")] == [0, 1, 2]
    assert [HAIR.decode(index) for index in (0.0, 1.0, 2.0)] == ["black", "blond", "brown"]
    assert HAIR.is_categorical
    assert not AGE.is_categorical
    assert HAIR.decode(NAN) == AGE.decode(NAN) == ""


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_numbers_survive_decoding(number: float) -> None:
    assert torch.tensor(AGE.encode(AGE.decode(number))) == torch.tensor(number)


def test_pixels_subset_and_select() -> None:
    data = dataset(torch.tensor([[0.0, 31.5], [2.0, NAN], [NAN, 7.0]]), HAIR, AGE)
    assert (len(data), data.image_shape, data.names) == (3, (1, 2, 3), ("hair", "age"))
    assert torch.equal(data.pixels(torch.tensor([2, 0])) * 255, data.images[[2, 0]].float())
    assert data.pixels().dtype == torch.float32
    assert torch.equal(data.images[0], torch.arange(6).reshape(1, 2, 3))  # not changed in place
    part = data.subset(torch.tensor([1]))
    assert torch.equal(part.images, data.images[1:2])
    assert torch.equal(part.conditions.nan_to_num(-1), torch.tensor([[2.0, -1.0]]))
    swapped = data.select(["age", "hair"])
    assert swapped.schema == (AGE, HAIR)
    assert torch.equal(swapped.conditions.nan_to_num(-1), data.conditions[:, [1, 0]].nan_to_num(-1))
    assert data.select([]).conditions.shape == (3, 0)


@given(
    n=st.integers(0, 60),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 2**33),
    missing=st.integers(0, 2**60),
)
def test_hide_takes_an_exact_share_of_what_is_known(n: int, fraction: float, seed: int, missing: int) -> None:
    conditions = torch.arange(2.0 * n).reshape(n, 2)
    conditions[[row for row in range(n) if missing >> row & 1], 0] = NAN
    data = dataset(conditions.clone(), AGE, Condition("height", None))
    hidden = data.hide(fraction, seed=seed).conditions
    known_before, known_after = ~conditions.isnan(), ~hidden.isnan()
    assert torch.equal(data.conditions.nan_to_num(-1), conditions.nan_to_num(-1))
    assert not (known_after & ~known_before).any()
    assert torch.equal(hidden[known_after], conditions[known_after])
    for before, after in zip(known_before.sum(0).tolist(), known_after.sum(0).tolist(), strict=True):
        assert before - after == round(fraction * before)
    more = data.hide((1 + fraction) / 2, seed=seed).conditions
    assert not (~more.isnan() & hidden.isnan()).any()


def noisy(noise: Noise, *levels: int, copies: int = 40_000) -> Dataset:
    images = torch.tensor(levels, dtype=torch.uint8).reshape(1, 1, 1, -1).repeat(copies, 1, 1, 1)
    return Dataset("made", images, torch.zeros(copies, 0), (), noise=noise)


def test_binarised_anew_at_each_reading() -> None:
    data = noisy("binarize", 0, 51, 204, 255)
    torch.manual_seed(1)
    first, second = data.pixels().flatten(1), data.pixels().flatten(1)
    assert first.unique().tolist() == [0, 1]
    share = torch.tensor([0, 0.2, 0.8, 1])
    assert (first.mean(0) - share).abs().max() < 0.01  # 5 standard deviations
    assert ((first * second).mean(0) - share**2).abs().max() < 0.0125  # independent
    torch.manual_seed(1)
    assert torch.equal(data.pixels().flatten(1), first)
    assert data.images.unique().tolist() == [0, 51, 204, 255]


def test_dequantised_levels_keep_to_their_intervals() -> None:
    levels = torch.arange(256)
    data = noisy("none", *levels.tolist(), copies=2000).dequantized()
    torch.manual_seed(2)
    x = data.pixels().flatten(1)
    assert x.dtype == torch.float32
    assert x.min() > 0
    assert x.max() < 1
    assert x.logit().isfinite().all()
    # Rounding in float32 may bring the largest values of an interval to the next one's start.
    assert (x.double() * 256 >= levels).all()
    assert (x.double() * 256 <= levels + 1).all()
    rest = x.double() * 256 - levels
    assert (rest.mean(0) - 0.5).abs().max() < 0.035  # 5 standard deviations
    assert (rest.var(0) - 1 / 12).abs().max() < 0.009
    assert not torch.equal(data.pixels().flatten(1), x)


def test_extremes_of_the_uniform_numbers_stay_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    data = noisy("dequantize", 0, 255, copies=1)
    for extreme in (0.0, 1 - 2**-24):
        monkeypatch.setattr(torch, "rand_like", lambda x, u=extreme: torch.full_like(x, u))
        assert ((data.pixels() > 0) & (data.pixels() < 1)).all()


def test_what_is_known_of_the_images_stays() -> None:
    data = replace(noisy("none", 3, copies=4), exact=False, remark="made up")
    for other in (data.dequantized(), data.subset(slice(2)), data.select([]), data.hide(0.5, seed=0)):
        assert (other.exact, other.remark) == (False, "made up")
    assert data.dequantized().subset(slice(2)).noise == data.dequantized().dequantized().noise == "dequantize"
    assert data.noise == "none"
    with pytest.raises(ValueError, match="must have levels of grey, but those of made are binarised"):
        noisy("binarize", 3).dequantized()


def test_hide_differs_by_seed_and_column() -> None:
    data = dataset(torch.zeros(100, 2), AGE, Condition("height", None))
    first, second = data.hide(0.5, seed=1).conditions.isnan(), data.hide(0.5, seed=2).conditions.isnan()
    assert not torch.equal(first, second)
    assert not torch.equal(first[:, 0], first[:, 1])
    assert torch.equal(first, data.hide(0.5, seed=1).conditions.isnan())


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("", None, "must not be empty or have a '='"),
        ("a=b", None, "must not be empty or have a '='"),
        ("a", ("x",), "must have at least two values"),
        ("a", ("x", "y", "x"), "must be distinct"),
    ],
)
def test_impossible_schema(name: str, values: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Condition(name, values)


@pytest.mark.parametrize(("condition", "number"), [(HAIR, 3.0), (HAIR, 0.5), (HAIR, -1.0), (AGE, float("inf"))])
def test_numbers_that_stand_for_nothing(condition: Condition, number: float) -> None:
    with pytest.raises(ValueError, match=f"does not stand for a value of {condition.name}"):
        condition.decode(number)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": torch.zeros(2, 1, 2, 3)}, "images must be uint8 of shape"),
        ({"images": torch.zeros(2, 2, 3, dtype=torch.uint8)}, "images must be uint8 of shape"),
        ({"conditions": torch.zeros(3, 2)}, r"conditions must be float32 of shape \(2, 2\), got .*\(3, 2\)"),
        ({"conditions": torch.zeros(2, 2).double()}, "conditions must be float32"),
        ({"conditions": torch.tensor([[3.0, 0], [0, 0]])}, "'hair' must be one of 0 … 2 or NaN, got 3"),
        ({"conditions": torch.tensor([[0.5, 0], [0, 0]])}, "'hair' must be one of 0 … 2 or NaN, got 0.5"),
        ({"conditions": torch.tensor([[0, 0], [0, torch.inf]])}, "'age' must be finite or NaN, got inf"),
        ({"files": ("a.png",)}, "files must be the names of all 2 images, got 1"),
        ({"schema": (AGE, AGE)}, "names of the conditions must be distinct"),
        ({"noise": "binarise"}, "unknown noise 'binarise': expected one of 'none', 'binarize', 'dequantize'; did you"),
    ],
)
def test_impossible_datasets(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(dataset(torch.zeros(2, 2), HAIR, AGE), **changed)


def test_refusals_of_methods() -> None:
    data = dataset(torch.zeros(2, 2), HAIR, AGE)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 1.5"):
        data.hide(1.5, seed=0)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got nan"):
        data.hide(NAN, seed=0)
    with pytest.raises(ValueError, match="seed must be at least 0"):
        data.hide(0.5, seed=-1)
    with pytest.raises(ValueError, match=r"unknown condition of made 'Hair'.*did you mean 'hair'"):
        data.select(["Hair"])
    with pytest.raises(ValueError, match="must be distinct"):
        data.select(["hair", "hair"])


def test_kept_labels_are_balanced_nested_and_true() -> None:
    hair = torch.tensor([0.0] * 50 + [1.0] * 30 + [2.0] * 3 + [torch.nan] * 17)
    data = dataset(torch.stack([hair, torch.arange(100.0)], 1), HAIR, AGE)
    few, more = (data.keep(count, seed=1).conditions for count in (12, 40))
    assert [(few[:, 0] == value).sum().item() for value in range(3)] == [5, 4, 3]
    assert [(more[:, 0] == value).sum().item() for value in range(3)] == [19, 18, 3]
    assert (~few.isnan()).sum(0).tolist() == [12, 12]
    assert not (~few.isnan() & more.isnan()).any()
    assert torch.equal(few[~few.isnan()], data.conditions[~few.isnan()])
    assert not torch.equal(few.isnan(), data.keep(12, seed=2).conditions.isnan())


@pytest.mark.parametrize("count", [0, 84])
def test_too_many_labels_to_keep(count: int) -> None:
    data = dataset(torch.tensor([[0.0]] * 83 + [[torch.nan]] * 17), HAIR)
    with pytest.raises(ValueError, match=f"hair has 83 known entries to keep some of, got {count}"):
        data.keep(count, seed=0)
