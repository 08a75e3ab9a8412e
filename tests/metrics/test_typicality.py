"""Typicality against its promise, and the area under the curve against a count and torchmetrics."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_auroc

from googol.metrics import auroc, typicality

SCORES = st.lists(st.sampled_from([-math.inf, -900.0, -100.5, -100.0, -1.0, 0.0, 7.0]), min_size=1, max_size=12)


@given(SCORES, SCORES)
def test_typicality_counts(scores, calibration):
    found = typicality(torch.tensor(scores), torch.tensor(calibration))
    expected = [(1 + sum(c <= s for c in calibration)) / (len(calibration) + 1) for s in scores]
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("levels", [3, 10**6], ids=["many ties", "no ties"])
@pytest.mark.parametrize("n", [9, 99])
def test_an_exchangeable_example_is_seldom_untypical(n, levels):
    """P(typicality ≤ α) ≤ α; without ties it is the share of the n + 1 ranks."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(levels, (20_000, n + 1), generator=generator).double()
    found = torch.cat([typicality(row[:1], row[1:]) for row in scores])
    for alpha in (0.1, 0.3, 0.5):
        share, error = (found <= alpha + 1e-9).double().mean().item(), 4 * math.sqrt(alpha * (1 - alpha) / 20_000)
        assert share <= alpha + error
        if levels > 3:
            assert share >= alpha - error


@given(SCORES, SCORES)
def test_auroc_counts_pairs(known, strangers):
    pairs = [(a > b) + 0.5 * (a == b) for a in known for b in strangers]
    assert auroc(torch.tensor(known), torch.tensor(strangers)) == pytest.approx(sum(pairs) / len(pairs))


def test_auroc_is_that_of_torchmetrics_where_its_sigmoid_is_not_used():
    known, strangers = torch.rand(300), torch.rand(200).square()
    target = torch.cat([torch.ones(300), torch.zeros(200)]).long()
    expected = binary_auroc(torch.cat([known, strangers]), target).item()
    assert auroc(known, strangers) == pytest.approx(expected, abs=1e-6)
    assert auroc(known - 1000, strangers - 1000) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: typicality(torch.zeros(3), torch.zeros(0)), r"n at least 1; got \(0,\)"),
        (lambda: typicality(torch.zeros(3), torch.zeros(2, 2)), r"got \(2, 2\)"),
        (lambda: typicality(torch.tensor([0.0, math.nan]), torch.zeros(2)), "scores without NaN; got 1 of 2"),
        (lambda: auroc(torch.zeros(0), torch.zeros(2)), "got 0 and 2"),
        (lambda: auroc(torch.zeros(2), torch.tensor([math.nan])), "strangers without NaN"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
