"""The prior with independent standard normal latents."""

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from googol.networks.layers import check_at_least_one


class StandardNormal(nn.Module):
    """p(z) = N(0, I); nothing to learn.

    Args:
        latents: The number of latent variables.

    Raises:
        ValueError: If latents is less than 1.

    Example:
        >>> import torch
        >>> from googol.priors import StandardNormal
        >>> StandardNormal(3)().log_prob(torch.zeros(3))
        tensor(-2.7568)
    """

    zero: Tensor
    one: Tensor

    def __init__(self, latents: int):
        super().__init__()
        check_at_least_one(latents=latents)
        # Buffers follow the module to its device and precision; nothing of them needs saving.
        self.register_buffer("zero", torch.zeros(latents), persistent=False)
        self.register_buffer("one", torch.ones(latents), persistent=False)

    def forward(self) -> Independent:
        """The distribution of z, event shape (latents,)."""
        return Independent(Normal(self.zero, self.one, validate_args=False), 1, validate_args=False)
