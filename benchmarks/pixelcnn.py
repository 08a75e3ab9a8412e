"""Drawing images from a PixelCNN: what is computed once beside the plain loop over pixels.

    python -m benchmarks.pixelcnn

The plain loop passes the whole image through the network for every pixel and keeps the outputs of one. As all its
passes cost the same, those of one row are timed, and multiplied by the number of rows. Both give the same images. The
network is that of ``likelihood:autoregressive``: six layers of 32 channels over images of 28 × 28, with a context of 8.
Writes ``results/bench/pixelcnn.md`` and ``.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.tensor_ring import OUT
from benchmarks.timing import in_turns, machine, markdown_table, peak_memory, write, write_json
from googol.networks import GatedPixelCNN

SHAPE, CONTEXT = (1, 28, 28), 8
COUNTS = (1, 16, 64)
SECONDS = 20.0


def draw(outputs: Tensor) -> Tensor:
    """Bernoulli pixels."""
    return torch.bernoulli(outputs.sigmoid())


@torch.no_grad()
def plain_rows(network: GatedPixelCNN, n: int, context: Tensor, rows: int) -> Tensor:
    """The first rows of n images, by a pass through the whole network for every pixel."""
    image = torch.zeros(n, *SHAPE)
    for i in range(rows):
        for j in range(SHAPE[2]):
            image[:, :, i, j] = draw(network(image, context)[:, :, i, j])
    return image


def measure(network: GatedPixelCNN, n: int) -> dict[str, Any]:
    """Seconds and bytes for n images each way, and that of a single pass."""
    context = torch.randn(n, CONTEXT, *SHAPE[1:])

    @torch.no_grad()
    def one_pass() -> Tensor:
        found: Tensor = network(torch.zeros(n, *SHAPE), context)
        return found

    jobs: dict[str, Callable[[], Any]] = {
        "once": lambda: network.generate(n, draw, context),
        "row of the plain loop": lambda: plain_rows(network, n, context, 1),
        "pass": one_pass,
    }
    seconds = in_turns(jobs, seconds=SECONDS, at_least=2)
    return {
        "images": n,
        "once_seconds": seconds["once"],
        "plain_seconds": SHAPE[1] * seconds["row of the plain loop"],
        "pass_seconds": seconds["pass"],
        "ratio": SHAPE[1] * seconds["row of the plain loop"] / seconds["once"],
        "once_bytes": peak_memory(jobs["once"]),
        "pass_bytes": peak_memory(jobs["pass"]),
    }


def main() -> None:
    """Measures, and writes the page."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = GatedPixelCNN(SHAPE, 1, context=CONTEXT)
    found = [measure(network, n) for n in COUNTS]
    header = ["images", "everything once, s", "plain loop, s", "ratio", "one pass, s", "once, MB", "one pass, MB"]
    rows = [
        [
            str(each["images"]),
            f"{each['once_seconds']:.2f}",
            f"{each['plain_seconds']:.1f}",
            f"{each['ratio']:.0f}",
            f"{each['pass_seconds']:.3f}",
            f"{each['once_bytes'] / 1e6:.1f}",
            f"{each['pass_bytes'] / 1e6:.1f}",
        ]
        for each in found
    ]
    text = f"""# Drawing images from a PixelCNN

`python -m benchmarks.pixelcnn`: 28 × 28 pixels, six gated layers of 32 channels, a context of 8, float32, one thread;
medians taken in turns. The plain loop passes the whole image through the network for each of the 784 pixels; a row of
it is timed, and multiplied by 28. Memory is the peak of what tensors take beyond the network and the context.

{markdown_table(header, rows)}
"""
    write(OUT / "pixelcnn.md", text)
    write_json(OUT / "pixelcnn.json", {"machine": machine(), "results": found})
    print(text)


if __name__ == "__main__":
    main()
