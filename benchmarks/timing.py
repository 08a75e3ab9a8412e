"""Measuring side by side: times in turns, and the memory that tensors take."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

Job = Callable[[], Any]


def in_turns(jobs: dict[str, Job], *, seconds: float, at_least: int = 3, at_most: int = 50) -> dict[str, float]:
    """The median time of each job in seconds: all are run in turns, so that a busy machine slows all alike.

    With one thread it is the processor's time, which does not count what others do meanwhile.

    Args:
        jobs: What to time, by name. Each runs once beforehand, to warm up.
        seconds: How long to go on, in total.
        at_least: How often each is run whatever that takes.
        at_most: How often each is run at most.
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    clock = time.process_time if torch.get_num_threads() == 1 and not torch.cuda.is_available() else time.perf_counter
    for job in jobs.values():
        job()
    gc.collect()
    gc.disable()
    begin = time.perf_counter()
    try:
        for turn in range(at_most):
            if turn >= at_least and time.perf_counter() - begin > seconds:
                break
            for name, job in jobs.items():
                start = clock()
                job()
                times[name].append(clock() - start)
    finally:
        gc.enable()
    return {name: statistics.median(taken) for name, taken in times.items()}


def peak_memory(job: Job) -> int:
    """The most bytes that tensors took at a time while a job ran, beyond what they took before.

    Every allocation and release of PyTorch's own allocator is recorded by its profiler, and added up in order. Unlike
    the size of the process this counts neither libraries nor pages that the C library keeps for later, and two runs
    give the same number.
    """
    job()
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        job()
    trace = record.profiler.kineto_results
    events = [event for event in trace.events() if event.name() == "[memory]"]
    taken = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        taken += event.nbytes()
        peak = max(peak, taken)
    return peak


def matrix_product_rate(size: int = 2048) -> tuple[Job, float]:
    """A large float32 matrix product, the yardstick for what the machine can do, and its operations."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return (lambda: a @ b), 2.0 * size**3


def machine() -> dict[str, Any]:
    """What ran: a result says on what it was measured."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def two_threads() -> None:
    """Uses two threads, as the figures to reach are for two cores, or one where there is one core."""
    torch.set_num_threads(min(2, os.cpu_count() or 1))


def write(path: Path, text: str) -> None:
    """Writes a file beside its place and moves it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    beside.replace(path)


def write_json(path: Path, content: Any) -> None:
    write(path, json.dumps(content, indent=1) + "\n")


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table whose columns line up, so that it reads well in a terminal too."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)
