"""Networks of several inputs, each of which first goes through a network of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from googol.networks.layers import Activation, check_at_least_one, check_trailing
from googol.networks.mlp import MLP, hidden_layer


class JoinedEncoder(nn.Module):
    """From an image and codes to a vector: what a network says of each goes side by side into a third.

    The image is looked at once, however many codes come with it.

    Args:
        of_image: From images (…, channels, height, width) to vectors.
        of_codes: From codes to vectors.
        joined: From vectors of the length of both together to what comes out.

    Example:
        >>> import torch
        >>> from googol.networks import MLP, JoinedEncoder, MLPEncoder
        >>> encoder = JoinedEncoder(MLPEncoder((1, 8, 8), 20), MLP(3, 20), MLP(40, 10))
        >>> encoder(torch.zeros(5, 1, 8, 8), torch.zeros(100, 5, 3)).shape
        torch.Size([100, 5, 10])
    """

    def __init__(self, of_image: nn.Module, of_codes: nn.Module, joined: nn.Module) -> None:
        super().__init__()
        self.of_image, self.of_codes, self.joined = of_image, of_codes, joined

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Images (…, channels, height, width) and codes (…, latents) to vectors, under the broadcast batch shape."""
        parts = [self.of_image(x), self.of_codes(z)]
        batch = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        joined: Tensor = self.joined(torch.cat([part.expand(*batch, -1) for part in parts], -1))
        return joined


class JoinedMLP(nn.Module):
    """Fully connected layers for the codes of several layers: a first one for each, and then an `MLP` of all.

    Args:
        inputs: Lengths of the codes, which come side by side.
        outputs: Length of the vectors that go out.
        hidden: Lengths in between, at least one; each code gets the first.
        activation: What is between them, see `MLP`.

    Raises:
        ValueError: The activation is another one, a length is less than 1, or there is no code or nothing in between.

    Example:
        >>> import torch
        >>> from googol.networks import JoinedMLP
        >>> JoinedMLP([3, 5], 2)(torch.zeros(7, 8)).shape
        torch.Size([7, 2])
    """

    def __init__(
        self,
        inputs: Sequence[int],
        outputs: int,
        *,
        hidden: Sequence[int] = (300, 300),
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        self.inputs = list(inputs)
        check_at_least_one(inputs=min(inputs, default=0), hidden=min(hidden, default=0))
        first, *rest = hidden
        self.each = nn.ModuleList([nn.Sequential(*hidden_layer(size, first, activation)) for size in self.inputs])
        self.joined = MLP(len(self.inputs) * first, outputs, hidden=rest, activation=activation)

    def forward(self, z: Tensor) -> Tensor:
        """Codes side by side (…, sum of inputs) to vectors (…, outputs)."""
        check_trailing("z", z, (sum(self.inputs),))
        parts = [layer(code) for layer, code in zip(self.each, z.split(self.inputs, -1), strict=True)]
        joined: Tensor = self.joined(torch.cat(parts, -1))
        return joined
