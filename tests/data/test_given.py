"""Conditions in words: values, ranges and sets."""

import re

import pytest
import torch

from googol.data import Condition, parse_given
from googol.distributions import Event, Interval, OneOf

HAIR = Condition("hair", ("black", "blond", "brown"))
AGE = Condition("age", None)
INF = float("inf")


def test_given_leaves_the_rest_open() -> None:
    row = parse_given(["age = 30", "hair=blond", "age=30.0"], (HAIR, Condition("hat", ("0", "1")), AGE)).values
    assert row.dtype == torch.float32
    assert row.nan_to_num(-1).tolist() == [1, -1, 30]
    assert parse_given([], (HAIR, AGE)).values.isnan().all()
    assert parse_given([], ()).values.shape == (0,)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["hair"], "must be given as name=value, got 'hair'"),
        (["hiar=black"], "unknown condition 'hiar': expected one of 'hair', 'age'; did you mean 'hair'?"),
        (["=black"], "unknown condition ''"),
        (
            ["hair=Blond"],
            "unknown value of hair 'Blond': expected one of 'black', 'blond', 'brown'; did you mean",
        ),
        (["hair="], "unknown value of hair ''"),
        (["age=old"], "age is continuous: expected a finite number, got 'old'"),
        (["age=inf"], "age is continuous: expected a finite number, got 'inf'"),
        (["age=nan"], "age is continuous: expected a finite number, got 'nan'"),
        (["age=1e39"], "age is continuous: expected a number of single precision, got '1e39'"),
        (["hair=black", "age=3", "hair=brown"], "contradictory conditions: hair=black and hair=brown"),
        (["age=3..5", "age=4"], "contradictory conditions: age=3..5 and age=4"),
        (["age=.."], "a range of age must have a lower or an upper end, got '..'"),
        (["age=5..3"], "a range of age must not end before it begins, got '5..3'"),
        (["hair=brown..black"], "a range of hair must not end before it begins, got 'brown..black'"),
        (["age=3..old"], "age is continuous: expected a finite number, got 'old'"),
        (["age=3,4"], "age is continuous: expected a finite number, got '3,4'"),
        (["hair=blond,red"], "unknown value of hair 'red'"),
    ],
)
def test_impossible_conditions(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_given(texts, (HAIR, AGE))


@pytest.mark.parametrize(
    ("text", "number", "event"),
    [
        ("age=30..40", 1, Interval(30, 40)),
        ("age = -1.5 .. 2e1", 1, Interval(-1.5, 20)),
        ("age=30..", 1, Interval(30, INF)),
        ("age=..40", 1, Interval(-INF, 40)),
        ("hair=blond,black", 0, OneOf([0, 1])),
        ("hair=blond..brown", 0, Interval(1, 2)),
        ("hair=blond..", 0, Interval(1, 2)),
        ("hair=..blond", 0, Interval(0, 1)),
    ],
)
def test_ranges_and_sets(text: str, number: int, event: Event) -> None:
    given = parse_given([text], (HAIR, AGE))
    assert given.within == {number: event}
    assert given.values.isnan().all()
    assert given.knows(number)
    assert not given.knows(1 - number)


def test_a_range_or_set_of_one_value_is_that_value() -> None:
    for text in ("hair=brown..brown", "hair=brown,brown", "hair=brown.."):
        given = parse_given([text, "age=3..3"], (HAIR, AGE))
        assert given.values.tolist() == [2, 3]
        assert not given.within


def test_a_value_whose_name_looks_like_a_range_is_itself() -> None:
    odd = Condition("odd", ("a", "a,b", "a..b"))
    assert parse_given(["odd=a,b"], [odd]).values.tolist() == [1]
    assert parse_given(["odd=a..b"], [odd]).values.tolist() == [2]


def test_a_value_takes_the_place_of_what_was_known() -> None:
    given = parse_given(["hair=blond,black", "age=3"], (HAIR, AGE)).with_value(0, 2.0)
    assert given.values.tolist() == [2, 3]
    assert not given.within
