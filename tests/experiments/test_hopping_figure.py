"""Mode hopping: every column is a code of component means, a few indices further than the one before."""

import pytest
import torch

from googol.distributions import Categorical, Normal, TensorRing
from googol.experiments.hopping_figure import hops


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [3, 0, 5, 1, 4, 2]])
def test_indices_change_along_the_chain(order: list[int]) -> None:
    torch.manual_seed(0)
    variables = [Normal(4) for _ in range(5)] + [Categorical(3)]
    ring = TensorRing(variables, rank=3, order=order)
    codes = hops(ring, 5, rows=7, columns=6)
    means = ring().component_means
    assert means.shape == (6, 4)
    for j in range(5):
        assert torch.isin(codes[..., j], means[j]).all()
    along = [position for position in order if position < 5]
    for column in range(6):
        new, old = along[:column], along[column:]
        assert torch.equal(codes[:, column, new], codes[:, -1, new])
        assert torch.equal(codes[:, column, old], codes[:, 0, old])
    assert not torch.equal(codes[:, 0], codes[:, -1])


@pytest.mark.parametrize(("rows", "columns"), [(0, 4), (2, 1)])
def test_mistakes(rows: int, columns: int) -> None:
    with pytest.raises(ValueError, match="at least one row and two columns"):
        hops(TensorRing([Normal(2)] * 2, rank=2), 2, rows=rows, columns=columns)
