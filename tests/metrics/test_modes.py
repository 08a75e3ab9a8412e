"""Counting modes, by hand and of a model that paints them."""

import math

import pytest
import torch
from torch import Tensor, nn

from googol.data import Condition
from googol.metrics import Classifier, count_modes, modes

DIGITS = Condition("digit", tuple("012"))


class Bright(Classifier):
    """Sees the class of an image in its brightness: 0, ½ or 1, and that of its last pixel."""

    def predict(self, x: Tensor) -> Tensor:
        return torch.stack([(2 * x[:, 0, 0, 0]).round(), (2 * x[:, 0, 0, 0]), (2 * x[:, 0, -1, -1]).round()], 1)


class Painter(nn.Module):
    """Paints only the classes in a list, as often as they are in it."""

    def __init__(self, classes: list[tuple[int, int]]) -> None:
        super().__init__()
        self.classes = torch.tensor(classes) / 2

    def sample(self, n: int) -> Tensor:
        chosen = self.classes[torch.arange(n) % len(self.classes)]
        x = torch.zeros(n, 1, 4, 4)
        x[:, 0, 0, 0], x[:, 0, -1, -1] = chosen.unbind(1)
        return x


def test_modes_of_a_model_are_combinations_of_its_categorical_conditions() -> None:
    schema = [DIGITS, Condition("ink", None), Condition("corner", ("a", "b", "c"))]
    found = modes(Painter([(0, 0), (1, 2), (1, 2), (2, 2)]), Bright((1, 4, 4), schema), 400, batch_size=64)
    shares = [0.25, 0.5, 0.25]
    assert found[:2] == (3, 9)
    assert found.divergence == pytest.approx(sum(p * math.log(9 * p) for p in shares))


def test_uniform_and_single_modes_are_the_extremes() -> None:
    every = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    assert count_modes(every, [3, 4]) == (12, 12, pytest.approx(0, abs=1e-6))
    assert count_modes(every[:1].expand(9, -1), [3, 4]) == (1, 12, pytest.approx(math.log(12)))


@pytest.mark.parametrize("values", [torch.zeros(0, 2), torch.zeros(3, 1), torch.zeros(3)])
def test_mistakes(values: Tensor) -> None:
    with pytest.raises(ValueError, match="a value for each of 2 conditions"):
        count_modes(values, [2, 2])
    with pytest.raises(ValueError, match="a categorical condition and at least one image; got 0 and 5"):
        modes(Painter([(0, 0)]), Bright((1, 4, 4), [Condition("ink", None)]), 5)
