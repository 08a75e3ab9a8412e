"""What the networks share: checks of shapes, weights that keep the size of a signal, and images in any batch."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

ImageShape = tuple[int, int, int]
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)

Activation = Literal["silu", "elu", "relu", "gated"]

# Images that go through a large network at once where no gradient is wanted.
AT_ONCE = 128

# 1 / sqrt(E[f(u)²]) for a standard normal u; for a gated layer two of them, one in the sigmoid.
GAINS: dict[str, float] = {"silu": 1.6765, "elu": 1.2455, "relu": 1.4142, "gated": 1.8462}


def scaled(layer: Layer, activation: Activation = "silu") -> Layer:
    """Draw the weights of a layer so that a stack of them with activations between keeps the size of a signal.

    The weights are N(0, gain² / fan-in), the biases zero (He et al., 2015, https://arxiv.org/abs/1502.01852).
    PyTorch's own start shrinks the signal threefold a layer, which costs a deep stack its first epochs.

    >>> import torch
    >>> from torch import nn
    >>> layer, signal = scaled(nn.Linear(1000, 1000)), torch.randn(100, 1000)
    >>> bool(0.9 < layer(nn.functional.silu(signal)).std() < 1.1)
    True
    """
    fan_in = layer.weight[0].numel()
    if isinstance(layer, nn.ConvTranspose2d):
        # The weight is (inputs, outputs, height, width), and a stride spreads it over several outputs.
        fan_in = layer.weight[:, 0].numel() // math.prod(layer.stride)
    nn.init.normal_(layer.weight, std=GAINS[activation] / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def in_parts(network: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    """What a network makes of many images, in parts where no gradient is wanted, so that the memory stays bounded.

    >>> import torch
    >>> with torch.no_grad():
    ...     in_parts(lambda x, y: x + y, torch.ones(300, 2), torch.ones(300, 2)).shape
    torch.Size([300, 2])
    """
    (first, *_) = (each for each in inputs if each is not None)
    if torch.is_grad_enabled() or len(first) <= AT_ONCE:
        return network(*inputs)
    starts = range(0, len(first), AT_ONCE)
    parts = [[None if each is None else each[start : start + AT_ONCE] for each in inputs] for start in starts]
    return torch.cat([network(*part) for part in parts])


def check_image_shape(image_shape: Sequence[int], *, at_least: int = 1) -> ImageShape:
    """The three sizes (channels, height, width) of an image as a tuple.

    Raises:
        ValueError: If there are not three positive sizes, or a side is shorter than `at_least`.
    """
    shape = tuple(image_shape)
    if len(shape) != 3 or min(shape) < 1 or min(shape[1:]) < at_least:
        raise ValueError(
            f"Expected image_shape to be (channels, height, width) with sides of at least {at_least}; got {shape}."
        )
    return shape[0], shape[1], shape[2]


def check_at_least_one(**options: int) -> None:
    """Refuses options that do not count anything.

    Raises:
        ValueError: If one is less than 1.
    """
    for name, value in options.items():
        if value < 1:
            raise ValueError(f"Expected {name} to be at least 1; got {value}.")


def check_trailing(name: str, value: Tensor, shape: Sequence[int]) -> None:
    """Raise a ValueError unless the last dimensions of `value` are `shape`."""
    if tuple(value.shape[-len(shape) :]) != tuple(shape):
        raise ValueError(f"Expected trailing dimensions matching {tuple(shape)} for {name}; got {tuple(value.shape)}.")


class ConvolutionalEncoder(nn.Module):
    """A network from images, of any batch shape, to vectors: a subclass sets the shape of an image and the layers."""

    image_shape: ImageShape
    layers: nn.Sequential

    def forward(self, x: Tensor) -> Tensor:
        """Images (…, channels, height, width) to vectors (…, outputs)."""
        check_trailing("x", x, self.image_shape)
        batch = x.shape[:-3]
        images = x.reshape(batch.numel(), *self.image_shape).contiguous(memory_format=torch.channels_last)
        codes: Tensor = self.layers(images)
        return codes.reshape(*batch, codes.shape[-1])


class ConvolutionalDecoder(nn.Module):
    """A network from vectors, of any batch shape, to images: a subclass sets the length, the shape and the layers."""

    latents: int
    image_shape: ImageShape
    layers: nn.Sequential

    def forward(self, z: Tensor) -> Tensor:
        """Vectors (…, latents) to images (…, channels, height, width)."""
        check_trailing("z", z, (self.latents,))
        batch = z.shape[:-1]
        images: Tensor = self.layers(z.reshape(batch.numel(), self.latents))
        return images.reshape(*batch, *self.image_shape)
