"""The triangular solve on a grid against the dense one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from googol.distributions.grid_solve import grid_solve


def random_system(rows: int, columns: int, batch: tuple[int, ...] = ()) -> list[Tensor]:
    """Coefficients and a right-hand side in float64."""
    shapes = [(rows, columns), (rows, columns - 1), (rows - 1, columns), (rows, columns)]
    diagonal, right, below, rhs = (torch.randn(*batch, *shape, dtype=torch.double) for shape in shapes)
    return [diagonal.abs() + 0.5, right, below, rhs]


def dense(diagonal: Tensor, right: Tensor, below: Tensor) -> Tensor:
    """The matrix of the system, entry by entry."""
    rows, columns = diagonal.shape
    matrix = torch.zeros(rows * columns, rows * columns, dtype=diagonal.dtype)
    for r in range(rows):
        for c in range(columns):
            i = r * columns + c
            matrix[i, i] = diagonal[r, c]
            if c + 1 < columns:
                matrix[i, i + 1] = right[r, c]
            if r + 1 < rows:
                matrix[i, i + columns] = below[r, c]
    return matrix


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_agrees_with_the_dense_solve(rows, columns, seed):
    torch.manual_seed(seed)
    *coefficients, rhs = random_system(rows, columns)
    expected = torch.linalg.solve(dense(*coefficients), rhs.flatten()).reshape(rows, columns)
    torch.testing.assert_close(grid_solve(*coefficients, rhs), expected, rtol=1e-8, atol=1e-8)


@given(st.integers(1, 200))
def test_a_chain_of_any_length_is_cut_into_blocks_and_joined(length):
    torch.manual_seed(length)
    diagonal, right, below, rhs = random_system(length, 1)
    u = grid_solve(diagonal, right, below, rhs)
    back = diagonal * u
    back[:-1] += below * u[1:]
    torch.testing.assert_close(back, rhs, rtol=1e-9, atol=1e-9 * max(1.0, u.abs().max().item()))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 4), (7, 1), (4, 3), (2, 5)])
def test_first_and_second_gradients(rows, columns):
    torch.manual_seed(0)
    diagonal, right, below, rhs = (t.requires_grad_() for t in random_system(rows, columns, (2,)))
    several = rhs.detach()[:, None].repeat(1, 3, 1, 1).transpose(0, 1).requires_grad_()
    assert torch.autograd.gradcheck(grid_solve, (diagonal, right, below, several))
    assert torch.autograd.gradgradcheck(grid_solve, (diagonal, right, below, rhs))


def test_leading_dimensions_broadcast():
    torch.manual_seed(0)
    diagonal, right, below, rhs = random_system(4, 3, (5,))
    joint = grid_solve(diagonal, right[0], below[:1], rhs[:, None].expand(5, 2, 4, 3).transpose(0, 1))
    for i in range(5):
        one = grid_solve(diagonal[i], right[0], below[0], rhs[i])
        torch.testing.assert_close(joint[:, i], one.expand(2, 4, 3))


@pytest.mark.parametrize("slope", [-3.0, 3.0])
def test_growing_solutions_are_as_precise_as_the_number_format(slope):
    torch.manual_seed(0)
    rhs = torch.randn(60, 1)
    system = (torch.ones(60, 1), torch.zeros(60, 0), torch.full((59, 1), slope))
    exact = grid_solve(*(t.double() for t in (*system, rhs)))
    assert exact.abs().max() > 1e25
    torch.testing.assert_close(grid_solve(*system, rhs).double(), exact, rtol=1e-4, atol=0)


def test_nothing_is_kept_but_the_solution_and_the_coefficients():
    system = [t.requires_grad_() for t in random_system(2000, 1)]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda t: None):
        grid_solve(*system)
    assert sum(kept) <= 4 * 2000


@pytest.mark.parametrize(("rows", "columns"), [(6, 1), (3, 4)])
def test_function_transforms(rows, columns):
    """`torch.func` differentiates it and maps it over batches."""
    torch.manual_seed(0)
    batches = random_system(rows, columns, (5,))

    def value(*system: Tensor) -> Tensor:
        return grid_solve(*system).sin().sum()

    found = torch.func.vmap(torch.func.grad(value, argnums=(0, 1, 2, 3)))(*batches)
    leaves = [tensor.requires_grad_() for tensor in batches]
    for actual, expected in zip(found, torch.autograd.grad(value(*leaves), leaves), strict=True):
        torch.testing.assert_close(actual, expected)
