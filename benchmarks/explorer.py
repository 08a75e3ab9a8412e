"""How long one choice on the page of `googol explore` takes: the question about conditions and sixteen pictures.

    python -m benchmarks.explorer

A joint VAE of the size that is trained on MNIST: 28 × 28 images, 12 latents with 10 components, a train of rank 64,
convolutions of width 32; its time does not depend on its weights. Writes ``results/bench/explorer.md``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from benchmarks.tensor_ring import OUT
from benchmarks.timing import Job, in_turns, markdown_table, two_threads, write
from googol.data import Condition
from googol.experiments import Run, config
from googol.explorer import Explorer
from googol.explorer.markup import chances, drawn

SHAPE = (1, 28, 28)
DIGITS = tuple("0123456789")


def main() -> None:
    """Measures, prints, and writes the page."""
    two_threads()
    torch.manual_seed(0)
    choice = config.JointVAE(latents=12, network=config.Conv(width=32))
    explorers = {}
    for name, schema in {
        "a digit": (Condition("digit", DIGITS),),
        "ten attributes": tuple(Condition(f"attribute {number}", ("no", "yes")) for number in range(10)),
    }.items():
        run = Run(Path("RUN"), choice.build(SHAPE, schema).eval(), choice, SHAPE, schema, "mnist")
        explorers[name] = Explorer(run)

    def job(name: str, *, with_html: bool) -> None:
        explorer = explorers[name]
        picks = [list(condition.values or ())[:1] if j == 0 else [] for j, condition in enumerate(explorer.conditions)]
        view = explorer.look(picks)
        if with_html:
            drawn(view, explorer)
            chances(view.bars)

    jobs: dict[str, Job] = {
        f"{name}, {what}": partial(job, name, with_html=html)
        for name in explorers
        for what, html in {"answer and pictures": False, "with the HTML": True}.items()
    }
    times = in_turns(jobs, seconds=20, at_most=100)
    table = markdown_table(["conditions", "ms a choice"], [[name, f"{1e3 * t:.0f}"] for name, t in times.items()])
    print(table)
    head = (
        "# One choice on the page\n\n`python -m benchmarks.explorer`: 28 × 28 images, 12 latents, a train of rank 64; "
    )
    write(OUT / "explorer.md", f"{head}medians, two threads.\n\n{table}\n")


if __name__ == "__main__":
    main()
