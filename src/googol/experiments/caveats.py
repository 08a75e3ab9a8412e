"""What one should know of an experiment: other data than the published ones, and parts that do not go well together."""

from __future__ import annotations

from typing import Any

from googol.data import Dataset
from googol.likelihoods import Bernoulli
from googol.posteriors import InverseAutoregressiveFlow
from googol.priors import VampPrior

NOT_PUBLISHED = "not the published data"
GREY = "pixels are not all black or white and the likelihood is bernoulli: log p(x) is a cross-entropy, no log-density"


def about_exactness(data: Dataset) -> dict[str, Any]:
    """Whether the images are the published ones in the published split, and what sets them apart if they are not.

    Example:
        >>> from googol.data import load
        >>> about_exactness(load("digits", "test"))
        {'exact_data': True, 'remark': ''}
    """
    return {"exact_data": data.exact, "remark": data.remark}


def exactness_notes(*data: Dataset) -> list[str]:
    """A line on each of the data sets that is not the published one."""
    return [f"{each.name}: {NOT_PUBLISHED} ({each.remark})" for each in data if not each.exact]


def cost_notes(model: Any) -> list[str]:
    """A line on a mixture of posteriors whose density of any code but their own draws takes a pass for each latent."""
    posterior = getattr(model, "posterior", None)
    mixtures = [part for part in model.modules() if isinstance(part, VampPrior)]
    if not mixtures or not isinstance(posterior, InverseAutoregressiveFlow):
        return []
    return [
        f"a vamp-prior of iaf posteriors inverts the flows of all {len(mixtures[0].pseudo_inputs)} pseudo-inputs "
        f"for every code, latent after latent ({posterior.latents} passes): time and memory grow with components × "
        "batch size × latents; take few components, or another posterior"
    ]


def takes_grey_for_probabilities(model: Any, data: Dataset) -> bool:
    """Whether the likelihood of a model is one of black and white pixels, and the images have grey ones.

    What bounds log p(x) is then a cross-entropy, the expected log-probability of an image whose pixels are drawn white
    with their grey values as probabilities: no log-density of the grey image, and not to be compared with one.
    """
    likelihood = getattr(model, "likelihood", None)
    parts = () if likelihood is None else likelihood.modules()
    return any(isinstance(part, Bernoulli) for part in parts) and not data.is_binary
