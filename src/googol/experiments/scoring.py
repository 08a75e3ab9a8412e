"""How well images fit a model, and what it says of their conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from googol.data import Dataset, decoded, permutation
from googol.experiments.imputation import most_probable
from googol.experiments.run import Run
from googol.metrics import auroc, evaluating, importance_bounds, importance_impute, log_likelihoods, typicality

if TYPE_CHECKING:
    from pandas import DataFrame

LEVEL = 0.01
"""The typicality below which an image is uncertain, where validation images can tell."""


@dataclass(frozen=True)
class Scores:
    """What a model says of the n images of a data set.

    Arguments:
        data: The images that were scored.
        index: (n,), their numbers in the data set that they were chosen from.
        log_px: (n,), log p(x) in nats, an importance-weighted bound from below.
        typicality: (n,), see `googol.metrics.typicality`.
        uncertain: (n,) bool, whether the image is less typical than the level.
        values: (n, c), of each condition the most probable category, or the mean of a number.
        probabilities: (n, c), p(y given x) of that category; NaN for a number.
    """

    data: Dataset
    index: Tensor
    log_px: Tensor
    typicality: Tensor
    uncertain: Tensor
    values: Tensor
    probabilities: Tensor

    def least(self, count: int) -> dict[str, float]:
        """log p(x) of the least likely images, from the lowest on, by their file, or by their number if there is none.

        Arguments:
            count: How many, at most.
        """
        lowest = self.log_px.argsort(stable=True)[:count].tolist()
        return {
            self.data.files[i] if self.data.files else str(self.index[i].item()): self.log_px[i].item() for i in lowest
        }

    def table(self, run: Run) -> DataFrame:
        """A row for each image, with the columns that `googol score` writes."""
        from pandas import DataFrame

        table = DataFrame(
            {
                "data": self.data.name,
                "index": self.index.numpy(),
                **({"file": self.data.files} if self.data.files else {}),
                "log_px": self.log_px.double().numpy().round(3),
                "typicality": self.typicality.numpy().round(6),
                "uncertain": self.uncertain.numpy(),
            }
        )
        said = {} if run.is_table else decoded(run.conditions, self.values)
        for column, (name, texts) in enumerate(said.items()):
            table[f"{name}_imputed"] = texts
            table[f"{name}_probability"] = self.probabilities[:, column].double().numpy().round(6)
        return table


@dataclass(frozen=True)
class Scoring:
    """What a model says of images like those it was trained on, and of strangers.

    Arguments:
        run: The run that was asked.
        known: The images like those it was trained on.
        strangers: Images that are unlike them.
        level: The typicality below which an image is uncertain.
        threshold: The log p(x) below which it is.
    """

    run: Run
    known: Scores
    strangers: tuple[Scores, ...]
    level: float
    threshold: float

    @property
    def each(self) -> dict[str, Scores]:
        """The scores of every data set by its name, first the known one."""
        return {scores.data.name: scores for scores in (self.known, *self.strangers)}

    @property
    def auroc(self) -> dict[str, float]:
        """How probably a known image has a higher log p(x) than one of each stranger."""
        return {scores.data.name: auroc(self.known.log_px, scores.log_px) for scores in self.strangers}

    @property
    def uncertain(self) -> dict[str, float]:
        """The share of each data set, the known one too, that gets an uncertain answer."""
        return {name: scores.uncertain.double().mean().item() for name, scores in self.each.items()}

    def table(self) -> DataFrame:
        """The rows of all data sets, one after the other."""
        from pandas import concat

        return concat([scores.table(self.run) for scores in self.each.values()], ignore_index=True)


def score(
    run: Run,
    known: Dataset,
    strangers: Sequence[Dataset] = (),
    *,
    valid: Dataset,
    k: int = 100,
    level: float | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Scoring:
    r"""Scores images by log p(x), and answers what their conditions are, with a warning where they are strange.

    A model of conditions and images knows when it is asked about something that it has never seen, since

    .. math:: p(y, x) = p(y \mid x) \, p(x) :

    an answer y can be certain given the image while no such image is to be expected. The answer is called uncertain
    where the :func:`~googol.metrics.typicality` of the image, among validation images, is below the level. Of images
    like the validation images, at most that share is called so by mistake.

    Arguments:
        run: A run of any variational autoencoder; one without conditions answers nothing.
        known: Images like those it was trained on, from `Run.load`.
        strangers: Images of other data sets, from `Run.load` or `noise`; all names differ.
        valid: The images that the others are compared with; the model was not trained on them.
        k: Codes for each image.
        level: The typicality below which an image is uncertain; by default 0.01, or where the validation images are too
            few to tell that, so that it is what is less probable than all of them.
        limit: How many images of each data set to take at most, the validation images included, at random.
        seed: Of the codes that are drawn, and of the choice.

    Raises:
        ValueError: Two data sets have one name, the level is out of its range or finer than the validation images
            can tell, or the model has no bound of log p(x).
    """
    if not run.is_table and not hasattr(run.model, "importance_bound"):
        raise ValueError(f"the model in {run.folder} has no bound of log p(x); score a variational autoencoder")
    names = [data.name for data in (known, *strangers)]
    if len(set(names)) < len(names):
        raise ValueError(f"the data sets to score must have different names, got {', '.join(names)}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    calibrated = min(len(valid), limit or len(valid))
    if level is None:
        level = LEVEL if 1 / (calibrated + 1) < LEVEL else 1.5 / (calibrated + 1)
    if not 1 / (calibrated + 1) < level < 1:
        raise ValueError(
            f"the level (--level) must be below 1 and above {1 / (calibrated + 1):.2g}, the least typicality that "
            f"{calibrated} validation images can tell, got {level}"
        )
    calibration = log_px(run, _some(valid, limit, seed)[0], k, seed)

    def of(data: Dataset) -> Scores:
        data, index = _some(data, limit, seed)
        if run.conditions and not run.is_table:
            found, probabilities = importance_impute(run.model, data, k, seed=seed)
            with evaluating(run.model, seed=seed):
                values, chances = most_probable(run, probabilities)
        else:
            found = log_px(run, data, k, seed)
            values = chances = found.new_empty(len(data), 0)
        typical = typicality(found, calibration)
        return Scores(data, index, found, typical, typical < level, values, chances)

    # The first of the sorted calibration scores at which the typicality reaches the level.
    threshold = calibration.sort().values[math.ceil(level * (calibrated + 1)) - 2].item()
    return Scoring(run, of(known), tuple(map(of, strangers)), level, threshold)


def log_px(run: Run, data: Dataset, k: int, seed: int) -> Tensor:
    """log p(x) of each image, or of what is known of each row of a table, ``(n,)``, in nats."""
    return log_likelihoods(run.model, data) if run.is_table else importance_bounds(run.model, data, k, seed=seed)


def noise(like: Dataset, *, seed: int = 0) -> Dataset:
    """As many images of the same size whose every pixel is uniformly random, with no known condition.

    Arguments:
        like: The images that tell the number, the size, and whether pixels are black or white, grey, or dequantized.
        seed: Of the pixels.

    Example:
        >>> from googol.data import load
        >>> strangers = noise(load("digits", "test"))
        >>> strangers.images.shape, strangers.conditions.isnan().all()
        (torch.Size([393, 1, 8, 8]), tensor(True))
    """
    if like.is_table:
        raise ValueError(f"noise is a stranger to images, and {like.name} is a table: name another table")
    generator = torch.Generator().manual_seed(seed)
    if like.noise == "none" and like.is_binary:
        images = 255 * torch.randint(2, like.images.shape, generator=generator, dtype=torch.uint8)
    else:
        images = torch.randint(256, like.images.shape, generator=generator, dtype=torch.uint8)
    return Dataset("noise", images, torch.full_like(like.conditions, torch.nan), like.schema, noise=like.noise)


def _some(data: Dataset, limit: int | None, seed: int) -> tuple[Dataset, Tensor]:
    """At most so many of the images, chosen at random, in their order, and their numbers."""
    index = permutation(len(data), seed)[:limit].sort().values
    return data.subset(index), index
