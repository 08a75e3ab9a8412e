"""Gradients of conditional distribution functions: by kernels, by PyTorch's operations, by autograd of the formula."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from googol.distributions.conditionals import Conditionals

SIZES = {
    "n": st.integers(1, 9),
    "samples": st.integers(1, 20),
    "rows": st.sampled_from([1, 3]),
    "components": st.integers(1, 6),
    "m": st.integers(1, 11),
    "boundary": st.sampled_from(["ring", "train"]),
    "threads": st.sampled_from([1, 2]),
    "seed": st.integers(0, 2**16),
}


def conditionals(
    n: int, samples: int, rows: int, components: int, m: int, boundary: str, dtype: torch.dtype
) -> Conditionals:
    batch = samples * rows

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, dtype=torch.float64).to(dtype)

    lines = m if boundary == "ring" else 1
    return Conditionals(
        cores=uniform(n, components, m, m) + 0.01,
        scale=uniform(n, components) + 0.01,
        weights=uniform(n, batch, components) + 0.01,
        cdf=uniform(n, batch, components),
        density=uniform(n, batch, components) + 0.1,
        slope=uniform(n, batch, components) - 0.5,
        after=uniform(n, rows, m, lines) + 0.01,
        is_open=torch.rand(n, batch) < 0.7,
    )


@settings(deadline=None)
@given(**SIZES, dtype=st.sampled_from([torch.float32, torch.float64]))
def test_kernel_and_pytorch_give_the_same(n, samples, rows, components, m, boundary, threads, seed, dtype):
    torch.manual_seed(seed)
    given_ = conditionals(n, samples, rows, components, m, boundary, dtype)
    by_value = torch.randn(n, samples * rows, dtype=dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GOOGOL_KERNELS", raising=False)
        ours = given_.gradients(by_value)
        patch.setenv("GOOGOL_KERNELS", "0")
        plain = given_.gradients(by_value)
    torch.set_num_threads(before)
    check(ours, plain, 1e-10 if dtype == torch.float64 else 1e-3)


def check(actual: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> None:
    largest = max(1.0, *(each.abs().max().item() for each in expected))
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * largest)


def total(c: Conditionals, cores: Tensor, weights: Tensor, cdf: Tensor, after: Tensor, factor: Tensor) -> Tensor:
    """The sum of all distribution functions, times these factors, by the formula alone."""
    lines, (n, batch) = after.shape[-1], factor.shape
    product = (torch.eye(lines) if lines > 1 or c.cores.shape[-1] == 1 else torch.ones(1, c.cores.shape[-1])).to(cores)
    product, result = product.expand(batch, -1, -1), cores.new_zeros(())
    for j in range(n):
        behind = after[j].repeat(batch // after.shape[1], 1, 1)
        masses = torch.einsum("bra,kac,bcr->bk", product, cores[j], behind) * c.scale[j]
        result = result + (factor[j] * (masses * cdf[j]).sum(-1) / masses.sum(-1)).sum()
        product = torch.einsum("bra,bk,kac->brc", product, weights[j], cores[j])
    return result


@settings(deadline=None, max_examples=30)
@given(**SIZES)
def test_gradients_are_those_of_the_formula(n, samples, rows, components, m, boundary, threads, seed):
    """The factors solve F_j = u_j for all values at once: they are found here by the inverse of the matrix of dF/dz."""
    torch.manual_seed(seed)
    c = conditionals(n, samples, rows, components, m, boundary, torch.float64)
    batch, by_value = samples * rows, torch.randn(n, samples * rows, dtype=torch.float64)
    values = torch.zeros(n, batch, dtype=torch.float64, requires_grad=True)
    # Values move the weights of the links, and the distribution functions by the densities.
    weights = c.weights * (values.unsqueeze(-1) * c.slope).exp()
    cdf = c.cdf + values.unsqueeze(-1) * c.density
    rows_of_matrix = []
    for j in range(n):
        factor = torch.zeros(n, batch, dtype=torch.float64)
        factor[j] = 1.0
        moved = total(c, c.cores, weights, cdf, c.after, factor)
        rows_of_matrix += torch.autograd.grad(moved, values, retain_graph=True)
    jacobian = torch.stack(rows_of_matrix).permute(2, 0, 1)  # (B, j, i): dF_j / dz_i
    factor = torch.zeros(n, batch, dtype=torch.float64)
    for b in range(batch):
        at = c.is_open[:, b]
        factor[at, b] = -torch.linalg.solve(jacobian[b][at][:, at].mT, by_value[at, b])
    leaves = [x.clone().requires_grad_() for x in (c.cores, c.weights, c.cdf, c.after)]
    expected = torch.autograd.grad(total(c, *leaves, factor), leaves, materialize_grads=True)
    check(c.gradients(by_value), expected, 1e-8)
