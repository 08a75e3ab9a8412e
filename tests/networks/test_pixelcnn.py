"""What a PixelCNN says of a pixel depends on those before it alone, and sampling computes the same as a pass."""

import pytest
import torch
from torch import Tensor

from googol.networks import GatedPixelCNN


def make(shape, outputs=2, *, context=0, layers=3, first_kernel=5, kernel=3) -> GatedPixelCNN:
    torch.manual_seed(0)
    options = {"first_kernel": first_kernel, "kernel": kernel}
    return GatedPixelCNN(shape, outputs, context=context, width=6, layers=layers, **options).double()


def inputs(network: GatedPixelCNN, n: int, context: int) -> tuple[Tensor, Tensor | None]:
    _, height, width = network.image_shape
    x = torch.rand(n, *network.image_shape, dtype=torch.float64)
    return x, torch.randn(n, context, height, width, dtype=torch.float64) if context else None


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 4, 4)])
def test_no_output_depends_on_its_own_or_a_later_pixel(shape, context):
    network = make(shape, context=context)
    x, h = inputs(network, 1, context)
    x.requires_grad_(True)
    _, height, width = shape
    outputs = network(x, h)
    for position in range(height * width):
        i, j = divmod(position, width)
        (gradient,) = torch.autograd.grad(outputs[0, :, i, j].abs().sum(), x, retain_graph=True)
        reached = gradient[0].abs().sum(0).flatten() > 0
        assert not reached[position:].any()
        if j:
            assert reached[position - 1]


def test_there_is_no_blind_spot():
    network = make((1, 7, 9), layers=4)
    x, _ = inputs(network, 1, 0)
    x.requires_grad_(True)
    reach = 2 + 3  # of the first kernel and the three others
    for i, j in [(6, 4), (6, 0), (3, 4)]:
        (gradient,) = torch.autograd.grad(network(x)[0, :, i, j].abs().sum(), x)
        seen = torch.zeros(7, 9, dtype=torch.bool)
        # The whole rectangle above: of a stack of masked kernels, a cone to the right would stay unseen.
        seen[max(0, i - reach) : i, max(0, j - reach) : j + reach + 1] = True
        seen[i, max(0, j - reach) : j] = True
        assert torch.equal(gradient[0, 0] != 0, seen)


def plain(network: GatedPixelCNN, n: int, draw, context: Tensor | None = None) -> Tensor:
    """A pass through the whole network for every pixel."""
    _, height, width = network.image_shape
    image = torch.zeros(n, *network.image_shape, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            image[:, :, i, j] = draw(network(image, context)[:, :, i, j])
    return image


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 6, 5), {}),
        ((1, 6, 5), {"context": 2}),
        ((3, 4, 7), {"context": 1}),
        ((1, 1, 4), {}),
        ((1, 4, 1), {}),
        ((2, 2, 2), {"first_kernel": 7, "kernel": 5}),
        ((1, 5, 5), {"layers": 1}),
    ],
)
def test_sampling_computes_what_the_plain_loop_computes(shape, options):
    channels = shape[0]
    network = make(shape, 2 * channels, **options)
    _, context = inputs(network, 3, options.get("context", 0))
    said: list[Tensor] = []

    def draw(outputs: Tensor) -> Tensor:
        said.append(outputs.detach())
        loc, scale = outputs.chunk(2, 1)
        return (loc + scale.exp() * torch.randn_like(loc)).sigmoid()

    torch.manual_seed(1)
    fast = network.generate(3, draw, context)
    torch.manual_seed(1)
    slow = plain(network, 3, draw, context).detach()
    torch.testing.assert_close(fast, slow, atol=1e-10, rtol=0)
    half = len(said) // 2
    torch.testing.assert_close(torch.stack(said[:half]), torch.stack(said[half:]), atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": 0}, "at least 1"),
        ({"outputs": 1, "layers": 0}, "at least 1"),
        ({"outputs": 1, "context": -1}, "at least 0"),
        ({"outputs": 1, "kernel": 4}, "odd"),
        ({"outputs": 1, "first_kernel": 1}, "odd"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GatedPixelCNN((1, 8, 8), **options)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"matching \(1, 8, 8\) for x; got \(5, 1, 8, 9\)"):
        GatedPixelCNN((1, 8, 8), 1)(torch.zeros(5, 1, 8, 9))
