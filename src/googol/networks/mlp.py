"""The fully connected pair of networks, called exactly as the convolutional pair."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from googol.networks.layers import Activation, check_at_least_one, check_image_shape, check_trailing, scaled

# The module of each, and how many numbers it makes one of.
ACTIVATIONS: dict[str, tuple[type[nn.Module], int]] = {
    "silu": (nn.SiLU, 1),
    "elu": (nn.ELU, 1),
    "relu": (nn.ReLU, 1),
    "gated": (nn.GLU, 2),
}


def hidden_layer(before: int, after: int, activation: Activation) -> list[nn.Module]:
    """A fully connected layer with its activation."""
    between, copies = ACTIVATIONS[activation]
    return [scaled(nn.Linear(before, copies * after), activation), between()]


class MLP(nn.Sequential):
    r"""Fully connected layers with activations between them; acts on the last dimension.

    A gated layer is :math:`(W h + b) \odot \operatorname{sigmoid}(V h + c)` (Dauphin et al., 2017, equation 1).

    Args:
        inputs: Length of the vectors that come in.
        outputs: Length of the vectors that go out.
        hidden: Lengths in between; none gives a linear map.
        activation: "silu", "elu", "relu" or "gated".

    Raises:
        ValueError: The activation is another one, or a length is less than 1.

    Example:
        >>> import torch
        >>> from googol.networks import MLP
        >>> MLP(3, 2)(torch.zeros(5, 4, 3)).shape
        torch.Size([5, 4, 2])
    """

    def __init__(
        self, inputs: int, outputs: int, *, hidden: Sequence[int] = (300, 300), activation: Activation = "silu"
    ):
        check_at_least_one(inputs=inputs, outputs=outputs, hidden=min(hidden, default=1))
        if activation not in ACTIVATIONS:
            raise ValueError(f"Expected activation to be one of {', '.join(ACTIVATIONS)}; got {activation!r}.")
        sizes = (inputs, *hidden)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += hidden_layer(before, after, activation)
        super().__init__(*layers, nn.Linear(sizes[-1], outputs))


class MLPEncoder(nn.Module):
    """An `MLP` from an image to a vector.

    Args:
        image_shape: (channels, height, width) of the images.
        outputs: Length of the vector made of each image.
        hidden: Lengths of the hidden layers.
        activation: What is between them, see `MLP`.

    Example:
        >>> import torch
        >>> from googol.networks import MLPEncoder
        >>> MLPEncoder((1, 8, 8), 10)(torch.zeros(5, 2, 1, 8, 8)).shape
        torch.Size([5, 2, 10])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        outputs: int,
        *,
        hidden: Sequence[int] = (300, 300),
        activation: Activation = "silu",
    ):
        super().__init__()
        self.image_shape = check_image_shape(image_shape)
        self.layers = MLP(math.prod(self.image_shape), outputs, hidden=hidden, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """Images (…, channels, height, width) to vectors (…, outputs)."""
        check_trailing("x", x, self.image_shape)
        return self.layers(x.flatten(-3))


class MLPDecoder(nn.Module):
    """An `MLP` from a vector to an image.

    Args:
        latents: Length of the vectors.
        image_shape: (channels, height, width) of what is made of each vector. The channels are those of
            the image times what the likelihood needs for each of them.
        hidden: Lengths of the hidden layers.
        activation: What is between them, see `MLP`.

    Example:
        >>> import torch
        >>> from googol.networks import MLPDecoder
        >>> MLPDecoder(10, (1, 8, 8))(torch.zeros(5, 3, 10)).shape
        torch.Size([5, 3, 1, 8, 8])
    """

    def __init__(
        self,
        latents: int,
        image_shape: Sequence[int],
        *,
        hidden: Sequence[int] = (300, 300),
        activation: Activation = "silu",
    ):
        super().__init__()
        self.latents = latents
        self.image_shape = check_image_shape(image_shape)
        self.layers = MLP(latents, math.prod(self.image_shape), hidden=hidden, activation=activation)

    def forward(self, z: Tensor) -> Tensor:
        """Vectors (…, latents) to images (…, channels, height, width)."""
        check_trailing("z", z, (self.latents,))
        return self.layers(z).unflatten(-1, self.image_shape)
