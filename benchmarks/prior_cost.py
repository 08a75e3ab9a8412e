"""What the tensor ring adds to a training step: a VAE beside the same VAE with a standard normal prior.

    python -m benchmarks.prior_cost

All have the default networks for 28 × 28 images, convolutional or fully connected, 32 latents and batches of 128
images; the others have a ring or train of rank 20 with 10 components a latent, alone or with one label of 10 values,
and, with fully connected networks, a mixture of 100 normals, a VampPrior of 500 pseudo-inputs or a RealNVP of six
transforms. Steps are taken in turns. Writes ``results/bench/prior_cost.md``; ``--compile`` instead prints some of them
beside their compiled forms.
"""

from __future__ import annotations

import argparse
import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.tensor_ring import OUT
from benchmarks.timing import Job, in_turns, markdown_table, matrix_product_rate, write
from googol.distributions import Categorical, Normal, TensorRing
from googol.likelihoods import Bernoulli
from googol.models import VAE, JointVAE
from googol.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from googol.posteriors import DiagonalNormal
from googol.priors import FlowPrior, NormalMixture, StandardNormal, VampPrior

BATCH, LATENTS, COMPONENTS, RANK = 128, 32, 10, 20
SHAPE = (1, 28, 28)


def step(model: Any, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One step of training."""
    optimizer.zero_grad()
    model.loss(x, y)["loss"].backward()
    optimizer.step()


def job(model: nn.Module, x: Tensor, y: Tensor) -> Job:
    """The step of one model."""
    return partial(step, model, torch.optim.Adam(model.parameters(), fused=True), x, y)


def of_stages(model: Any, x: Tensor, y: Tensor) -> list[list[str]]:
    """Where the time of a step goes: one stage after the other comes in, and adds what it takes."""
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def codes() -> None:
        model.likelihood(model.posterior(x).rsample()).log_prob(x).sum().backward()

    def prior() -> None:
        z = torch.randn(BATCH, LATENTS, requires_grad=True)
        model.prior().log_prob(z).sum().backward()

    jobs: dict[str, Job] = {
        "networks and likelihood, with their gradients": codes,
        "the ring's density, with its gradients": prior,
        "Adam, all parameters": optimizer.step,
        "a whole step": partial(step, model, optimizer, x, y),
    }
    times = in_turns(jobs, seconds=10, at_most=200)
    return [[name, f"{1e3 * took:.1f}", f"{took / times['a whole step']:.0%}"] for name, took in times.items()]


def main() -> None:
    """Measures, prints, and writes the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    threads: int = given.threads
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x, y = torch.rand(BATCH, *SHAPE), torch.randint(10, (BATCH, 1)).float()
    y[torch.rand(BATCH) < 0.5] = torch.nan

    def jobs(name: str, model: Any) -> dict[str, Job]:
        found = {name: job(model, x, y)}
        if given.compile:
            compiled = copy.deepcopy(model)
            compiled.loss = torch.compile(compiled.loss, dynamic=False)
            found[f"{name}, compiled"] = job(compiled, x, y)
        return found

    def parts(width: int) -> tuple[nn.Module, nn.Module]:
        if not width:
            encoder = MLPEncoder(SHAPE, 2 * LATENTS)
            return DiagonalNormal(encoder, LATENTS), Bernoulli(MLPDecoder(LATENTS, SHAPE))
        convolutions = ConvEncoder(SHAPE, 2 * LATENTS, width=width)
        return DiagonalNormal(convolutions, LATENTS), Bernoulli(ConvDecoder(LATENTS, SHAPE, width=width))

    def joint(boundary: str, width: int, **weights: float) -> JointVAE:
        variables = [Normal(COMPONENTS)] * LATENTS + [Categorical(10)]
        return JointVAE(TensorRing(variables, RANK, boundary), *parts(width), **weights)  # type: ignore[arg-type]

    rows = []
    for width in (32, 64, 0):
        models = {
            "standard normal": VAE(StandardNormal(LATENTS), *parts(width)),
            "ring": VAE(TensorRing([Normal(COMPONENTS)] * LATENTS, RANK), *parts(width)),
            "train": VAE(TensorRing([Normal(COMPONENTS)] * LATENTS, RANK, "train"), *parts(width)),
            "ring with a label": joint("ring", width),
            "train with a label": joint("train", width),
            "train, label weight": joint("train", width, label_weight=50.0),
            "train, label and consistency weight": joint("train", width, label_weight=50.0, consistency_weight=10.0),
        }
        if not width:
            posterior, likelihood = parts(width)
            models |= {
                "mixture of 100": VAE(NormalMixture(LATENTS), *parts(width)),
                "VampPrior of 500": VAE(VampPrior(posterior, SHAPE, components=500), posterior, likelihood),
                "RealNVP": VAE(FlowPrior(StandardNormal(LATENTS), LATENTS), *parts(width)),
            }
            stages = of_stages(models["ring"], x, y)
        if given.compile:  # each takes a minute at first
            models = {name: models[name] for name in ("standard normal", "ring", "ring with a label")}
        each = [jobs(name, model) for name, model in models.items()]
        times = in_turns({k: v for part in each for k, v in part.items()}, seconds=20, at_most=100)
        base = times["standard normal"]
        rows += [
            [str(width) if width else "MLP, 300-300", name, f"{1e3 * t:.1f}", f"{t / base:.2f}"]
            for name, t in times.items()
        ]
    operations = 3 * 2.0 * BATCH * LATENTS * (RANK**3 + COMPONENTS * RANK**2)
    product, of_product = matrix_product_rate()
    least = 1e3 * operations * in_turns({"product": product}, seconds=5)["product"] / of_product
    table = markdown_table(["networks, width", "prior", "ms a step", "ratio"], rows)
    print(table)
    if given.compile:
        return
    head = "# What the prior adds to a training step\n\n`python -m benchmarks.prior_cost`: batch 128, 32 latents, "
    where = markdown_table(["part of a step, MLP with a ring", "ms", "share"], stages)
    text = (
        f"{head}10 components, rank 20; medians of steps in turns, {threads} thread(s).\n\n{table}\n\n"
        "At the rate of a large matrix product the formula's own operations of a ring and its gradient take "
        f"{least:.1f} ms: so much is added to any step at least, and where that is little else than two small networks "
        f"the ratio is far from one.\n\n{where}\n"
    )
    write(OUT / "prior_cost.md", text)


if __name__ == "__main__":
    main()
