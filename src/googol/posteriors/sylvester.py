"""The posterior made by Sylvester flows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Transform

from googol.networks.layers import check_at_least_one
from googol.posteriors.flow import FlowPosterior
from googol.transforms import Householder, Reversal, Sylvester, orthonormal

Orthogonalization = Literal["orthogonal", "householder", "triangular"]


class SylvesterFlow(FlowPosterior):
    r"""q(z given x): a diagonal normal moved by Sylvester flows.

    .. math:: z_k = z_{k-1} + Q R_1 \tanh(R_2 Q^\top z_{k-1} + b)

    The encoder gives Q, R₁, R₂ and b of every flow. Q has orthonormal columns by one of three ways:

    - ``"orthogonal"``: some columns, made orthonormal by iteration (O-SNF);
    - ``"householder"``: a product of reflections (H-SNF);
    - ``"triangular"``: the identity and the reversal of the order in turns, with nothing to say (T-SNF).

    Where the encoder says 0 the flows are the identity, R₁ being 0, with R₂ a multiple of the identity, so that
    all flows have something to learn from.

    References:
        van den Berg et al., Sylvester Normalizing Flows for Variational Inference, 2018,
        https://arxiv.org/abs/1803.05649.

    Args:
        encoder: From x to vectors of length ``encoder_outputs`` of the latents and the same options.
        latents: The number of latent variables.
        flows: How many Sylvester flows follow each other.
        orthogonalization: How Q is made.
        columns: The number of columns of Q, at most latents (by default that or 8); read by ``"orthogonal"`` alone.
        reflections: The number of reflections of Q; read by ``"householder"`` alone.

    Raises:
        ValueError: If a number is less than 1, there are more columns than latents, or the way is none of the three.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.posteriors import SylvesterFlow
        >>> outputs = SylvesterFlow.encoder_outputs(3, orthogonalization="triangular")
        >>> posterior = SylvesterFlow(nn.Linear(5, outputs), 3, orthogonalization="triangular")
        >>> z, log_prob = posterior(torch.zeros(7, 5)).rsample_and_log_prob()
        >>> z.shape, log_prob.shape
        (torch.Size([7, 3]), torch.Size([7]))
    """

    def __init__(
        self,
        encoder: nn.Module,
        latents: int,
        *,
        flows: int = 4,
        orthogonalization: Orthogonalization = "orthogonal",
        columns: int | None = None,
        reflections: int = 8,
    ) -> None:
        sizes = self._sizes(latents, flows, orthogonalization, columns, reflections)
        super().__init__(encoder, latents, sizes)
        self.width = sizes[0]
        self.orthogonalization = orthogonalization

    @staticmethod
    def encoder_outputs(
        latents: int,
        *,
        flows: int = 4,
        orthogonalization: Orthogonalization = "orthogonal",
        columns: int | None = None,
        reflections: int = 8,
    ) -> int:
        """The length of the encoder's vectors."""
        sizes = SylvesterFlow._sizes(latents, flows, orthogonalization, columns, reflections)
        return 2 * latents + sum(sizes)

    @staticmethod
    def _sizes(latents: int, flows: int, orthogonalization: str, columns: int | None, reflections: int) -> list[int]:
        """How many numbers are for the b, the diagonal, and the triangles of every flow, and for all the Q."""
        columns = min(8, latents) if columns is None else columns
        check_at_least_one(latents=latents, flows=flows, columns=columns, reflections=reflections)
        if orthogonalization not in get_args(Orthogonalization):
            ways = ", ".join(map(repr, get_args(Orthogonalization)))
            raise ValueError(f"Expected orthogonalization to be one of {ways}; got {orthogonalization!r}.")
        if orthogonalization == "orthogonal" and columns > latents:
            raise ValueError(f"Expected columns to be at most latents = {latents}; got {columns}.")
        width = columns if orthogonalization == "orthogonal" else latents
        own = {"orthogonal": latents * width, "householder": latents * reflections, "triangular": 0}
        return flows * [width, width, width**2] + [flows * own[orthogonalization]]

    def transforms(self, pieces: Sequence[Tensor]) -> list[Transform]:
        """The Sylvester flows, each between rotations to and from where it acts."""
        *pieces, own = pieces
        parts = [
            (triangles.unflatten(-1, (self.width, self.width)), diagonal + 1, b)
            for b, diagonal, triangles in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True)
        ]
        if self.orthogonalization == "orthogonal":
            columns = own.unflatten(-1, (-1, self.latents, self.width)) + self._first_columns(len(parts), own)
            return [Sylvester(*part, q) for part, q in zip(parts, orthonormal(columns).unbind(-3), strict=True)]
        rotations: Sequence[Transform | None]
        if self.orthogonalization == "householder":
            vectors = own.unflatten(-1, (len(parts), -1, self.latents)) + self.latents**-0.5
            rotations = [Householder(v) for v in vectors.unbind(-3)]
        else:
            rotations = [Reversal(self.latents) if k % 2 else None for k in range(len(parts))]
        flows = [Sylvester(*part) for part in parts]
        return [step for t, flow in zip(rotations, flows, strict=True) for step in ([t.inv, flow, t] if t else [flow])]

    def _first_columns(self, flows: int, like: Tensor) -> Tensor:
        """Where Q starts, (flows, latents, columns): each flow at the coordinates after those of the one before."""
        identity = torch.eye(self.latents, dtype=like.dtype, device=like.device)
        return torch.stack([identity.roll(k * self.width, 0)[:, : self.width] for k in range(flows)])
