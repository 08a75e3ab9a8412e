"""What posteriors made of a flow share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Transform

from googol.distributions.flows import ComposedTransform, NormalizingFlow
from googol.posteriors.diagonal import DiagonalNormal


class FlowPosterior(nn.Module):
    r"""q(z given x): independent normal codes, moved by transforms that depend on x too.

    .. math:: z = f_F \circ \cdots \circ f_1(z_0), \qquad z_0 \sim N(\mu(x), \operatorname{diag} \sigma^2(x)), \qquad
        \log q(z \mid x) = \log q(z_0 \mid x) - \sum_k \log \left| \det \frac{\partial f_k}{\partial z_{k-1}} \right|

    The first 2 · latents numbers of the encoder's vectors are read as `DiagonalNormal` reads them; a subclass
    makes transforms of a tenth of the rest (see `share`), which comes to it in pieces, cut all at once, so that so are
    their gradients.

    Args:
        encoder: From x to vectors (…, outputs).
        latents: The number of latent variables.
        sizes: The lengths of the pieces that the transforms are made of.
    """

    # A new encoder says numbers of about a third: thousands of these, taken as they are, first scatter the codes, and
    # it takes long to get them back in order.
    share: ClassVar[float] = 0.1

    def __init__(self, encoder: nn.Module, latents: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.latents = latents
        self.sizes = (2 * latents, *sizes)
        self.base = DiagonalNormal(nn.Identity(), latents)

    def transforms(self, pieces: Sequence[Tensor]) -> Sequence[Transform]:
        """The transforms in the order in which they move codes, from what the encoder says beyond the normal."""
        raise NotImplementedError

    def forward(self, x: Tensor, *above: Tensor) -> NormalizingFlow:
        """The distribution of z, event shape (latents,); given codes of layers above too, if the encoder takes them.

        Its ``rsample_and_log_prob`` is cheap; ``log_prob`` of any other z has to invert the transforms first.

        Raises:
            ValueError: If the encoder's vectors do not have the length that `encoder_outputs` says.
        """
        outputs = self.encoder(x, *above)
        if outputs.shape[-1] != sum(self.sizes):
            raise ValueError(
                f"Expected encoder to give encoder_outputs(…) = {sum(self.sizes)} numbers; got {outputs.shape[-1]}."
            )
        # Reflections and orthonormal columns need the digits of single precision.
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        normal, *pieces = outputs.split(self.sizes, dim=-1)
        pieces = [self.share * piece for piece in pieces]
        # The library's flows map codes to the base; ours are cheap from the base to codes.
        return NormalizingFlow(ComposedTransform(*self.transforms(pieces)).inv, self.base(normal))
