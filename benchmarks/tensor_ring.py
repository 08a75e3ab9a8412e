"""Speed and memory of the tensor ring beside the plain published algorithm, in one process and in turns.

Run: ``python -m benchmarks.tensor_ring``; writes ``results/bench/tensor_ring.md`` and ``.json``, and adds a line to
``results/bench/history.csv``. ``--full`` measures densities for every number of variables, components, rank and batch
instead, which takes half an hour, and writes ``grid.md`` and ``grid.json``; ``--part I/K`` takes every K-th of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

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
MOST_BYTES = 8e9
VARIABLES = 100
Row = dict[str, float | str]
LIMITS = """Of a ring with evidence the first bond is drawn from the product of a row's links, m³ operations a link;
what follows then takes N m². Where every row has a pattern of its own, no stretch of the chain is the same for all
rows, and these are the operations of a density with those of its links once more: 35 billion for 10,000 rows of 110
variables.
"""


def bytes_of_plain(components: int, rank: int, batch: int, variables: int, grad: bool) -> float:
    """About what the plain algorithm keeps: products of densities and cores, and for a gradient three matrices
    a row and variable.
    """
    return 4.0 * batch * rank**2 * (2 * components + 3 * variables if grad else components + 3)


def _size(components: int, rank: int, batch: int, variables: int) -> str:
    size = f"N {components}, rank {rank}, batch {batch}"
    return size if variables == VARIABLES else f"{variables} variables, {size}"


class Size(NamedTuple):
    """What was measured, as its row is named."""

    what: str
    variables: int
    components: int
    rank: int
    batch: int


def parse_size(text: str) -> Size:
    """The size that a row of densities names.

    Example:
        >>> parse_size("forward: N 10, rank 20, batch 128")
        Size(what='forward', variables=100, components=10, rank=20, batch=128)
        >>> parse_size("forward + backward: 16 variables, N 20, rank 10, batch 1024").variables
        16
    """
    match = re.fullmatch(r"(.+): (?:(\d+) variables, )?N (\d+), rank (\d+), batch (\d+)", text)
    if match is None:
        raise ValueError(f"expected the name of a density's row, got {text!r}")
    what, variables, *rest = match.groups()
    return Size(what, int(variables or VARIABLES), *map(int, rest))


def log_densities(
    components: int,
    rank: int,
    batch: int,
    variables: int = VARIABLES,
    boundary: Boundary = "ring",
    *,
    in_grid: bool = False,
) -> Iterator[Row]:
    """Forward, and forward with backward: times and, outside the grid, memory. In the grid the plain algorithm is left
    out where it would need too much of that.
    """
    ring = TensorRing([Normal(components)] * variables, rank, boundary)
    plain = PlainRing(TensorRing([Normal(components)] * variables, rank))
    v = torch.randn(batch, variables)
    size = _size(components, rank, batch, variables)
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
        jobs: dict[str, Job] = {"ours": partial(job, "ours"), "product": product}
        if not in_grid or bytes_of_plain(components, rank, batch, variables, what != "forward") < MOST_BYTES:
            jobs["plain"] = partial(job, "plain")
        # In the grid the slowest run takes half a minute.
        times = in_turns(jobs, seconds=2 if in_grid else 8, at_least=1 if in_grid else 3)
        row: Row = {"what": f"{what}: {size}", "ours": times["ours"]}
        if "plain" in times:
            row["ratio"] = times["plain"] / times["ours"]
        own = 2.0 * variables * batch * ((rank if boundary == "ring" else 1) + components) * rank**2
        own *= 1 if what == "forward" else 3
        if what == "forward" or in_grid:
            row["of the matrix rate"] = own / times["ours"] / (operations / times["product"])
        if what != "forward" and not in_grid:
            row["memory ratio"] = peak_memory(lambda: backward("plain")) / peak_memory(lambda: backward("ours"))
        yield row


def limits(rows: list[Row]) -> str:
    """What bounds the ratios, from the rows of densities of rings."""
    each = []
    for row in rows:
        size = parse_size(str(row["what"]))
        if size.what == "forward":
            share = float(row["of the matrix rate"]) / float(row["ratio"])
            name = _size(size.components, size.rank, size.batch, size.variables)
            each.append(f"{name} at {share:.0%}: {1 / share:.0f} times")
    return (
        "What bounds the ratios: a large matrix product runs at the *matrix rate*, and the formula's own operations,\n"
        "2 d B (m³ + N m²) of them for a density and three times as many with its gradient, take that long at least. "
        "So much of that rate the plain algorithm reaches, and so many times as fast is a program at the full rate: "
        f"{'; '.join(each)}. "
    )


def samples(rank: int, count: int, given: str = "") -> Row:
    """Drawing, given nothing, ``ten`` discrete variables, or every row ``half`` of all variables of its own."""
    variables = [Normal(10)] * VARIABLES + [Categorical(2)] * (10 if given else 0)
    ring = TensorRing(variables, rank)
    plain = PlainRing(ring)
    evidence = None
    if given:
        evidence = torch.full((count, len(variables)), torch.nan)
        if given == "half":
            evidence[:, :VARIABLES] = torch.randn(count, VARIABLES)
        evidence[:, VARIABLES:] = torch.randint(2, (count, 10)).float()
        if given == "half":
            evidence[torch.rand_like(evidence) < 0.5] = torch.nan

    def ours() -> None:
        ring().sample((count,)) if evidence is None else ring().condition(evidence).sample()

    times = in_turns({"ours": ours, "plain": lambda: plain.sample(count, evidence)}, seconds=8, at_least=1)
    observed = {"": "", "ten": ", ten observed", "half": ", half observed, another half in each row"}[given]
    what = f"sampling {count}{observed}: rank {rank}"
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


def threads_side_by_side(most: int) -> list[list[str]]:
    """How many times as fast a number of threads is as one, for few and many rows."""
    header = [(128, False), (128, True), (1024, False), (1024, True)]
    columns = []
    for batch, grad in header:
        ring, v = TensorRing([Normal(10)] * VARIABLES, 20), torch.randn(batch, VARIABLES)

        def run(threads: int, ring: TensorRing = ring, v: Tensor = v, grad: bool = grad) -> None:
            torch.set_num_threads(threads)
            with torch.set_grad_enabled(grad):
                log_prob = ring().log_prob(v).sum()
            if grad:
                log_prob.backward()

        times = in_turns({str(n): partial(run, n) for n in range(1, most + 1)}, seconds=8)
        columns.append([times["1"] / times[str(n)] for n in range(1, most + 1)])
    return [[str(n + 1), *(f"{column[n]:.2f}" for column in columns)] for n in range(most)]


def questions(rank: int, batch: int) -> list[list[str]]:
    """What else is asked of a ring, in times of a log-density of as many rows without a gradient."""
    ring, v = TensorRing([Normal(10)] * VARIABLES, rank), torch.randn(batch, VARIABLES)
    some = v.clone()
    some[:, VARIABLES // 2 :] = torch.nan
    joint = ring()

    def without_gradient(job: Job) -> Job:
        def run() -> None:
            with torch.no_grad():
                job()

        return run

    jobs = {
        "density": without_gradient(lambda: ring().log_prob(v)),
        "density, with gradient": lambda: ring().log_prob(v).sum().backward(),
        "samples": without_gradient(lambda: ring().sample((batch,))),
        "samples, with gradient": lambda: ring().rsample((batch,)).sum().backward(),
        "samples given half of the variables": without_gradient(lambda: joint.condition(some).sample()),
        "probabilities of all components given half": without_gradient(lambda: joint.component_probs(some)),
        "means and variances given half": without_gradient(lambda: joint.condition(some).variance),
        "a marginal of two variables": without_gradient(lambda: joint.marginal([0, VARIABLES // 2])),
        "mode given half, one row": without_gradient(lambda: joint.condition(some[0]).mode),
    }
    times = in_turns(jobs, seconds=20)
    return [[name, f"{1e3 * took:.1f}", f"{took / times['density']:.1f}"] for name, took in times.items()]


def as_table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    header, table = ["what", "ours, ms", "plain / ours", "memory, plain / ours", "of the matrix rate"], []
    for row in rows:
        memory = f"{row['memory ratio']:.1f}" if "memory ratio" in row else ""
        rate = f"{row['of the matrix rate']:.0%}" if "of the matrix rate" in row else ""
        ratio = f"{row['ratio']:.1f}" if "ratio" in row else ""
        table.append([str(row["what"]), f"{float(row['ours']) * 1e3:.1f}", ratio, memory, rate])
    columns = [i for i in range(len(header)) if any(line[i] for line in table)]
    return markdown_table([header[i] for i in columns], [[line[i] for i in columns] for line in table])


def remember(rows: list[Row]) -> None:
    """Adds the ratios to the history, so that a loss is seen."""
    path = OUT / "history.csv"
    lines = path.read_text().splitlines() if path.exists() else ["date,threads,what,ratio"]
    ran = machine()
    lines += [f'{ran["date"]},{ran["threads"]},"{row["what"]}",{float(row["ratio"]):.1f}' for row in rows]
    write(path, "\n".join(lines) + "\n")


def whole_grid(part: int, parts: int, threads: int) -> None:
    """Densities for combinations of sizes, whose rows take the place of those measured before."""
    path = OUT / "grid.json"
    found = {str(row["what"]): row for row in json.loads(path.read_text())["rows"]} if path.exists() else {}
    sizes = list(itertools.product((10, 20), (10, 20, 40), (128, 1024), (16, 100, 256, 1000)))
    clock = f"{threads} threads" if threads > 1 else "the processor's time with one thread"
    head = (
        "# Densities of many sizes\n\n`python -m benchmarks.tensor_ring --full`: float32, medians of runs in turns, "
        f"{clock}. The matrix rate counts the formula's own operations, three times as many with a gradient. The plain "
        f"algorithm is left out where it would keep more than {MOST_BYTES / 1e9:.0f} GB.\n\n"
    )
    for size in sizes[part - 1 :: parts]:
        for row in log_densities(*size, in_grid=True):
            print(as_table([row]).splitlines()[-1], flush=True)
            found[str(row["what"])] = row
        rows = [row for each in sizes for name, row in found.items() if name.endswith(f": {_size(*each)}")]
        write(OUT / "grid.md", f"{head}{as_table(rows)}\n")
        write_json(path, {"machine": machine(), "rows": rows})


def main() -> None:
    """Measures, prints, and writes the page."""
    parser = argparse.ArgumentParser(description="The tensor ring beside the plain algorithm.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--part", default="1/1")
    given = parser.parse_args()
    numbers = re.fullmatch(r"(\d+)/(\d+)", given.part)
    if numbers is None or not 1 <= int(numbers[1]) <= int(numbers[2]):
        parser.error(f"--part must be I/K with I from 1 to K, got {given.part}")
    if given.threads < 1:
        parser.error(f"--threads must be at least 1, got {given.threads}")
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    if given.full:
        whole_grid(int(numbers[1]), int(numbers[2]), given.threads)
        return
    of_rings: list[Row] = []
    for sizes in ((10, 10, 128), (10, 20, 128), (10, 40, 128), (10, 10, 1024), (10, 20, 1024), (20, 20, 1024)):
        of_rings += log_densities(*sizes)
    rows = [*of_rings, *log_densities(10, 20, 128, boundary="train")]
    for count in (128, 10_000):
        rows += [samples(20, count), samples(20, count, "ten")]
    rows.append(samples(20, 1000, "half"))
    ratios, linear = as_table(rows), lengths(20, 128)
    per_variable = markdown_table(["variables", "forward, µs a variable", "forward + backward, µs a variable"], linear)
    scaling = ""
    if given.threads > 1:
        header = [
            "threads",
            *(f"{what}, {batch} rows" for batch in (128, 1024) for what in ("forward", "with gradient")),
        ]
        faster = markdown_table(header, threads_side_by_side(given.threads))
        scaling = f"Times as fast as one thread (N 10, rank 20):\n\n{faster}\n\n"
    threads = f"{given.threads} threads" if given.threads > 1 else "the processor's time with one thread"
    page = (
        "# The tensor ring beside the plain algorithm\n\n"
        f"`make bench`: 100 variables, float32, medians of runs in turns, {threads}. A train is compared with the "
        "plain ring. The matrix rate counts the formula's own operations. Earlier ratios are in `history.csv`.\n\n"
        f"{ratios}\n\nThe cost is linear in the number of variables (N 10, rank 20, batch 128):\n\n{per_variable}\n\n"
        f"{scaling}{limits(of_rings)}{LIMITS}"
    )
    asked = markdown_table(["question, rank 20, 128 rows", "ms", "in densities"], questions(20, 128))
    page += f"\nWhat else is asked of a ring:\n\n{asked}\n"
    print(page)
    write(OUT / "tensor_ring.md", page)
    write_json(OUT / "tensor_ring.json", {"machine": machine(), "rows": rows, "lengths": linear})
    remember(rows)


if __name__ == "__main__":
    main()
