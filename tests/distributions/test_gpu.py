"""The Triton kernel against the products of PyTorch's operations: on a GPU, or else by Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

from googol.distributions.chain import Chain
from googol.distributions.products import MatrixProduct, VectorProduct

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton")
from googol.distributions import gpu

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("boundary", ["ring", "train"])
@pytest.mark.parametrize(("n", "rows", "components", "m"), [(1, 2, 1, 2), (7, 5, 3, 4), (12, 3, 10, 20)])
def test_products_and_gradients_are_those_of_pytorch(boundary, n, rows, components, m):
    torch.manual_seed(0)
    cores = torch.rand(n, components, m, m, device=DEVICE)
    log_weights = 3 * torch.randn(n, rows, components, device=DEVICE)
    log_scale = torch.randn(n, components, device=DEVICE)
    lines = m if boundary == "ring" else 1
    direction = torch.linspace(-1, 2, rows * lines * m, device=DEVICE).view(rows, lines, m)
    results = []
    for by_triton in (True, False):
        leaves = log_weights.clone().requires_grad_(), cores.clone().requires_grad_()
        weights = leaves[0] + log_scale.unsqueeze(1)
        if by_triton:
            product, total, bound = (
                x[0] for x in gpu.TritonProduct.apply(leaves[0], log_scale, leaves[1], lines, True)
            )
            without = gpu.TritonProduct.apply(log_weights, log_scale, cores, lines, False)
            for kept, other in zip((product, total, bound), without, strict=True):
                # Two programs of a compiler may differ in the last digit.
                torch.testing.assert_close(kept, other[0], rtol=1e-6 if DEVICE == "cuda" else 0, atol=0)
        elif boundary == "ring":
            parts = MatrixProduct.apply(weights.unsqueeze(1), leaves[1].flatten(-2).unsqueeze(1), m, True)
            product, total, _ = (x[0] for x in parts)
        else:
            vector, total, _ = VectorProduct.apply(weights, leaves[1], True)
            product = vector.unsqueeze(1)
        results.append((product.detach(), total, *torch.autograd.grad(product, leaves, direction)))
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4 * max(1.0, expected.abs().amax().item()))


@pytest.mark.parametrize("boundary", ["ring", "train"])
@pytest.mark.parametrize(("n", "components", "m"), [(100, 5, 8), (6, 3, 40)])
def test_long_chains_and_large_ranks_against_double_precision(boundary, n, components, m):
    torch.manual_seed(0)
    log_cores = torch.randn(n, components, m, m, device=DEVICE)
    log_weights = 3 * torch.randn(n, components, 2, device=DEVICE).mT  # not one row after the other in memory
    chain = Chain(log_cores, boundary)
    lines = m if boundary == "ring" else 1
    parts = gpu.TritonProduct.apply(log_weights, chain.log_scale, chain.cores, lines, False)
    log_sums = chain.close(parts[0][0]).double().log() + parts[1][0]
    expected = Chain(log_cores.double(), boundary).log_sum(log_weights.double())
    torch.testing.assert_close(log_sums, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("boundary", ["ring", "train"])
def test_what_was_discarded_is_bounded(boundary):
    """A block that the first variable rules out, and that grows until it is all that counts."""
    log_cores = torch.full((60, 2, 10, 10), -torch.inf, device=DEVICE)
    log_cores[:, :, 0, 0] = -0.7
    log_cores[:, :, 1:, 1:] = 0.0
    log_cores[0, 0, 1:] = log_cores[0, 1, 0] = -torch.inf
    chain = Chain(log_cores, boundary)
    log_weights = torch.zeros(60, 2, 2, device=DEVICE)
    log_weights[0, 0, 1] = -120.0
    lines = 10 if boundary == "ring" else 1
    _, total, _ = gpu.TritonProduct.apply(log_weights, chain.log_scale, chain.cores, lines, False)
    assert total[0, 0] == -torch.inf
    assert total[0, 1].isfinite()


def test_where_triton_cannot_make_kernels_others_take_over(monkeypatch):
    class Broken:
        def __getitem__(self, grid: object) -> object:
            raise RuntimeError("no C compiler")

    gpu.works.cache_clear()
    assert gpu.works(torch.device(DEVICE))
    gpu.works.cache_clear()
    monkeypatch.setattr(gpu, "_forward", Broken())
    with pytest.warns(UserWarning, match="Triton cannot make them: no C compiler"):
        assert not gpu.works(torch.device(DEVICE))
    assert not gpu.works(torch.device(DEVICE))  # told once
    gpu.works.cache_clear()
