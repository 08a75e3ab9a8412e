"""Precision, recall, density and coverage against their definitions, one pair of vectors at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from googol.metrics import neighbourhoods, neighbours


def by_hand(real: Tensor, generated: Tensor, k: int) -> tuple[float, float, float, float]:
    def distance(a: Tensor, b: Tensor) -> float:
        return float((a - b).square().sum().sqrt())

    def radius(i: int, vectors: Tensor) -> float:
        return sorted(distance(vectors[i], other) for j, other in enumerate(vectors) if j != i)[k - 1]

    balls = [radius(i, real) for i in range(len(real))]
    inside = [[distance(x, y) <= r for x, r in zip(real, balls, strict=True)] for y in generated]
    other = [radius(j, generated) for j in range(len(generated))]
    recalled = [any(distance(x, y) <= r for y, r in zip(generated, other, strict=True)) for x in real]
    n, m = len(real), len(generated)
    return (
        sum(map(any, inside)) / m,
        sum(recalled) / n,
        sum(map(sum, inside)) / (k * m),
        sum(any(row[i] for row in inside) for i in range(n)) / n,
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(4, 12), st.integers(4, 12), st.integers(1, 3), st.integers(0, 2**31), st.sampled_from([0.3, 3.0]))
def test_the_definitions(n: int, m: int, k: int, seed: int, shift: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    real, generated = (torch.randn(size, 3, generator=generator, dtype=torch.float64) for size in (n, m))
    torch.testing.assert_close(tuple(neighbourhoods(real, generated + shift, k=k)), by_hand(real, generated + shift, k))


def test_far_from_the_origin_distances_are_the_same() -> None:
    torch.manual_seed(0)
    real, generated = torch.randn(2, 300, 16).mul(64).round() / 64  # so that the sums are exact
    assert neighbourhoods(real + 1000, generated + 1000) == neighbourhoods(real, generated)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    real, generated = torch.randn(50, 4), torch.randn(40, 4)
    whole = neighbourhoods(real, generated)
    monkeypatch.setattr(neighbours, "_ROWS", 7)
    assert neighbourhoods(real, generated) == whole


def test_a_forgotten_half_shows_in_recall_and_coverage_alone() -> None:
    torch.manual_seed(0)
    real = torch.cat([torch.randn(300, 2), torch.randn(300, 2) + 20])
    found = neighbourhoods(real, torch.randn(600, 2))
    assert found.precision > 0.9
    assert found.recall < 0.55
    assert found.coverage < 0.55


MISTAKES = [
    (torch.zeros(9, 2), torch.zeros(9, 3), "vectors of one length"),
    (torch.zeros(9), torch.zeros(9), "vectors of one length"),
    (torch.zeros(5, 2), torch.zeros(9, 2), "more than k ≥ 1 vectors"),
    (torch.zeros(9, 2), torch.zeros(0, 2), "more than k ≥ 1 vectors"),
]


@pytest.mark.parametrize(("real", "generated", "message"), MISTAKES)
def test_mistakes(real: Tensor, generated: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        neighbourhoods(real, generated)
