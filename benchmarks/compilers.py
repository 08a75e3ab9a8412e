"""The density of a ring as compilers make it of the formula: numba, torch.compile, and our kernel in C.

Run: ``python -m benchmarks.compilers``; writes ``results/bench/compilers.md``. numba is installed from the registry in
a folder of its own (``--folder``, by default a temporary one). It is given what one would write for it: a loop over the
rows, in which a link is formed and multiplied into the row's product, innermost along lines of matrices.
``torch.compile`` is given the plain algorithm of :mod:`benchmarks.plain`. All are timed in turns in one process,
without gradients, which numba would have to be given by hand.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers import install
from benchmarks.plain import PlainRing
from benchmarks.tensor_ring import OUT
from benchmarks.timing import in_turns, markdown_table, write
from googol.distributions import Normal, TensorRing

COMPONENTS, BATCH = 10, 128
SIZES = ((16, 10), (16, 20), (16, 40), (100, 20))


def by_numba(numba: Any) -> Callable[..., Any]:
    """The compiled loop, of values, means, deviations, cores and an array for the results."""

    def density(values: Any, loc: Any, scale: Any, cores: Any, out: Any) -> None:
        links, components, m, _ = cores.shape
        for row in numba.prange(len(values)):
            product, total = np.eye(m, dtype=np.float32), 0.0
            link, following = np.empty((m, m), np.float32), np.empty((m, m), np.float32)
            for t in range(links):
                link[:] = 0.0
                for k in range(components):
                    z = (values[row, t] - loc[t, k]) / scale[t, k]
                    weight = np.exp(np.float32(-0.5) * z * z) / (scale[t, k] * np.float32(2.5066283))
                    for i in range(m):
                        for j in range(m):
                            link[i, j] += weight * cores[t, k, i, j]
                following[:] = 0.0
                for i in range(m):
                    for s in range(m):
                        for j in range(m):
                            following[i, j] += product[i, s] * link[s, j]
                largest = following.max()
                total += np.log(largest)
                for i in range(m):
                    for j in range(m):
                        product[i, j] = following[i, j] / largest
            trace = np.float32(0.0)
            for i in range(m):
                trace += product[i, i]
            out[row] = total + np.log(trace)

    compiled: Callable[..., Any] = numba.njit(parallel=True, fastmath=True)(density)
    return compiled


def densities(ring: TensorRing, numba: Any) -> dict[str, Callable[[Tensor], Any]]:
    """Functions of values ``(B, n)``, by name: log-densities, but for a constant."""
    plain, loop = PlainRing(ring), by_numba(numba)
    compiled = torch.compile(plain.log_prob, dynamic=False)
    (_, normal), *_ = ring._emissions().groups
    loc, scale = (x.detach().numpy() for x in (normal["loc"], normal["log_scale"].exp()))
    cores, joint = torch.stack(list(ring.cores)).detach().numpy(), ring()

    def numba_density(v: Tensor) -> Tensor:
        out = torch.empty(len(v))
        loop(v.numpy(), loc, scale, cores, out.numpy())
        return out

    return {"ours": joint.log_prob, "plain": plain.log_prob, "torch.compile": compiled, "numba": numba_density}


def main() -> None:
    """Measures, prints, and writes the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", default=None)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    install(["numba", "llvmlite"], given.folder)
    numba = importlib.import_module("numba")
    torch.set_num_threads(given.threads)
    numba.set_num_threads(given.threads)
    torch.manual_seed(0)
    lines = []
    for variables, rank in SIZES:
        functions = densities(TensorRing([Normal(COMPONENTS)] * variables, rank), numba)
        v, first, found = torch.randn(BATCH, variables), {}, {}
        with torch.no_grad():
            for name, density in functions.items():
                start = time.perf_counter()
                found[name] = density(v)
                first[name] = time.perf_counter() - start
            for name in functions:  # up to the constant that normalizes
                torch.testing.assert_close(*(x.double() - x.double().mean() for x in (found[name], found["ours"])),
                                           rtol=1e-3, atol=1e-2)  # fmt: skip
            times = in_turns({name: partial(density, v) for name, density in functions.items()}, seconds=15)
        lines += [
            [
                f"{variables}, rank {rank}",
                name,
                f"{1e3 * took:.1f}",
                f"{took / times['ours']:.1f}",
                f"{first[name]:.1f}",
            ]
            for name, took in times.items()
        ]
    header = ["variables", "compiled by", "ms", "of ours", "first call, s"]
    page = (
        "# The density of a ring, by compilers\n\n"
        f"`python -m benchmarks.compilers --threads {given.threads}`: N {COMPONENTS}, {BATCH} rows, float32, without "
        f"gradients, medians of runs in turns; numba {numba.__version__}, PyTorch {torch.__version__}.\n\n"
        f"{markdown_table(header, lines)}\n\n*Plain* is the published algorithm in PyTorch's operations; torch.compile "
        "is given the same, numba loops over rows, links and matrices.\n"
    )
    print(page)
    write(OUT / "compilers.md", page)


if __name__ == "__main__":
    main()
