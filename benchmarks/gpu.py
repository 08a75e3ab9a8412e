"""The tensor ring on a CUDA device beside the plain algorithm there, and beside what the device can do.

Run: ``python -m benchmarks.gpu``; writes ``results/bench/gpu.md`` and ``.json``. It needs a GPU, and Triton.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.plain import PlainRing
from benchmarks.tensor_ring import OUT, VARIABLES
from benchmarks.timing import Job, in_turns, machine, markdown_table, write, write_json
from googol.distributions import Normal, TensorRing, gpu
from googol.distributions.blocks import Boundary


def finished(job: Job) -> Job:
    """The job together with the wait for the device."""

    def run() -> None:
        job()
        torch.cuda.synchronize()

    return run


def copied(size: int = 2**28) -> tuple[Job, float]:
    """A large copy, the yardstick for the bandwidth, and its bytes."""
    a, b = torch.empty(size), torch.empty(size)
    return (lambda: b.copy_(a)), 8.0 * size


def error(boundary: Boundary, rank: int, variables: int = 1000) -> float:
    """The largest error of a log-density, in nats, over many variables: against double precision."""
    ring = TensorRing([Normal(10)] * variables, rank, boundary=boundary)
    v = torch.randn(64, variables)
    with torch.no_grad():
        single = ring().log_prob(v).double()
        double = ring.double()().log_prob(v.double())
    return float((single - double).abs().max())


def without_kernels(job: Job) -> Job:
    """The same by PyTorch's own operations."""

    def run() -> None:
        os.environ["GOOGOL_KERNELS"] = "0"
        try:
            job()
        finally:
            del os.environ["GOOGOL_KERNELS"]

    return run


def rows(batch: int, with_plain: bool) -> list[list[str]]:
    """Forward, and forward with backward, of N 10 and rank 20."""
    components, rank = 10, 20
    ring = TensorRing([Normal(components)] * VARIABLES, rank)
    plain, v = PlainRing(ring), torch.randn(batch, VARIABLES)

    def forward(log_prob: Callable[[torch.Tensor], torch.Tensor]) -> None:
        with torch.no_grad():
            log_prob(v)

    def backward(log_prob: Callable[[torch.Tensor], torch.Tensor]) -> None:
        log_prob(v.clone().requires_grad_()).sum().backward()

    matrices = torch.randn(8192, 8192)
    copy, copied_bytes = copied()
    found = []
    for what, job, passes in (("forward", forward, 1), ("forward + backward", backward, 3)):
        jobs: dict[str, Job] = {
            "ours": partial(job, lambda x: ring().log_prob(x)),
            "eager": without_kernels(partial(job, lambda x: ring().log_prob(x))),
        }
        if with_plain:
            jobs["plain"] = partial(job, plain.log_prob)
        jobs |= {"product": partial(torch.matmul, matrices, matrices), "copy": copy}
        times = in_turns({name: finished(job) for name, job in jobs.items()}, seconds=20)
        operations = passes * 2.0 * VARIABLES * batch * (rank**3 + components * rank**2)
        rate = operations / times["ours"] / (2.0 * 8192**3 / times["product"])
        # All that must be moved: values and parameters, and their gradients.
        least = passes * 4.0 * VARIABLES * (batch + components * rank**2)
        bandwidth = least / times["ours"] / (copied_bytes / times["copy"])
        ratio = f"{times['plain'] / times['ours']:.1f}" if with_plain else ""
        eager = f"{times['eager'] / times['ours']:.1f}"
        ours = f"{1e3 * times['ours']:.2f}"
        found.append([f"{what}: batch {batch}", ours, ratio, eager, f"{rate:.0%}", f"{bandwidth:.1%}"])
    return found


def main() -> None:
    """Measures, prints, and writes the page."""
    if not torch.cuda.is_available():
        sys.exit("benchmarks.gpu needs a CUDA device, and there is none")
    if not gpu.works(torch.device("cuda")):
        sys.exit("benchmarks.gpu measures the Triton kernel, which does not work here")
    torch.set_default_device("cuda")
    torch.manual_seed(0)
    table = rows(128, True) + rows(1024, True) + rows(65536, False)
    found = markdown_table(
        ["what", "ours, ms", "plain / ours", "without kernels / ours", "of the matrix rate", "of the bandwidth"], table
    )
    name = torch.cuda.get_device_name()
    off = max(error(boundary, rank) for boundary in ("ring", "train") for rank in (10, 20, 40))
    page = (
        f"# The tensor ring on a GPU\n\n`python -m benchmarks.gpu` on {name}: 100 variables, N 10, rank 20, float32, "
        f"medians of runs in turns.\n\n{found}\n\nLargest error over 1,000 variables, rings and trains of ranks "
        f"10 to 40: {off:.1e} nats.\n"
    )
    print(page)
    write(OUT / "gpu.md", page)
    write_json(OUT / "gpu.json", {"machine": machine() | {"device": name}, "rows": table, "error": off})


if __name__ == "__main__":
    main()
