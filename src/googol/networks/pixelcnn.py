"""The gated PixelCNN: a network whose outputs for a pixel depend on the pixels before it."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from googol.networks.layers import check_image_shape, check_trailing, scaled


def _gate(features: Tensor, dim: int = 1) -> Tensor:
    a, b = features.chunk(2, dim)
    return a.tanh() * b.sigmoid()


class GatedPixelLayer(nn.Module):
    r"""One layer of both stacks: the vertical one sees the rows above a pixel, the horizontal one its row to the left.

    .. math:: u = W_v * v + C_v h, \quad v' = \tanh(u_1) \odot \sigma(u_2), \qquad
              r = W_h * s + U u + C_h h, \quad s' = s + O (\tanh(r_1) \odot \sigma(r_2))

    The kernels reach only backwards, so that nothing needs to be masked. Those of the first layer, which see pixels,
    leave out the row (the vertical one) and the pixel (the horizontal one) itself; all others see features of it, which
    already know nothing of it.

    Args:
        inputs: Channels that come in.
        width: Channels that go out of each stack.
        kernel: Size of the kernel whose half is used, odd.
        context: Channels of the context h, 0 for none.
        first: Whether this is the layer that sees pixels.
    """

    def __init__(self, inputs: int, width: int, kernel: int, context: int, *, first: bool) -> None:
        super().__init__()
        self.first, self.reach = first, kernel // 2
        own = 0 if first else 1
        self.vertical = scaled(nn.Conv2d(inputs, 2 * width, (self.reach + own, kernel)), "gated")
        self.horizontal = scaled(nn.Conv2d(inputs, 2 * width, (1, self.reach + own)), "gated")
        self.across = scaled(nn.Conv2d(2 * width, 2 * width, 1), "gated")
        self.out = scaled(nn.Conv2d(width, width, 1), "gated")
        self.context = nn.Conv2d(context, 4 * width, 1, bias=False) if context else None

    def contexts(self, context: Tensor | None) -> tuple[Tensor | float, Tensor | float]:
        """What the context adds to either stack."""
        if self.context is None or context is None:
            return 0.0, 0.0
        of_vertical, of_horizontal = self.context(context).chunk(2, 1)
        return of_vertical, of_horizontal

    def forward(self, v: Tensor, s: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The features of both stacks (n, width, height, breadth) from those before."""
        height, breadth, reach = *v.shape[-2:], self.reach
        of_vertical, of_horizontal = self.contexts(context)
        u = self.vertical(pad(v, (reach, reach, reach, 0)))[..., :height, :] + of_vertical
        r = self.horizontal(pad(s, (reach, 0)))[..., :breadth] + self.across(u) + of_horizontal
        return _gate(u), self.residual(s, self.out(_gate(r)))

    def residual(self, s: Tensor, change: Tensor) -> Tensor:
        """What goes out of the horizontal stack; pixels are no features to add to."""
        return change if self.first else s + change

    # One row, and one pixel, at a time.

    def row(self, rows: Tensor, added: Tensor | float) -> tuple[Tensor, Tensor]:
        """The vertical features of a row from the rows (n, inputs, rows, breadth) that it sees, and u itself."""
        u = self.vertical(pad(rows, (self.reach, self.reach))) + added
        return _gate(u), u

    def pixel(self, window: Tensor, own: Tensor, told: Tensor) -> Tensor:
        """The horizontal features (n, width) of a pixel from those to the left (n, inputs, reach) and of the rows."""
        r = linear(window.flatten(1), self.horizontal.weight.flatten(1), self.horizontal.bias) + told
        return self.residual(own, linear(_gate(r), self.out.weight.flatten(1), self.out.bias))


