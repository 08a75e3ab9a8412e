"""The variational mixture of posteriors."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from googol.distributions import Mixture
from googol.networks.layers import check_at_least_one

# Learned pseudo-inputs that start from images keep this far from 0 and 1, where the sigmoid has no slope left.
_MARGIN = 0.01


class VampPrior(nn.Module):
    r"""The mixture of the posteriors of K pseudo-inputs, which are learned with the model.

    .. math:: p(z) = \frac1K \sum_{k=1}^K q(z \mid u_k), \qquad u_k \in [0, 1]^{\text{image shape}}

    Learned pseudo-inputs are the sigmoid of a parameter, so they have a gradient everywhere (the published clipping
    to [0, 1] has none outside). Not learned, they are images of the training data: the paper's prior from a subset
    of the data.

    The posterior stays that of the model: it is shared, and neither its parameters nor its state belong to the
    prior. Alone, the prior can thus not be moved to another device.

    References:
        Tomczak & Welling, VAE with a VampPrior, 2018, equation 9, https://arxiv.org/abs/1705.07120.

    Args:
        posterior: Returns q(z given x) when called with x; its density must be known everywhere.
        image_shape: (channels, height, width).
        components: The number K of pseudo-inputs, at least 1.
        start: ``"random"``, greys around the middle, or ``"data"``, images of the training data, which
            :meth:`start_from` has to be given before the prior is used.
        learnable: Whether the pseudo-inputs are learned; if not, they have to start from data.

    Raises:
        ValueError: If ``components`` is less than 1, ``start`` is another word, or pseudo-inputs that are neither
            random nor learned are asked for.

    Example:
        >>> import torch
        >>> from googol.networks import MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> from googol.priors import VampPrior
        >>> posterior = DiagonalNormal(MLPEncoder((1, 8, 8), 2 * 3), 3)
        >>> prior = VampPrior(posterior, (1, 8, 8), components=20)
        >>> prior().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    images: Tensor
    logits: Tensor

    def __init__(
        self,
        posterior: nn.Module,
        image_shape: Sequence[int],
        *,
        components: int = 500,
        start: Literal["random", "data"] = "random",
        learnable: bool = True,
    ):
        super().__init__()
        check_at_least_one(components=components)
        if start not in ("random", "data"):
            raise ValueError(f"Expected start to be random or data; got {start!r}.")
        if start == "random" and not learnable:
            raise ValueError("Expected start to be data for pseudo-inputs that are not learned; got 'random'.")
        # In a tuple, it is not registered as a part.
        self._shared = (posterior,)
        self.start = start
        shape = (components, *image_shape)
        self.raw = nn.Parameter(torch.randn(shape)) if learnable else None
        self.register_buffer("images", None if learnable else torch.full(shape, 0.5))
        self.register_buffer("logits", torch.zeros(components), persistent=False)

    @property
    def support(self) -> constraints.Constraint | None:
        """The posterior's; None for all of space."""
        return getattr(self._shared[0], "support", None)

    @property
    def pseudo_inputs(self) -> Tensor:
        """The K images in [0, 1], shape (components, channels, height, width)."""
        return self.images if self.raw is None else self.raw.sigmoid()

    def forward(self) -> Mixture:
        """The distribution of z, event shape (latents,); encodes the pseudo-inputs."""
        is_unset = self.raw is None and not torch.compiler.is_compiling() and bool((self.images == 0.5).all())
        if is_unset:
            warnings.warn("all pseudo-inputs are grey: start_from, or training, gives them images", stacklevel=2)
        return Mixture(self.logits, self._shared[0](self.pseudo_inputs), validate_args=False)

    def check_images(self, number: int) -> None:
        """Raises a ValueError if pseudo-inputs that start from images need more than such a number of them."""
        if self.start == "data" and number < len(self.logits):
            raise ValueError(f"Expected at least components = {len(self.logits)} images; got {number}.")

    @torch.no_grad()
    def start_from(self, images: Iterable[Tensor]) -> None:
        """Take random images of the training data as pseudo-inputs, if ``start`` says so.

        Args:
            images: Batches of images in [0, 1], shape (B, channels, height, width).

        Raises:
            ValueError: If there are fewer images than components.
        """
        if self.start == "random":
            return
        chosen, keys = self.pseudo_inputs[:0], self.logits[:0]
        for batch in images:
            # Those with the largest of independent keys are a random subset, however the data are ordered.
            keys, index = torch.cat([keys, torch.rand(len(batch)).to(keys)]).sort(descending=True)
            keys, index = keys[: len(self.logits)], index[: len(self.logits)]
            chosen = torch.cat([chosen, batch.to(chosen)])[index]
        self.check_images(len(chosen))
        if self.raw is None:
            self.images.copy_(chosen)
        else:
            self.raw.copy_(chosen.logit(_MARGIN))
