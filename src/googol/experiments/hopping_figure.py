"""Mode hopping: images while the indices of the lattice change one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from googol.distributions import TensorRing
from googol.distributions.draws import picture
from googol.experiments.run import Run
from googol.metrics import evaluating
from googol.training import image_grid

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS = 12


def hops(prior: TensorRing, latents: int, *, rows: int, columns: int = COLUMNS) -> Tensor:
    """Codes that move from one component of a lattice to another, some of the indices at a time.

    Each row starts at the components of one sample of the prior and ends at those of another. From column to column the
    next few indices along the chain change; a code is the means of its components.

    Args:
        prior: A tensor ring whose first variables are continuous.
        latents: How many of them are codes; the others are summed out.
        rows: How many pairs of samples.
        columns: How many codes from the one to the other, both included; at least 2.

    Returns:
        Shape ``(rows, columns, latents)``.

    Raises:
        ValueError: There is no row, or there are fewer than two columns.

    Example:
        >>> import torch
        >>> from googol.distributions import Normal
        >>> codes = hops(TensorRing([Normal(5)] * 6, rank=3), 6, rows=2, columns=4)
        >>> codes.shape, bool((codes[:, 1, :2] == codes[:, -1, :2]).all())
        (torch.Size([2, 4, 6]), True)
    """
    if rows < 1 or columns < 2:
        raise ValueError(f"expected at least one row and two columns, got {rows} and {columns}")
    joint = prior().marginal(range(latents))
    ends = joint.sample((2, rows))
    components = joint.component_probs(ends).argmax(-1, keepdim=True)
    first, last = joint.component_means.expand(2, rows, -1, -1).gather(-1, components).squeeze(-1)
    changed = torch.linspace(0, latents, columns, device=first.device).round()
    place = torch.tensor([position for position in prior.order if position < latents]).argsort().to(first.device)
    return torch.where(place < changed.unsqueeze(-1), last.unsqueeze(1), first.unsqueeze(1))


def hopping_figure(run: Run, *, rows: int = 8, columns: int = COLUMNS, seed: int = 0) -> Image:
    """Images of the codes that `hops` gives, a row each.

    Args:
        run: A finished run with a prior that is a tensor ring.
        rows: How many pairs of samples.
        columns: Images from the one to the other.
        seed: Of the samples.

    Raises:
        ValueError: The prior is another, or the images have two pixels.
    """
    run.require_images("a picture of modes")
    prior = run.model.prior
    if not isinstance(prior, TensorRing):
        raise ValueError(
            f"modes are those of a tensor ring, but the prior of the run in {run.folder} is {type(prior).__name__}"
        )
    if min(run.image_shape[1:]) < 2:
        raise ValueError(f"expected images to show, but those of the run in {run.folder} are points")
    model = run.model
    latents = getattr(getattr(model, "posterior", None), "latents", len(prior))
    with evaluating(model, seed=seed):
        codes = hops(prior, latents, rows=rows, columns=columns).flatten(0, 1)
        images = model.generator(codes) if hasattr(model, "generator") else picture(model.likelihood(codes))
    scale = max(1, round(48 / max(run.image_shape[1:])))
    return image_grid(images, columns=columns, padding=scale, scale=scale)
