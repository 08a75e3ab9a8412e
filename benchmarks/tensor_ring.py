"""Speed and memory of the tensor ring beside the plain published algorithm, in one process and in turns.

Run: ``python -m benchmarks.tensor_ring``; writes ``results/bench/tensor_ring.md`` and ``.json``.
"""

from __future__ import annotations

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
    two_threads,
    write,
    write_json,
)
from googol.distributions import Categorical, Normal, TensorRing

OUT = Path("results/bench")
VARIABLES = 100
Row = dict[str, float | str]


def log_densities(components: int, rank: int, batch: int) -> Iterator[Row]:
    """Forward, and forward with backward: times and memory."""
    ring = TensorRing([Normal(components)] * VARIABLES, rank)
    plain = PlainRing(ring)
    v = torch.randn(batch, VARIABLES)
    size = f"N {components}, rank {rank}, batch {batch}"

    def forward(log_prob: str) -> None:
        with torch.no_grad():
            (ring() if log_prob == "ours" else plain).log_prob(v)

    def backward(log_prob: str) -> None:
        values = v.clone().requires_grad_()
        (ring() if log_prob == "ours" else plain).log_prob(values).sum().backward()

    product, operations = matrix_product_rate()
    for what, job in (("forward", forward), ("forward + backward", backward)):
        jobs: dict[str, Job] = {"ours": partial(job, "ours"), "plain": partial(job, "plain"), "product": product}
        times = in_turns(jobs, seconds=8)
        row: Row = {"what": f"{what}: {size}", "ours": times["ours"], "ratio": times["plain"] / times["ours"]}
        if what == "forward":
            own = 2.0 * VARIABLES * batch * (rank**3 + components * rank**2)
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


def main() -> None:
    """Measures, prints, and writes the page."""
    two_threads()
    torch.manual_seed(0)
    rows: list[Row] = []
    for sizes in ((10, 10, 128), (10, 20, 128), (10, 40, 128), (10, 20, 1024), (20, 20, 1024)):
        rows += log_densities(*sizes)
    rows += [samples(20, 128, False), samples(20, 10_000, False), samples(20, 128, True)]
    table = []
    for row in rows:
        memory = f"{row['memory ratio']:.1f}" if "memory ratio" in row else ""
        rate = f"{row['of the matrix rate']:.0%}" if "of the matrix rate" in row else ""
        table.append([str(row["what"]), f"{float(row['ours']) * 1e3:.1f}", f"{row['ratio']:.1f}", memory, rate])
    ratios = markdown_table(["what", "ours, ms", "plain / ours", "memory, plain / ours", "of the matrix rate"], table)
    linear = lengths(20, 128)
    per_variable = markdown_table(["variables", "forward, µs a variable", "forward + backward, µs a variable"], linear)
    page = (
        "# The tensor ring beside the plain algorithm\n\n"
        f"`make bench`: 100 variables, float32, medians of runs in turns, two threads.\n\n{ratios}\n\n"
        f"The cost is linear in the number of variables (N 10, rank 20, batch 128):\n\n{per_variable}\n"
    )
    print(page)
    write(OUT / "tensor_ring.md", page)
    write_json(OUT / "tensor_ring.json", {"machine": machine(), "rows": rows, "lengths": linear})


if __name__ == "__main__":
    main()
