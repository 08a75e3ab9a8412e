"""Editing: images with other conditions, the rest kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from googol.data import Given
from googol.experiments.imputation import most_probable
from googol.experiments.plausibility import share_as_strange
from googol.experiments.questions import distribution_of_conditions, is_rare, require_possible
from googol.experiments.run import Run

LEAST = 0.02  # a condition is not kept where what is changed makes it, or one as strange, less probable than this


@dataclass(frozen=True)
class Edited:
    """Images with other conditions.

    Arguments:
        images: As the model draws them, ``(B, channels, height, width)``.
        conditions: Those that they were given, ``(B, c)``, NaN for those that could not be kept and were left open.
        before: The conditions that each was taken to have, by name.
        after: Those that it was given, by name, without those left open.
        is_guess: Whether the model has hardly ever met what was to be changed.
    """

    images: Tensor
    conditions: Tensor
    before: list[Mapping[str, str]]
    after: list[Mapping[str, str]]
    is_guess: bool


@torch.no_grad()
def edit(run: Run, x: Tensor, change: Given, *, known: Given | None = None) -> Edited:
    """Changes conditions of images, and keeps the others as they are, unless the change makes them next to impossible.

    Arguments:
        run: A run of a joint model.
        x: Images, ``(B, channels, height, width)``.
        change: The exact values that some conditions shall have.
        known: What is known of the conditions of the images; the rest is filled in.

    Raises:
        ValueError: The model cannot edit, no exact value is to be changed, or what is known or wanted is impossible.
    """
    if not hasattr(run.model, "edit"):
        raise ValueError(f"the model in {run.folder} cannot edit images; train a joint-vae")
    labels = distribution_of_conditions(run)
    if change.within or bool(change.values.isnan().all()):
        raise ValueError("an edit needs exact values of conditions to change, not ranges or sets")
    if known is not None and known.within:
        raise ValueError("what is known of an image to edit must be exact values, not ranges or sets")
    is_guess = is_rare(labels, change)
    y = torch.full((len(x), len(run.conditions)), math.nan) if known is None else known.values.expand(len(x), -1)
    if known is not None:
        require_possible(labels, known)
    y = y.to(x)
    filled, _ = most_probable(run, run.model.impute(x, y))
    old = torch.where(y.isnan(), filled, y)
    new = change.values.to(x).expand(len(x), -1).clone()
    for column, condition in enumerate(run.conditions):
        if not bool(change.values[column].isnan()):
            continue
        if condition.is_categorical:
            probs = labels.condition(new).component_probs()[:, column]
            chance = probs.gather(1, old[:, column, None].long()).squeeze(1)
        else:
            chance = share_as_strange(labels, column, old[:, column], new, points=round(2 / LEAST))
        new[:, column] = old[:, column].where(chance >= LEAST, math.nan)
    return Edited(run.model.edit(x, old, new), new, _named(run, old), _named(run, new), is_guess)


def _named(run: Run, rows: Tensor) -> list[Mapping[str, str]]:
    names = [condition.name for condition in run.conditions]
    texts = [
        [condition.decode(number) for condition, number in zip(run.conditions, row, strict=True)]
        for row in rows.tolist()
    ]
    return [{name: text for name, text in zip(names, row, strict=True) if text} for row in texts]
