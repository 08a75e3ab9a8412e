"""Time and memory of normals with sparse precision beside a dense one: a draw, its log-density, and both's gradients.

    python -m benchmarks.sparse_normal

Writes ``results/bench/sparse_normal.md`` and ``.json``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from benchmarks.tensor_ring import OUT
from benchmarks.timing import Job, in_turns, machine, markdown_table, peak_memory, write, write_json
from googol.distributions import SparseNormal

BATCH = 16
WIDTH = 16
SIZES = (16, 64, 256, 1024, 4096, 16384, 65536)
# Beyond these a batch of what is not linear takes gigabytes; a grid is narrow only from some length on.
LARGEST = {"dense": 1024, "grid, square": 4096}
SMALLEST = {f"grid, {WIDTH} wide": WIDTH**2}


def sides(structure: str, d: int) -> tuple[int, int]:
    """Rows and columns."""
    if structure == "chain":
        return 1, d
    columns = math.isqrt(d) if "square" in structure else WIDTH
    return d // columns, columns


def job(structure: str, d: int) -> Job:
    """A draw, its log-density and the gradient in all parameters, as in a step of training."""
    if structure == "dense":
        loc, factor = torch.randn(BATCH, d), torch.randn(BATCH, d, d).div(math.sqrt(d)).tril(-1) + torch.eye(d)
        parameters = [loc, factor]
    else:
        loc, links = torch.randn(3, BATCH, *sides(structure, d)), torch.randn(2, BATCH, *sides(structure, d))
        parameters = [loc[0], loc[1].exp(), *links[: 1 if structure == "chain" else 2]]
    parameters = [t.requires_grad_() for t in parameters]

    def normal(loc: Tensor, scale: Tensor, *links: Tensor) -> Distribution:
        if structure == "dense":
            return MultivariateNormal(loc, scale_tril=scale, validate_args=False)
        kind = structure.split(",")[0].replace(" ", "-")
        return SparseNormal.bounded(kind, loc, scale, *links, validate_args=False)  # type: ignore[arg-type]

    def run() -> None:
        q = normal(*parameters)
        torch.autograd.grad(q.log_prob(q.rsample()).sum(), parameters)

    return run


def main() -> None:
    """Measures, prints, and writes the page."""
    # One thread: nearly all operations are too small to be worth a second.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    structures = ["chain", "extended grid, square", f"grid, {WIDTH} wide", "grid, square", "dense"]
    times: dict[str, dict[int, float]] = {structure: {} for structure in structures}
    memory: dict[str, dict[int, int]] = {structure: {} for structure in structures}
    for d in SIZES:
        jobs = {of: job(of, d) for of in structures if SMALLEST.get(of, 0) <= d <= LARGEST.get(of, d)}
        for structure, seconds in in_turns(jobs, seconds=8).items():
            times[structure][d] = seconds
            memory[structure][d] = peak_memory(jobs[structure])

    def table(measured: dict[str, dict[int, float]] | dict[str, dict[int, int]], unit: float) -> str:
        rows = [[str(d), *(f"{m[d] * unit:.3g}" if d in m else "" for m in measured.values())] for d in SIZES]
        return markdown_table(["d", *structures], rows)

    per_variable = {structure: {d: t / d for d, t in of.items()} for structure, of in times.items()}
    page = (
        "# Normals with sparse precision beside a dense one\n\n"
        "`python -m benchmarks.sparse_normal`: one draw, its log-density and the gradient in all parameters, "
        f"batch {BATCH}, float32,\nmedians of runs in turns, one thread. The dense normal is given by its factor and "
        "need not compute one. Left out is what\ntakes too much memory, and what is no narrow grid.\n\n"
        f"Milliseconds:\n\n{table(times, 1e3)}\n\n"
        f"Microseconds a variable:\n\n{table(per_variable, 1e6)}\n\n"
        f"Megabytes that tensors take at most:\n\n{table(memory, 1e-6)}\n"
    )
    print(page)
    write(OUT / "sparse_normal.md", page)
    write_json(OUT / "sparse_normal.json", {"machine": machine(), "seconds": times, "bytes": memory})


if __name__ == "__main__":
    main()
