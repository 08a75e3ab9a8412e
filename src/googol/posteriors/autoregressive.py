"""The posterior made by inverse autoregressive flows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Transform

from googol.distributions import flows as zuko
from googol.networks.layers import check_at_least_one
from googol.posteriors.flow import FlowPosterior

# What the last layers of the networks are scaled by before training.
FIRST_SIZE = 0.1


class InverseAutoregressiveFlow(FlowPosterior):
    r"""q(z given x): a diagonal normal moved by autoregressive flows, which also see a context c(x).

    .. math:: z_{k, i} = z_{k-1, i} \, e^{s_i(z_{k-1, <i}, \, c)} + t_i(z_{k-1, <i}, \, c)

    Each flow is a masked network of its own, which starts near s = t = 0; the order of the latents is reversed from
    flow to flow. A draw takes one pass through each network, the density of any other z as many passes as there are
    latents.

    References:
        Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, 2016,
        https://arxiv.org/abs/1606.04934.

    Args:
        encoder: From x to vectors of length ``encoder_outputs(latents, context=context)``.
        latents: The number of latent variables.
        flows: How many autoregressive flows follow each other.
        hidden: Lengths of the hidden layers of each network.
        context: The length of the context.

    Raises:
        ValueError: If a number is less than 1.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.posteriors import InverseAutoregressiveFlow
        >>> outputs = InverseAutoregressiveFlow.encoder_outputs(3, context=4)
        >>> posterior = InverseAutoregressiveFlow(nn.Linear(5, outputs), 3, context=4)
        >>> z, log_prob = posterior(torch.zeros(7, 5)).rsample_and_log_prob()
        >>> z.shape, log_prob.shape
        (torch.Size([7, 3]), torch.Size([7]))
    """

    share: ClassVar[float] = 1.0  # a context for networks, which start small themselves

    def __init__(
        self,
        encoder: nn.Module,
        latents: int,
        *,
        flows: int = 4,
        hidden: Sequence[int] = (320, 320),
        context: int = 64,
    ) -> None:
        self._check(latents, flows, hidden, context)
        super().__init__(encoder, latents, [context])
        # Its cheap direction is from the base to codes here, and from data to the base where it is a prior.
        self.flow = zuko.flows.MAF(latents, context, transforms=flows, hidden_features=tuple(hidden)).transform
        # Near the identity at first, as those of the other flows.
        with torch.no_grad():
            for transform in self.flow.transforms:
                for parameter in transform.hyper[-1].parameters():
                    parameter.mul_(FIRST_SIZE)

    @staticmethod
    def encoder_outputs(latents: int, *, flows: int = 4, hidden: Sequence[int] = (320, 320), context: int = 64) -> int:
        """The length of the encoder's vectors; the flows and their hidden layers take none of it."""
        InverseAutoregressiveFlow._check(latents, flows, hidden, context)
        return 2 * latents + context

    @staticmethod
    def _check(latents: int, flows: int, hidden: Sequence[int], context: int) -> None:
        check_at_least_one(latents=latents, flows=flows, context=context, hidden=min(hidden, default=1))

    def transforms(self, pieces: Sequence[Tensor]) -> list[Transform]:
        """The autoregressive flows, given the context."""
        return [self.flow(pieces[0])]
