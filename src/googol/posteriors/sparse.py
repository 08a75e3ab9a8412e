"""The posterior with latents linked along a chain or on a grid."""

import math
from typing import get_args

from torch import Tensor, nn
from torch.nn.functional import softplus

from googol import distributions
from googol.distributions.sparse_normal import Structure, Trace
from googol.posteriors.diagonal import MINIMUM_SCALE


class SparseNormal(nn.Module):
    r"""q(z given x) = N(μ(x), P(x)⁻¹) with a sparse precision P, that of a chain or of a grid of the latents.

    .. math:: (\mu, r, \text{links}) = \text{encoder}(x), \qquad s = \log(1 + e^r) + 10^{-4}

    The links, numbers for each latent and its neighbour to the right and, on grids, below, become a precision by
    `googol.distributions.SparseNormal.bounded`: no standard deviation is above s, whatever the encoder says, and where
    it says 0 the latents are independent.

    References:
        Pește & Malagò, Variational Autoencoders Endowed with Richer but Still Computationally Efficient Statistical
        Models, figures 1 (chain), 2 (grid) and 3 (extended grid).

    Args:
        encoder: From x to vectors of length `encoder_outputs(latents, structure=…)`: all locations, then all raw
            scales, links to the right, links below.
        latents: The number of latent variables.
        structure: ``"chain"``; ``"grid"``, the precision itself sparse on the grid of four neighbours; or
            ``"extended-grid"``, its Cholesky factor so, which adds the neighbours on one diagonal.
        rows: The rows of the grid, a divisor of the latents; by default the grid is as nearly square as can be, with no
            more rows than columns: a single row for a prime number of latents.
        trace: How the trace of the covariance is found in the divergence from a standard normal prior, which a `VAE`
            is trained with in closed form: ``"exact"``; or ``"stochastic"``, by one random vector, in linear time for
            the extended grid.

    Raises:
        ValueError: If a number is out of its range, or there is no such structure or trace.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.posteriors import SparseNormal
        >>> outputs = SparseNormal.encoder_outputs(6, structure="grid")
        >>> posterior = SparseNormal(nn.Linear(5, outputs), 6, structure="grid")
        >>> posterior(torch.zeros(7, 5)).rsample().shape
        torch.Size([7, 6])
    """

    def __init__(
        self,
        encoder: nn.Module,
        latents: int,
        *,
        structure: Structure = "chain",
        rows: int | None = None,
        trace: Trace = "exact",
    ):
        super().__init__()
        self.outputs = self.encoder_outputs(latents, structure=structure, rows=rows, trace=trace)
        self.trace = trace
        self.encoder = encoder
        self.latents = latents
        self.structure = structure
        self.rows = _rows(latents, structure, rows)

    @staticmethod
    def encoder_outputs(
        latents: int, *, structure: Structure = "chain", rows: int | None = None, trace: Trace = "exact"
    ) -> int:
        """The length of the encoder's vectors: 3 numbers a latent for a chain, 4 for the grids.

        Numbers of links that lead beyond the border are not used.
        """
        _rows(latents, structure, rows)
        if trace not in get_args(Trace):
            raise ValueError(f"Expected trace to be one of {', '.join(get_args(Trace))}; got {trace!r}.")
        return (3 if structure == "chain" else 4) * latents

    def forward(self, x: Tensor, *above: Tensor) -> distributions.SparseNormal:
        """The distribution of z, event shape (latents,); given codes of layers above too, if the encoder takes them.

        Raises:
            ValueError: If the encoder's vectors do not have the length `encoder_outputs`.
        """
        outputs = self.encoder(x, *above)
        if outputs.shape[-1] != self.outputs:
            raise ValueError(f"Expected encoder to give {self.outputs} numbers; got {outputs.shape[-1]}.")
        grids = outputs.unflatten(-1, (-1, self.rows, self.latents // self.rows))
        loc, raw, *links = grids.unbind(-3)
        scale = softplus(raw) + MINIMUM_SCALE
        return distributions.SparseNormal.bounded(self.structure, loc, scale, *links, validate_args=False)

    def kl_to_standard_normal(self, q: distributions.SparseNormal) -> Tensor:
        """KL(q ‖ N(0, I)) of what `forward` gave, in nats, with the trace that was asked for."""
        return q.kl_to_standard_normal(self.trace)


def _rows(latents: int, structure: Structure, rows: int | None) -> int:
    """The rows of the grid that is asked for, or of the most nearly square one."""
    distributions.sparse_normal.check_structure(structure)
    if latents < 1:
        raise ValueError(f"Expected latents to be at least 1; got {latents}.")
    if rows is None:
        return 1 if structure == "chain" else max(r for r in range(1, math.isqrt(latents) + 1) if latents % r == 0)
    if structure == "chain":
        raise ValueError(f"Expected no rows for a chain; got {rows}.")
    if rows < 1 or latents % rows:
        raise ValueError(f"Expected rows to be a divisor of latents = {latents}; got {rows}.")
    return rows
