"""Speed and memory of the tensor ring beside the plain published algorithm, in one process and in turns.

Run: ``python -m benchmarks.tensor_ring``; writes ``results/bench/tensor_ring.md`` and ``.json``, and adds a line to
``results/bench/history.csv``. ``--grid`` measures densities for every number of variables, components, rank and batch
as well, which takes an hour, and writes ``grid.md``.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.plain import PlainRing
from benchmarks.timing import (
    Job,
    in_turns,
    machine,
    markdown_table,
    matrix_product_rate,
    peak_memory,
    write,
    write_json,
)
from googol.distributions import Categorical, Normal, TensorRing
from googol.distributions.blocks import Boundary

OUT = Path("results/bench")
VARIABLES = 100
Row = dict[str, float | str]
LIMITS = """What bounds the ratios: a large matrix product runs at the *matrix rate*, and the formula's own operations,
2 d B (m³ + N m²) of them for a density and three times as many with its gradient, take that long at least. The plain
algorithm runs at 12 to 20 % of the matrix rate at rank 20 and 40 and batch 128, so that a program at the full rate
would be 5 to 8 times faster there; at rank 10 the calls from Python and the components' densities are what is left.
Sampling given evidence forms a message for every value of the first bond of a ring, m³ operations a row and step, by
PyTorch's batched products, which reach half of the matrix rate for 20 × 20 while they are in cache. Where every row has
a pattern of its own there is a step for every variable: 10,000 rows of 110 variables took 3.5 s.
"""


def log_densities(
    components: int, rank: int, batch: int, variables: int = VARIABLES, boundary: Boundary = "ring", seconds: float = 8
) -> Iterator[Row]:
    """Forward, and forward with backward: times and memory."""
    ring = TensorRing([Normal(components)] * variables, rank, boundary)
    plain = PlainRing(TensorRing([Normal(components)] * variables, rank))
    v = torch.randn(batch, variables)
    size = f"N {components}, rank {rank}, batch {batch}"
    if variables != VARIABLES:
        size = f"{variables} variables, {size}"
    if boundary != "ring":
        size += f", a {boundary}"

    def forward(log_prob: str) -> None:
        with torch.no_grad():
            (ring() if log_prob == "ours" else plain).log_prob(v)

    def backward(log_prob: str) -> None:
        values = v.clone().requires_grad_()
        (ring() if log_prob == "ours" else plain).log_prob(values).sum().backward()

    product, operations = matrix_product_rate()
    for what, job in (("forward", forward), ("forward + backward", backward)):
        jobs: dict[str, Job] = {"ours": partial(job, "ours"), "plain": partial(job, "plain"), "product": product}
        times = in_turns(jobs, seconds=seconds)
        row: Row = {"what": f"{what}: {size}", "ours": times["ours"], "ratio": times["plain"] / times["ours"]}
        if what == "forward":
            own = 2.0 * variables * batch * ((rank if boundary == "ring" else 1) + components) * rank**2
            row["of the matrix rate"] = own / times["ours"] / (operations / times["product"])
        else:
            row["memory ratio"] = peak_memory(lambda: backward("plain")) / peak_memory(lambda: backward("ours"))
        yield row


def samples(rank: int, count: int, given: bool) -> Row:
    """Drawing, with or without ten observed discrete variables."""
    variables = [Normal(10)] * VARIABLES + [Categorical(2)] * 10 * given
    ring = TensorRing(variables, rank)
    plain = PlainRing(ring)
    evidence = None
    if given:
        evidence = torch.full((count, len(variables)), torch.nan)
        evidence[:, VARIABLES:] = torch.randint(2, (count, 10)).float()

    def ours() -> None:
        ring().sample((count,)) if evidence is None else ring().condition(evidence).sample()

    times = in_turns({"ours": ours, "plain": lambda: plain.sample(count, evidence)}, seconds=8, at_least=1)
    what = f"sampling {count}{', ten observed' if given else ''}: rank {rank}"
    return {"what": what, "ours": times["ours"], "ratio": times["plain"] / times["ours"]}


def lengths(rank: int, batch: int) -> list[list[str]]:
    """Times of chains of up to 1,000 variables, which grow as their number if the ones per variable stay the same."""
    chains = (50, 100, 200, 500, 1000)

    def job(variables: int, grad: bool) -> Job:
        ring, v = TensorRing([Normal(10)] * variables, rank), torch.randn(batch, variables)

        def run() -> None:
            values = v.clone().requires_grad_(grad)
            with torch.set_grad_enabled(grad):
                log_prob = ring().log_prob(values).sum()
            if grad:
                log_prob.backward()

        return run

    columns = [in_turns({str(n): job(n, grad) for n in chains}, seconds=20) for grad in (False, True)]
    return [[str(n), *(f"{1e6 * times[str(n)] / n:.0f}" for times in columns)] for n in chains]


def as_table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    table = []
    for row in rows:
        memory = f"{row['memory ratio']:.1f}" if "memory ratio" in row else ""
        rate = f"{row['of the matrix rate']:.0%}" if "of the matrix rate" in row else ""
        table.append([str(row["what"]), f"{float(row['ours']) * 1e3:.1f}", f"{row['ratio']:.1f}", memory, rate])
    return markdown_table(["what", "ours, ms", "plain / ours", "memory, plain / ours", "of the matrix rate"], table)


def remember(rows: list[Row]) -> None:
    """Adds the ratios to the history, so that a loss is seen."""
    path = OUT / "history.csv"
    lines = path.read_text().splitlines() if path.exists() else ["date,threads,what,ratio"]
    ran = machine()
    lines += [f'{ran["date"]},{ran["threads"]},"{row["what"]}",{float(row["ratio"]):.1f}' for row in rows]
    write(path, "\n".join(lines) + "\n")


def whole_grid() -> None:
    """Densities for every combination of sizes; the slow plain algorithm runs three times each."""
    sizes = itertools.product((10, 20), (10, 20, 40), (128, 1024), (16, 100, 256, 1000))
    rows = [row for size in sizes for row in log_densities(*size, seconds=1)]
    page = f"# Densities of many sizes\n\n`python -m benchmarks.tensor_ring --grid`\n\n{as_table(rows)}\n"
    print(page)
    write(OUT / "grid.md", page)


def main() -> None:
    """Measures, prints, and writes the page."""
    parser = argparse.ArgumentParser(description="The tensor ring beside the plain algorithm.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--grid", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    if given.grid:
        whole_grid()
        return
    rows: list[Row] = []
    for sizes in ((10, 10, 128), (10, 20, 128), (10, 40, 128), (10, 10, 1024), (10, 20, 1024), (20, 20, 1024)):
        rows += log_densities(*sizes)
    rows += log_densities(10, 20, 128, boundary="train")
    for count in (128, 10_000):
        rows += [samples(20, count, False), samples(20, count, True)]
    ratios, linear = as_table(rows), lengths(20, 128)
    per_variable = markdown_table(["variables", "forward, µs a variable", "forward + backward, µs a variable"], linear)
    threads = f"{given.threads} threads" if given.threads > 1 else "the processor's time with one thread"
    page = (
        "# The tensor ring beside the plain algorithm\n\n"
        f"`make bench`: 100 variables, float32, medians of runs in turns, {threads}. A train is compared with the "
        "plain ring. The matrix rate counts the formula's own operations. Earlier ratios are in `history.csv`.\n\n"
        f"{ratios}\n\n"
        f"The cost is linear in the number of variables (N 10, rank 20, batch 128):\n\n{per_variable}\n\n{LIMITS}"
    )
    print(page)
    write(OUT / "tensor_ring.md", page)
    write_json(OUT / "tensor_ring.json", {"machine": machine(), "rows": rows, "lengths": linear})
    remember(rows)


if __name__ == "__main__":
    main()
