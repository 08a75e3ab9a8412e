"""What a learned prior costs an adversarial model, and how noisy its gradient is, estimated in two ways.

    python -m benchmarks.adversarial

Time: steps of GAN, WGAN and WGAN-GP (batch 64, 64 latents) with a tensor ring (rank 10, 10 components) and a mixture
of 100 normals, beside the same model with N(0, I), in turns, on one thread. Noise: the summed variance of the gradient
of the prior's parameters, by the score function and pathwise, of the same model on batches of the same size, divided by
the squared norm of its mean; before and after some steps of training. Writes ``results/bench/adversarial.md``.
"""

from __future__ import annotations

from functools import partial
from typing import get_args

import torch
from torch import Tensor

from benchmarks.tensor_ring import OUT
from benchmarks.timing import Job, in_turns, markdown_table, write
from googol.data import load
from googol.experiments import config
from googol.models import AdversarialModel
from googol.models.adversarial import PriorGradient

BATCH, LATENTS = 64, 64
RING = config.TensorRing(rank=10, components=10)
PRIORS = {
    "N(0, I)": config.StandardNormal(),
    "mixture": config.NormalMixture(components=100),
    "tensor ring": RING,
}
KINDS = {"GAN": config.GAN, "WGAN": config.WGAN, "WGAN-GP": config.WGANGP}
# Images and the width of the networks on them; on 64 pixels a step of the default width takes half a minute. The tables
# have a width of 16.
SIZES = {
    "1 × 28 × 28, width 16": ((1, 28, 28), 16),
    "1 × 28 × 28, width 64": ((1, 28, 28), 64),
    "3 × 64 × 64, width 16": ((3, 64, 64), 16),
}
REPEATS, STEPS = 200, 400

Optimizers = dict[str, torch.optim.Optimizer]


def optimizers(model: AdversarialModel, rate: float) -> Optimizers:
    """One for each player."""
    return {name: model.make_optimizer([{"params": each, "lr": rate}]) for name, each in model.players.items()}


def step(model: AdversarialModel, each: Optimizers, x: Tensor) -> None:
    """A step of training: all turns."""
    for player in model.turns:
        for name, parameters in model.players.items():
            for parameter in parameters:
                parameter.requires_grad_(name == player)
        each[player].zero_grad()
        model.loss(x, x.new_zeros(len(x), 0), player)["loss"].backward()
        each[player].step()


def times() -> list[list[str]]:
    """A row for each kind of model and size of images: milliseconds with N(0, I), and ratios."""
    rows = []
    for size, (shape, width) in SIZES.items():
        for kind, choice in KINDS.items():
            x = torch.rand(BATCH, *shape)
            jobs: dict[str, Job] = {}
            for name, prior in PRIORS.items():
                model = choice(latents=LATENTS, prior=prior, network=config.DCGAN(width=width)).build(shape, ())
                jobs[name] = partial(step, model, optimizers(model, 1e-4), x)
            took = in_turns(jobs, seconds=30, at_most=30)
            base = took["N(0, I)"]
            rows.append([size, kind, f"{1e3 * base:.0f}", *(f"{took[name] / base:.2f}" for name in list(PRIORS)[1:])])
    return rows


def noise(model: AdversarialModel) -> float:
    """The variance of the gradient of the prior's parameters, over the squared norm of its mean."""
    parameters = list(model.prior.parameters())
    draws = []
    for _ in range(REPEATS):
        gradients = torch.autograd.grad(
            model.loss(torch.zeros(BATCH, 0), torch.zeros(0), "generator")["loss"], parameters
        )
        draws.append(torch.cat([gradient.flatten() for gradient in gradients]))
    stacked = torch.stack(draws).double()
    variance = stacked.var(0).sum()
    # The mean of so many draws has noise of its own, which is taken off.
    squared = (stacked.mean(0).square().sum() - variance / REPEATS).clamp_min(1e-12 * variance)
    return (variance / squared).item()


def variances() -> list[list[str]]:
    """A row for each data set and moment of training: the noise of both estimators."""
    rows = []
    networks: dict[str, tuple[int, config.Network]] = {
        "gaussian-grid": (2, config.MLP(hidden=(128,) * 3, activation="relu")),
        "digits": (32, config.DCGAN(16)),
    }
    for name, (latents, network) in networks.items():
        data = load(name, "train")
        model = config.GAN(latents=latents, prior=RING, network=network).build(data.image_shape, ())
        each = optimizers(model, 1e-3)
        for steps in (0, STEPS):
            for _ in range(steps):
                step(model, each, data.pixels(torch.randint(len(data), (BATCH,))))
            found = {}
            for estimator in get_args(PriorGradient):
                model.prior_gradient = estimator
                model.requires_grad_(True)
                found[estimator] = noise(model)
            model.prior_gradient = "pathwise"
            ratio = found["score"] / found["pathwise"]
            rows.append([name, str(latents), str(steps), *(f"{value:.1f}" for value in found.values()), f"{ratio:.0f}"])
    return rows


def main() -> None:
    """Measures, prints, and writes the page."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    noises, steps = variances(), times()
    parts = [
        "# Learned priors in adversarial models",
        "`python -m benchmarks.adversarial`",
        "## A step of training",
        f"Batch {BATCH}, {LATENTS} latents, ring of rank 10 with 10 components, mixture of 100; medians of steps in "
        "turns, one thread.",
        markdown_table(["images", "model", "N(0, I), ms", "mixture, ratio", "tensor ring, ratio"], steps),
        "## The noise of the gradient of a tensor ring",
        "The summed variance of the gradient of all its parameters over the squared norm of its mean "
        f"(batch {BATCH}, {REPEATS} draws, GAN): the number of batches whose mean is as large as its noise.",
        markdown_table(["data", "latents", "steps trained", "pathwise", "score function", "ratio"], noises),
    ]
    text = "\n\n".join(parts)
    print(text)
    write(OUT / "adversarial.md", f"{text}\n")


if __name__ == "__main__":
    main()
