"""The posterior with full covariance, made by reflections."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from googol.networks.layers import check_at_least_one
from googol.posteriors.flow import FlowPosterior
from googol.transforms import Householder


class HouseholderFlow(FlowPosterior):
    r"""q(z given x) = N(U μ, U diag σ² Uᵀ): a normal turned by reflections, :math:`U = H_F \cdots H_1`.

    The encoder gives the vector of every reflection, apart from the paper, where each is a linear function of the one
    before. Where the encoder says 0 all vectors are one, so that two reflections cancel.

    References:
        Tomczak & Welling, Improving Variational Auto-Encoders using Householder Flow, 2016,
        https://arxiv.org/abs/1611.09630.

    Args:
        encoder: From x to vectors of length ``encoder_outputs(latents, flows=flows)``.
        latents: The number of latent variables.
        flows: How many reflections follow each other; more than latents add nothing.

    Raises:
        ValueError: If latents or flows is less than 1.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.posteriors import HouseholderFlow
        >>> posterior = HouseholderFlow(nn.Linear(5, HouseholderFlow.encoder_outputs(3)), 3)
        >>> z, log_prob = posterior(torch.zeros(7, 5)).rsample_and_log_prob()
        >>> z.shape, log_prob.shape
        (torch.Size([7, 3]), torch.Size([7]))
    """

    def __init__(self, encoder: nn.Module, latents: int, *, flows: int = 4) -> None:
        check_at_least_one(latents=latents, flows=flows)
        super().__init__(encoder, latents, [flows * latents])

    @staticmethod
    def encoder_outputs(latents: int, *, flows: int = 4) -> int:
        """The length of the encoder's vectors."""
        check_at_least_one(latents=latents, flows=flows)
        return 2 * latents + flows * latents

    def transforms(self, pieces: Sequence[Tensor]) -> list[Householder]:
        """All reflections as one rotation."""
        return [Householder(pieces[0].unflatten(-1, (-1, self.latents)) + self.latents**-0.5)]
