"""What a posterior costs in training: steps of the same VAE with each of them, beside the diagonal normal's.

    python -m benchmarks.posteriors

The VAE has fully connected networks 784-300-300 and 300-300-784, 40 latents, a standard normal prior (for the posterior
on the sphere: the uniform one there) and batches of 100 images; a step is forward, loss, backward and Adam, and steps
of all are taken in turns. A posterior that reads more from the encoder has a longer last layer there, so that encoder
with a diagonal normal that reads just the first of as many numbers is timed too: the rest is what the posterior's own
computations cost.
Writes ``results/bench/posteriors.md`` and ``.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from benchmarks.prior_cost import job
from benchmarks.tensor_ring import OUT
from benchmarks.timing import in_turns, machine, markdown_table, write, write_json
from googol.likelihoods import Bernoulli
from googol.models import VAE
from googol.networks import MLPDecoder, MLPEncoder
from googol.posteriors import (
    DiagonalNormal,
    HouseholderFlow,
    InverseAutoregressiveFlow,
    PlanarFlow,
    SparseNormal,
    SylvesterFlow,
    VonMisesFisher,
)
from googol.priors import HypersphericalUniform, StandardNormal

BATCH, LATENTS, HIDDEN, SHAPE = 100, 40, (300, 300), (1, 28, 28)

# name: the class and its options
POSTERIORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "diagonal": (DiagonalNormal, {}),
    "Householder, 10 reflections": (HouseholderFlow, {"flows": 10}),
    "planar, 4 flows": (PlanarFlow, {"flows": 4}),
    "planar, 16 flows": (PlanarFlow, {"flows": 16}),
    "Sylvester, orthogonal, 4 flows, 8 columns": (SylvesterFlow, {"flows": 4, "columns": 8}),
    "Sylvester, orthogonal, 4 flows, 32 columns": (SylvesterFlow, {"flows": 4, "columns": 32}),
    "Sylvester, Householder, 4 flows, 8 reflections": (
        SylvesterFlow,
        {"flows": 4, "orthogonalization": "householder", "reflections": 8},
    ),
    "Sylvester, triangular, 4 flows": (SylvesterFlow, {"flows": 4, "orthogonalization": "triangular"}),
    "inverse autoregressive, 4 flows": (InverseAutoregressiveFlow, {"flows": 4}),
    "normal, chain": (SparseNormal, {"structure": "chain"}),
    "normal, extended grid": (SparseNormal, {"structure": "extended-grid"}),
    "normal, regular grid": (SparseNormal, {"structure": "grid"}),
    "von Mises-Fisher": (VonMisesFisher, {}),
}


class FirstNumbers(nn.Module):
    """A diagonal normal made of the first of more numbers: what longer vectors cost by themselves."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.normal = DiagonalNormal(nn.Identity(), LATENTS)

    def forward(self, x: Tensor) -> Distribution:
        numbers = self.encoder(x)[..., : 2 * LATENTS]
        # One posterior reads fewer numbers than the normal: zeros take the place of the others.
        return self.normal(nn.functional.pad(numbers, (0, 2 * LATENTS - numbers.shape[-1])))


def vae(outputs: int, posterior: Callable[[nn.Module], nn.Module]) -> VAE:
    """The VAE with some posterior on an encoder with as many outputs."""
    made = posterior(MLPEncoder(SHAPE, outputs, hidden=HIDDEN))
    prior = HypersphericalUniform(LATENTS) if isinstance(made, VonMisesFisher) else StandardNormal(LATENTS)
    return VAE(prior, made, Bernoulli(MLPDecoder(LATENTS, SHAPE, hidden=HIDDEN)))


def main() -> None:
    """Measures, prints, and writes the page."""
    # On one thread: with more, whatever else a machine runs stalls some of these short steps many times over.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.rand(BATCH, *SHAPE), torch.zeros(BATCH, 1)
    jobs, outputs = {}, {}
    for name, (kind, options) in POSTERIORS.items():
        outputs[name] = kind.encoder_outputs(LATENTS, **options)
        jobs[name] = job(vae(outputs[name], partial(kind, latents=LATENTS, **options)), x, y)
        jobs[f"{name}: encoder"] = job(vae(outputs[name], FirstNumbers), x, y)
    times = in_turns(jobs, seconds=60, at_most=300)
    base = times["diagonal"]
    rows = [
        {
            "posterior": name,
            "encoder outputs": outputs[name],
            "ms a step": 1e3 * times[name],
            "ratio": times[name] / base,
            "ratio of the encoder alone": times[f"{name}: encoder"] / base,
        }
        for name in POSTERIORS
    ]
    header = ["posterior", "encoder's numbers", "ms a step", "ratio to diagonal", "ratio of its encoder alone"]
    cells = [
        [
            str(row["posterior"]),
            str(row["encoder outputs"]),
            f"{row['ms a step']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['ratio of the encoder alone']:.2f}",
        ]
        for row in rows
    ]
    page = (
        "# What a posterior costs in training\n\n"
        f"`python -m benchmarks.posteriors`: a fully connected VAE 784-300-300-{LATENTS}, batch {BATCH}, float32; "
        "medians of whole steps taken\nin turns, one thread. The last column is a diagonal normal behind an encoder "
        f"that gives as many numbers.\n\n{markdown_table(header, cells)}\n"
    )
    print(page)
    write(OUT / "posteriors.md", page)
    write_json(OUT / "posteriors.json", {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
