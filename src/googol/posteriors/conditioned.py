"""Any posterior of images as one of images with conditions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from googol.distributions import IndependentVariables
from googol.networks import ConditionCoding


class ConditionedPosterior(nn.Module):
    r"""q(z given x, y), where the conditions y are further channels of the image x, constant over it.

    Conditions that are missing are drawn from :math:`r(y \mid x)`, which a network tells from the image.

    Args:
        posterior: A posterior of images with ``coding.inputs`` more channels than x has.
        predictor: A network from x to vectors of length ``coding.outputs``.
        coding: The form in which networks see the conditions.

    Example:
        >>> import torch
        >>> from googol.networks import ConditionCoding, MLPEncoder
        >>> from googol.posteriors import ConditionedPosterior, DiagonalNormal
        >>> coding = ConditionCoding([10, 2])
        >>> of_both = DiagonalNormal(MLPEncoder((1 + coding.inputs, 8, 8), 2 * 3), 3)
        >>> posterior = ConditionedPosterior(of_both, MLPEncoder((1, 8, 8), coding.outputs), coding)
        >>> posterior(torch.rand(5, 1, 8, 8)).rsample().shape
        torch.Size([5, 3])
    """

    def __init__(self, posterior: Any, predictor: nn.Module, coding: ConditionCoding) -> None:
        super().__init__()
        if not isinstance(posterior.latents, int):
            raise TypeError("posterior must have an attribute latents, the number of latent variables")
        self.of_both, self.predictor, self.coding = posterior, predictor, coding
        self.latents: int = posterior.latents
        self.support = getattr(posterior, "support", None)

    def predict(self, x: Tensor) -> IndependentVariables:
        """r(y given x)."""
        return self.coding.read(self.predictor(x))

    def channels(self, x: Tensor, y: Tensor) -> Tensor:
        """x ``(…, channels, height, width)`` with the channels of the conditions y ``(…, c)``, none of them missing."""
        vector = self.coding.write(y).to(x.dtype)
        return torch.cat([x, vector[..., None, None].expand(*x.shape[:-3], -1, *x.shape[-2:])], -3)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Distribution:
        """The distribution of z, with conditions y ``(…, c)`` of which NaN, or all for None, are drawn.

        Raises:
            ValueError: If a condition has a value that it cannot take.
        """
        if y is None or bool(y.isnan().any()):
            drawn = self.predict(x).sample()
            y = drawn if y is None else torch.where(y.isnan(), drawn, y)
        distribution: Distribution = self.of_both(self.channels(x, y))
        return distribution
