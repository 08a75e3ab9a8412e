"""The posterior of codes given an image, conditions, or any of them: a product of normal experts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.nn.functional import softplus

from googol.networks import MLP, ConditionCoding

Expert = tuple[Tensor, Tensor]  # location and precision
HIDDEN = 64


class ProductOfExperts(nn.Module):
    r"""q(z given what is known) as the standard normal prior times one normal expert for each thing that is known.

    .. math:: q(z \mid x, y_{ob}) \propto N(z \mid 0, I)\; N(z \mid \mu_0(x), T_0(x)^{-1})
              \prod_{j \text{ observed}} N(z \mid \mu_j(y_j), T_j(y_j)^{-1})

    is normal with the precision :math:`T = I + \sum_i T_i` and the mean :math:`T^{-1} \sum_i T_i \mu_i`, all
    precisions being diagonal. What is missing has no factor. The expert of a condition is a network of one hidden
    layer; a table of locations and precisions would be the same family, but moves no faster than Adam's step.

    References:
        Hinton, Training Products of Experts by Minimizing Contrastive Divergence, 2002; Wu & Goodman, Multimodal
        Generative Models for Scalable Weakly-Supervised Learning, 2018, section 2.2, https://arxiv.org/abs/1802.05335;
        Vedantam et al., Generative Models of Visually Grounded Imagination, 2018, section 3.2.

    Args:
        image: The expert of the image, a `DiagonalNormal`.
        coding: The form in which networks see the conditions.

    Example:
        >>> import torch
        >>> from googol.networks import ConditionCoding, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal, ProductOfExperts
        >>> image = DiagonalNormal(MLPEncoder((1, 8, 8), 2 * 3), 3)
        >>> posterior = ProductOfExperts(image, ConditionCoding([10, None]))
        >>> posterior(torch.rand(5, 1, 8, 8)).batch_shape
        torch.Size([5])
        >>> posterior(y=torch.tensor([7.0, float("nan")])).event_shape
        torch.Size([3])
    """

    def __init__(self, image: Any, coding: ConditionCoding) -> None:
        super().__init__()
        if not isinstance(image.latents, int):
            raise TypeError("image must have an attribute latents, the number of latent variables")
        self.image, self.coding = image, coding
        self.latents: int = image.latents
        self.conditions = nn.ModuleList(MLP(width, 2 * self.latents, hidden=(HIDDEN,)) for width in coding.widths)

    def image_expert(self, x: Tensor) -> Expert:
        """Location and precision of the expert of the image, each ``(…, latents)``."""
        normal = self.image(x).base_dist
        return normal.loc, normal.scale**-2

    def product(self, image: Expert | None, y: Tensor | None) -> Independent:
        """The product of the prior, the expert of the image, and those of the conditions that are not NaN.

        Raises:
            ValueError: If there is neither an image nor conditions, or a condition has a value that it cannot take.
        """
        experts = [] if image is None else [image]
        if y is not None:
            vectors = self.coding.write(y).split(self.coding.widths, -1)
            for network, vector, column in zip(self.conditions, vectors, y.unsqueeze(-1).unbind(-2), strict=True):
                loc, raw = network(vector).chunk(2, -1)
                experts.append((loc, softplus(raw).masked_fill(column.isnan(), 0.0)))
        if not experts:
            raise ValueError("expected an image x or conditions y, got neither")
        precision = 1 + torch.stack([each for _, each in experts]).sum(0)
        loc = torch.stack([each * loc for loc, each in experts]).sum(0) / precision
        return Independent(Normal(loc, torch.rsqrt(precision), validate_args=False), 1, validate_args=False)

    def forward(self, x: Tensor | None = None, y: Tensor | None = None) -> Independent:
        """The distribution of z given an image, conditions ``(…, c)`` with NaN for what is missing, or both."""
        return self.product(None if x is None else self.image_expert(x), y)
