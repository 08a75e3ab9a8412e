"""The tensor ring beside public libraries: tensorkrowch's periodic MPS, pyro's chain product, zuko's flows.

Run: ``python -m benchmarks.peers``; writes ``results/bench/peers.md``. tensorkrowch and pyro-ppl are installed from the
registry into a folder of their own (``--folder``, by default a temporary one), beside the PyTorch in use. All are timed
in turns in one process. tensorkrowch multiplies without scales, so that its result is infinite where ours is not;
pyro's product is one of logarithms, of matrices that are formed for it as for ours; the flows have about as many
parameters as the ring.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial

import torch
import zuko
from torch import Tensor, nn

from benchmarks.tensor_ring import OUT
from benchmarks.timing import Job, in_turns, markdown_table, write
from googol.distributions import Normal, TensorRing

COMPONENTS, RANK, BATCH = 10, 20, 128
Density = Callable[[Tensor], Tensor]


def install(names: Sequence[str], folder: str | None) -> None:
    """Libraries without what they ask for, which is there already; into a temporary folder, if none is given."""
    folder = folder or tempfile.mkdtemp()
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, *names]
    subprocess.run(command, check=True)
    sys.path.insert(0, folder)


def chains(variables: int) -> dict[str, Density]:
    """Functions of values ``(B, n)`` by name, which sum over all components."""
    tensorkrowch = importlib.import_module("tensorkrowch")
    product_of_logarithms = importlib.import_module("pyro.distributions.hmm")._sequential_logmatmulexp
    ring = TensorRing([Normal(COMPONENTS)] * variables, RANK)
    mps = tensorkrowch.models.MPS(
        n_features=variables, phys_dim=COMPONENTS, bond_dim=RANK, boundary="pbc", init_method="rand"
    )
    cores, emissions = torch.stack([core.detach() for core in ring.cores]).requires_grad_(), ring._emissions()

    def densities(v: Tensor) -> Tensor:
        return emissions.log_prob(v).exp().transpose(0, 1)  # (B, n, N)

    def by_pyro(v: Tensor) -> Tensor:
        links = torch.einsum("bnk,nkxy->bnxy", densities(v), cores)
        product: Tensor = product_of_logarithms(links.clamp_min(1e-30).log())
        return product.diagonal(dim1=-2, dim2=-1).logsumexp(-1)

    def by_tensorkrowch(v: Tensor) -> Tensor:
        result: Tensor = mps(densities(v))
        return result

    return {"ours": lambda v: ring().log_prob(v), "tensorkrowch": by_tensorkrowch, "pyro": by_pyro}


def priors(variables: int) -> dict[str, nn.Module]:
    """Densities of about as many parameters, by name."""
    ring = TensorRing([Normal(COMPONENTS)] * variables, RANK)
    size = _count(ring)

    def of_this_size(make: Callable[[int], nn.Module]) -> nn.Module:
        return next(model for width in range(16, 4096, 16) if _count(model := make(width)) >= size)

    return {
        "ours": ring,
        "zuko GMM": zuko.flows.GMM(variables, components=max(2, size // (variables * (variables + 3) // 2))),
        "zuko MAF": of_this_size(lambda width: zuko.flows.MAF(variables, transforms=2, hidden_features=(width, width))),
        "zuko NSF": of_this_size(lambda width: zuko.flows.NSF(variables, transforms=1, hidden_features=(width, width))),
    }


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def log_prob(model: nn.Module, v: Tensor) -> Tensor:
    """The density of a module that is called for its distribution."""
    result: Tensor = model().log_prob(v)
    return result


def measured(title: str, densities: dict[str, Density], v: Tensor) -> list[list[str]]:
    """A line for each: times of the density and of its gradient, and those of ours by them."""

    def forward(density: Density) -> Job:
        def run() -> None:
            with torch.no_grad():
                density(v)

        return run

    def backward(density: Density) -> Job:
        return lambda: density(v.clone().requires_grad_()).sum().backward()

    columns = []
    for job in (forward, backward):
        columns.append(in_turns({name: job(density) for name, density in densities.items()}, seconds=10))
    lines = []
    for name, density in densities.items():
        cells = [f"{1e3 * times[name]:.1f} ({times[name] / times['ours']:.1f})" for times in columns]
        with torch.no_grad():
            finite = bool(density(v).isfinite().all())
        lines.append([title, name, *cells, "yes" if finite else "no"])
    return lines


def main() -> None:
    """Measures, prints, and writes the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", default=None)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    install(["tensorkrowch", "pyro-ppl", "pyro-api", "opt_einsum"], given.folder)
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    lines = []
    for variables in (16, 100):
        lines += measured(f"chain of {variables}", chains(variables), torch.randn(BATCH, variables))
    models = priors(32)
    densities: dict[str, Density] = {name: partial(log_prob, model) for name, model in models.items()}
    lines += measured("prior of 32 latents", densities, torch.randn(BATCH, 32))
    header = ["what", "library", "forward, ms (of ours)", "forward + backward, ms (of ours)", "finite"]
    sizes = ", ".join(f"{name} {_count(m):,}" for name, m in models.items())
    page = (
        "# The tensor ring beside public libraries\n\n"
        f"`python -m benchmarks.peers --threads {given.threads}`: N {COMPONENTS}, rank {RANK}, batch {BATCH}, float32, "
        f"medians of runs in turns.\n\n{markdown_table(header, lines)}\n\nParameters of the priors: {sizes}.\n"
    )
    print(page)
    write(OUT / "peers.md", page)


if __name__ == "__main__":
    main()
