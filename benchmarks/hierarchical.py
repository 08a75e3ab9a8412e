"""What layers of codes and pixel-by-pixel decoders cost: a training step, and an importance-weighted bound.

    python -m benchmarks.hierarchical

MNIST's shape, the sizes of `googol reproduce vampprior` (40 latents a layer), batches of 100, a standard normal prior
unless a VampPrior of 500 is named. A step is forward, loss, backward and Adam; the bound is that of 128 images with 16
draws each, as `googol evaluate` takes them at once, whatever k is. Memory is the peak of what tensors take beyond the
weights.
Writes ``results/bench/hierarchical.md`` and ``.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.tensor_ring import OUT
from benchmarks.timing import in_turns, machine, markdown_table, peak_memory, write, write_json
from googol.experiments import config

SHAPE, BATCH = (1, 28, 28), 100
GATED = config.MLP(activation="gated")
VAMP = config.VampPrior(components=500)  # all of which pass the encoder in a step
MODELS: dict[str, config.Model] = {
    "vae": config.VAE(latents=40, network=GATED),
    "hvae": config.HVAE(),
    "hvae, VampPrior": config.HVAE(prior=VAMP),
    "hvae, three layers": config.HVAE(latents=(40, 40, 40)),
    "conv-hvae": config.ConvHVAE(),
    "conv-hvae, VampPrior": config.ConvHVAE(prior=VAMP),
    "pixel-hvae": config.PixelHVAE(),
    "pixelcnn": config.PixelCNN(),
}


def step(model: Any, x: torch.Tensor) -> Callable[[], None]:
    """A step of training."""
    adam = torch.optim.Adam(model.parameters(), 1e-4)
    nothing = torch.empty(len(x), 0)

    def job() -> None:
        adam.zero_grad()
        model.loss(x, nothing)["loss"].backward()
        adam.step()

    return job


def bound(model: Any, x: torch.Tensor) -> Callable[[], None]:
    """The bound of 128 images with 16 draws each, or of the model without codes with one."""
    draws = 1 if getattr(model, "exact", False) else 16

    @torch.no_grad()
    def job() -> None:
        model.importance_bound(x, draws)

    return job


def size(model: nn.Module) -> int:
    """The number of weights."""
    return sum(parameter.numel() for parameter in model.parameters())


def main() -> None:
    """Measures, and writes the page."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    models: dict[str, Any] = {name: choice.build(SHAPE, ()) for name, choice in MODELS.items()}
    x = torch.rand(128, *SHAPE).round()
    steps = {name: step(model, x[:BATCH]) for name, model in models.items()}
    bounds = {name: bound(model, x) for name, model in models.items()}
    step_seconds = in_turns(dict(steps), seconds=40, at_least=2)
    bound_seconds = in_turns(dict(bounds), seconds=30, at_least=1)
    found: list[dict[str, Any]] = [
        {
            "model": name,
            "parameters": size(model),
            "step_seconds": step_seconds[name],
            "step_bytes": peak_memory(steps[name]),
            "bound_seconds": bound_seconds[name],
            "bound_bytes": peak_memory(bounds[name]),
        }
        for name, model in models.items()
    ]
    header = ["model", "weights", "step, ms", "step, MB", "bound of 128 images, s", "bound, MB"]
    rows = [
        [
            str(each["model"]),
            f"{each['parameters']:,}",
            f"{1e3 * each['step_seconds']:.0f}",
            f"{each['step_bytes'] / 1e6:.0f}",
            f"{each['bound_seconds']:.2f}",
            f"{each['bound_bytes'] / 1e6:.0f}",
        ]
        for each in found
    ]
    text = f"""# What layers of codes and pixel-by-pixel decoders cost

`python -m benchmarks.hierarchical`: images of 28 × 28, 40 latents a layer, batches of 100, a standard normal prior
where no VampPrior (of 500) is named, the published networks of each model, float32, one thread; medians taken in
turns. The bound has 16 draws for each image (one without codes). Memory is the peak of what tensors take beyond the
weights; `googol evaluate` takes parts of this size, however many draws are asked for.

{markdown_table(header, rows)}
"""
    write(OUT / "hierarchical.md", text)
    write_json(OUT / "hierarchical.json", {"machine": machine(), "results": found})
    print(text)


if __name__ == "__main__":
    main()