class GatedPixelCNN(nn.Module):
    r"""From images, and a context, to what is said of each pixel given those before it, row by row.

    The outputs at a pixel depend on all pixels above and to the left of it within reach, without a blind spot, and on
    no other one. All channels of a pixel are said at once.

    References:
        van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, https://arxiv.org/abs/1606.05328,
        figure 2 and equation 5.

    Args:
        image_shape: (channels, height, width) of the images.
        outputs: Numbers that are said of each pixel.
        context: Channels of the context, images of the same size; 0 for none.
        width: Channels of each stack.
        layers: Gated layers, at least one.
        first_kernel, kernel: Sizes of the kernels of the first layer and of the others, odd.

    Raises:
        ValueError: A number is out of its range.

    Example:
        >>> import torch
        >>> from googol.networks import GatedPixelCNN
        >>> network = GatedPixelCNN((1, 8, 8), 2, context=3, width=4, layers=2)
        >>> network(torch.zeros(5, 1, 8, 8), torch.zeros(5, 3, 8, 8)).shape
        torch.Size([5, 2, 8, 8])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        outputs: int,
        *,
        context: int = 0,
        width: int = 32,
        layers: int = 6,
        first_kernel: int = 7,
        kernel: int = 3,
    ) -> None:
        super().__init__()
        self.image_shape, self.outputs, self.context = check_image_shape(image_shape), outputs, context
        if min(outputs, width, layers) < 1 or context < 0:
            raise ValueError(
                f"Expected outputs, width and layers of at least 1 and context of at least 0; "
                f"got {outputs}, {width}, {layers} and {context}."
            )
        if any(size < 3 or size % 2 == 0 for size in (first_kernel, kernel)):
            raise ValueError(f"Expected kernels to be odd and at least 3; got {first_kernel} and {kernel}.")
        channels = [self.image_shape[0], *[width] * layers]
        self.layers = nn.ModuleList(
            GatedPixelLayer(before, after, kernel if number else first_kernel, context, first=number == 0)
            for number, (before, after) in enumerate(pairwise(channels))
        )
        self.head = nn.Sequential(
            nn.SiLU(), scaled(nn.Conv2d(width, width, 1)), nn.SiLU(), nn.Conv2d(width, outputs, 1)
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Images (n, channels, height, width) with pixels in [0, 1] to outputs (n, outputs, height, width)."""
        check_trailing("x", x, self.image_shape)
        v = s = _centred(x)
        for layer in self.layers:
            v, s = layer(v, s, context)
        outputs: Tensor = self.head(s)
        return outputs

    @torch.no_grad()
    def generate(self, n: int, draw: Callable[[Tensor], Tensor], context: Tensor | None = None) -> Tensor:
        """n images, pixel by pixel, in which everything is computed once.

        A new pixel changes nothing that lies before it. So every layer keeps the rows, and the pixels of a row, that
        are still in reach, and a pixel costs what it adds: the whole image takes the operations of one forward pass,
        where the plain loop takes as many passes as there are pixels.

        Args:
            n: The number of images.
            draw: From outputs (n, outputs) to pixels (n, channels) in [0, 1].
            context: Shape (n, context, height, width).
        """
        channels, height, breadth = self.image_shape
        weight: Any = self.head[1].weight
        image = weight.new_zeros(n, channels, height, breadth)
        layers: list[Any] = list(self.layers)
        sizes = [layer.vertical.weight.shape[1:3] for layer in layers]  # (channels, rows) that each sees
        above = [weight.new_zeros(n, inputs, rows, breadth) for inputs, rows in sizes]
        for i in range(height):
            told = []
            for number, layer in enumerate(layers):
                of_vertical, of_horizontal = layer.contexts(None if context is None else context[:, :, i : i + 1])
                row, u = layer.row(above[number], of_vertical)
                told.append((layer.across(u) + of_horizontal).squeeze(2))
                if number + 1 < len(layers):
                    above[number + 1] = _pushed(above[number + 1], row)
            left = [weight.new_zeros(n, layer.horizontal.weight.shape[1], breadth + layer.reach) for layer in layers]
            for j in range(breadth):
                features = image[..., i, j]  # not looked at by the first layer
                for number, layer in enumerate(layers):
                    if number:
                        left[number][..., j + layer.reach] = features
                    window = left[number][..., j : j + layer.horizontal.weight.shape[-1]]
                    features = layer.pixel(window, features, told[number][..., j])
                pixel = draw(self.head(features[..., None, None]).flatten(1))
                image[..., i, j] = pixel
                left[0][..., j + layers[0].reach] = _centred(pixel)
            above[0] = _pushed(above[0], _centred(image[:, :, i : i + 1]))
        return image


def _centred(x: Tensor) -> Tensor:
    """Pixels in [−1, 1]: 0, which is around the image, is neither black nor white."""
    return 2 * x - 1


def _pushed(rows: Tensor, row: Tensor) -> Tensor:
    """The rows without the first, and with another at the end."""
    return torch.cat([rows[:, :, 1:], row], 2)
