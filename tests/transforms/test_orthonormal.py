"""Matrices made orthonormal."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from googol.transforms import orthonormal


def matrices(batch: int, rows: int, columns: int, *, near: float | None = None, seed: int = 0) -> Tensor:
    """Random ones, float64; the last two columns may be as near as that."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(batch, rows, columns, generator=generator, dtype=torch.float64)
    if near is not None:
        a[..., -1] = a[..., -2] + near * a[..., -1]
    return a


def polar(a: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(normalize(a, dim=-2), full_matrices=False)
    return left @ right


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 100))
def test_is_the_polar_factor(rows, columns, seed):
    a = matrices(3, max(rows, columns), min(rows, columns), seed=seed)
    torch.testing.assert_close(orthonormal(a), polar(a), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("near", [None, 1e-2, 1e-4, 1e-6, 0.0])
@pytest.mark.parametrize("shape", [(40, 8), (40, 32), (40, 40), (5, 2)])
def test_columns_are_orthonormal_in_float32(shape, near):
    q = orthonormal(matrices(50, *shape, near=near).float())
    assert (q.mT @ q - torch.eye(shape[1])).abs().max() < 1e-6


def test_finite_where_columns_are_zero_or_equal():
    a = matrices(3, 4, 2).float()
    a[0, :, 0] = 0
    a[1] = 1
    a.requires_grad_()
    q = orthonormal(a)
    (gradient,) = torch.autograd.grad(q[..., 0, :].sum(), a)
    assert (q.mT @ q - torch.eye(2)).abs().max() < 1e-6
    assert gradient.isfinite().all()


@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (4, 1), (1, 1)])
def test_gradient(shape):
    assert torch.autograd.gradcheck(orthonormal, matrices(2, *shape).requires_grad_())


def test_rows_of_a_batch_do_not_disturb_each_other():
    a = matrices(4, 6, 3)
    a[2, :, 1] = a[2, :, 0]
    one_by_one = torch.stack([orthonormal(each) for each in a])
    torch.testing.assert_close(orthonormal(a), one_by_one)
