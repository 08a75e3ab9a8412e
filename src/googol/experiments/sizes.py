"""Models of a given size: the width of the networks at which a model has so many parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from googol.data import Condition
from googol.experiments import plain
from googol.experiments.config import ImageShape, Model
from googol.metrics import parameter_counts

WIDEST = 2**14


def match_parameters(model: Model, image_shape: ImageShape, schema: Sequence[Condition], parameters: int) -> Model:
    """The choice of a model with the width of its networks at which the whole of it has a number of parameters.

    So models whose priors and posteriors differ in size can be compared at equal counts. The width is the one whose
    count is closest.

    Raises:
        ValueError: Even the narrowest networks leave the model with more parameters, or it has no such networks.

    Example:
        >>> from googol.experiments import config
        >>> choice = config.VAE(latents=4, network=config.MLP(hidden=(300, 300)))
        >>> match_parameters(choice, (1, 8, 8), (), 10_000).network
        MLP(hidden=(43, 43), activation='silu')
    """

    if not hasattr(model, "network"):
        raise ValueError(f"a model {plain.kind(type(model))} has no networks of a width to choose")
    choice: Any = model

    def of_width(width: int) -> Any:
        return replace(choice, network=choice.network.of_width(width))

    def count(width: int) -> int:
        with torch.random.fork_rng():
            return sum(parameter_counts(of_width(width).build(image_shape, schema)).values())

    narrow, wide = 1, 2
    if count(narrow) > parameters:
        raise ValueError(
            f"the model has {count(narrow):,} parameters with the narrowest of networks; got {parameters:,} to match"
        )
    while count(wide) < parameters and wide < WIDEST:
        narrow, wide = wide, 2 * wide
    while wide - narrow > 1:
        middle = (narrow + wide) // 2
        narrow, wide = (middle, wide) if count(middle) < parameters else (narrow, middle)
    return of_width(min((narrow, wide), key=lambda width: abs(count(width) - parameters)))
