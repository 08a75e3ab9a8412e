"""The posterior made by planar flows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from googol.networks.layers import check_at_least_one
from googol.posteriors.flow import FlowPosterior
from googol.transforms import Planar


class PlanarFlow(FlowPosterior):
    r"""q(z given x): a diagonal normal moved by planar flows.

    .. math:: z_k = z_{k-1} + \hat u_k \tanh(w_k \cdot z_{k-1} + b_k)

    The encoder gives u, w and b of every flow. Where it says 0 the flows are the identity, and each w has length 1,
    so that all flows have something to learn from.

    References:
        Rezende & Mohamed, Variational Inference with Normalizing Flows, 2015, https://arxiv.org/abs/1505.05770.

    Args:
        encoder: From x to vectors of length ``encoder_outputs(latents, flows=flows)``.
        latents: The number of latent variables.
        flows: How many planar flows follow each other.

    Raises:
        ValueError: If latents or flows is less than 1.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.posteriors import PlanarFlow
        >>> posterior = PlanarFlow(nn.Linear(5, PlanarFlow.encoder_outputs(3)), 3)
        >>> z, log_prob = posterior(torch.zeros(7, 5)).rsample_and_log_prob()
        >>> z.shape, log_prob.shape
        (torch.Size([7, 3]), torch.Size([7]))
    """

    def __init__(self, encoder: nn.Module, latents: int, *, flows: int = 4) -> None:
        check_at_least_one(latents=latents, flows=flows)
        super().__init__(encoder, latents, [flows * latents, flows * latents, flows])

    @staticmethod
    def encoder_outputs(latents: int, *, flows: int = 4) -> int:
        """The length of the encoder's vectors."""
        check_at_least_one(latents=latents, flows=flows)
        return 2 * latents + flows * (2 * latents + 1)

    def transforms(self, pieces: Sequence[Tensor]) -> list[Planar]:
        """All planar flows as one chain."""
        u, w = (piece.unflatten(-1, (-1, self.latents)) for piece in pieces[:2])
        return [Planar(u, w + self.latents**-0.5, pieces[2])]
