"""The posterior with independent normal latents."""

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.nn.functional import softplus

from googol.networks.layers import check_at_least_one

# Far below any scale that pays off, far above where 1 / scale² overflows in float32.
MINIMUM_SCALE = 1e-4


class DiagonalNormal(nn.Module):
    r"""q(z given x) = N(μ(x), diag σ²(x)).

    .. math:: (\mu, r) = \text{encoder}(x), \qquad \sigma = \log(1 + e^r) + 10^{-4}

    The scale grows linearly in what the encoder says, so it cannot overflow as exp does.

    References:
        Kingma & Welling, Auto-Encoding Variational Bayes, 2014, https://arxiv.org/abs/1312.6114.

    Args:
        encoder: From x to vectors (…, 2 · latents).
        latents: The number of latent variables.

    Raises:
        ValueError: If latents is less than 1.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.posteriors import DiagonalNormal
        >>> posterior = DiagonalNormal(nn.Linear(5, 2 * 3), 3)
        >>> posterior(torch.zeros(7, 5)).rsample().shape
        torch.Size([7, 3])
    """

    def __init__(self, encoder: nn.Module, latents: int):
        super().__init__()
        check_at_least_one(latents=latents)
        self.encoder = encoder
        self.latents = latents

    @staticmethod
    def encoder_outputs(latents: int) -> int:
        """The length of the encoder's vectors."""
        return 2 * latents

    def forward(self, x: Tensor, *above: Tensor) -> Independent:
        """The distribution of z, event shape (latents,); given codes of layers above too, if the encoder takes them.

        Raises:
            ValueError: If the encoder's vectors do not have length 2 · latents.
        """
        outputs = self.encoder(x, *above)
        if outputs.shape[-1] != 2 * self.latents:
            raise ValueError(
                f"Expected encoder to give 2 * latents = {2 * self.latents} numbers; got {outputs.shape[-1]}."
            )
        loc, raw = torch.chunk(outputs, 2, dim=-1)
        scale = softplus(raw) + MINIMUM_SCALE
        return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)
