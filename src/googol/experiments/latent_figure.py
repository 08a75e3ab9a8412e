"""The latent spaces of models with two latents, side by side: codes, and what their priors are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from googol.data import Dataset
from googol.distributions import TensorRing
from googol.distributions.draws import mean_code
from googol.experiments.plain import kind
from googol.experiments.run import Run
from googol.metrics import evaluating
from googol.priors import NormalMixture, VampPrior
from googol.training.figures import draw_codes, draw_components

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CODES = 3000
SIZE = 4.6  # inches of a panel


def latent_figure(runs: Sequence[Run], data: Sequence[Dataset], *, seed: int = 0) -> Figure:
    """Codes of images of every run, coloured by the first categorical condition, and over them its prior.

    Of a VampPrior the means of the posteriors of its pseudo-inputs are shown, black dots; of a mixture its means; of a
    tensor ring the pairs of components, ellipses at one standard deviation, the darker the more probable. Of a
    hierarchical model the codes are those of the top layer.

    Arguments:
        runs: Runs of models with two latents, on top if there are several layers.
        data: The images of each, from `Run.load`.
        seed: Of the codes, and of which images are shown.

    Raises:
        ValueError: There are no runs, or one has no codes or not two latents.

    References:
        Tomczak & Welling, VAE with a VampPrior, 2018, the toy problem.
    """
    from matplotlib.figure import Figure

    if not runs:
        raise ValueError("expected at least one run")
    for run in runs:
        latents = getattr(getattr(run.model, "posterior", None), "latents", 0)
        if not latents:
            raise ValueError(f"a picture of the latent space needs codes, and the model in {run.folder} has none")
        if latents != 2:
            raise ValueError(
                f"a picture of the latent space needs 2 latents, and the model in {run.folder} has {latents}"
            )
    figure = Figure(figsize=(SIZE * len(runs) + 0.8, SIZE), layout="constrained")
    axes = figure.subplots(1, len(runs), squeeze=False)[0]
    for axis, run, images in zip(axes, runs, data, strict=True):
        generator = torch.Generator().manual_seed(seed)
        shown = images.subset(torch.randperm(len(images), generator=generator)[:CODES])
        with evaluating(run.model, seed=seed):
            codes = run.model.posterior(shown.pixels(slice(None))).sample()
            draw_codes(axis, codes, shown)
            note = _draw_prior(axis, run, codes)
        axis.set(xlabel="z[0]", ylabel="z[1]")
        axis.set_title(f"{kind(type(run.choice))}, {kind(type(run.model.prior))}{note}", fontsize=10)
        if axis is not axes[-1] and axis.get_legend() is not None:
            axis.get_legend().remove()
    return figure


def _draw_prior(axis: Axes, run: Run, codes: Tensor) -> str:
    """Draws what a prior is made of, and says what that is."""
    prior = run.model.prior
    low, high = codes.min(0).values, codes.max(0).values
    margin = 0.15 * (high - low)
    axis.set(xlim=_limits(low[0] - margin[0], high[0] + margin[0]))
    axis.set(ylim=_limits(low[1] - margin[1], high[1] + margin[1]))
    if isinstance(prior, TensorRing):
        draw_components(axis, prior().marginal(range(2)), colour="black", above_codes=True)
        ring = prior.variables
        return f": {math.prod(ring[j].components for j in range(2))} components (ellipses)"
    if isinstance(prior, VampPrior | NormalMixture):
        means: Tensor = mean_code(prior().components)
        axis.plot(*means.T.cpu().numpy(), ".", color="black", markersize=4)
        return f": {len(means)} " + ("pseudo-inputs (dots)" if isinstance(prior, VampPrior) else "means (dots)")
    return ""


def _limits(low: Tensor, high: Tensor) -> tuple[float, float]:
    return low.item(), high.item()
