"""The conditions of images, filled in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from googol.data import Dataset, decoded
from googol.experiments.run import Run
from googol.metrics import Accuracy, agreement, evaluating
from googol.metrics.accuracy import unseen
from googol.metrics.evaluation import device_of, in_order
from googol.models import JointVAE

if TYPE_CHECKING:
    from pandas import DataFrame


def impute(run: Run, data: Dataset, *, batch_size: int = 500, seed: int = 0) -> tuple[DataFrame, Accuracy]:
    """Fills in the missing conditions of images, and sees how well it does on those that are known.

    Arguments:
        run: A run of a model that knows conditions.
        data: Images with their known conditions, from `Run.load`.
        batch_size: Images at once.
        seed: Of the codes that are drawn.

    Returns:
        A table with a row for each image: ``row``, its number; ``file``, its name, if it is a file of its own; and for
        each condition c the columns

        - ``c``: the known value, or the one filled in;
        - ``c_imputed``: what the model says. Of a missing value, given the image and the known conditions; of a
          known one, given the image alone, or in a table the other columns;
        - ``c_probability``: the probability of that; empty for a continuous condition, of which the mean is said.

        And the accuracy of what the model says of the known ones.

    Raises:
        ValueError: The model knows no conditions, or the table would have two columns of one name.
    """
    from pandas import DataFrame

    if not run.conditions:
        raise ValueError(f"the model in {run.folder} knows no conditions that could be filled in; train a joint-vae")
    _require_distinct_columns(run, data)
    # First all without what is known of it, from the same codes as in `googol.metrics.imputation_accuracy`.
    alone, both = (_answers(run, data, batch_size, seed, with_known=with_known) for with_known in (False, True))
    known = ~data.conditions.isnan()
    imputed, chance = (torch.where(known, *pair) for pair in zip(alone, both, strict=True))
    filled = torch.where(data.conditions.isnan(), imputed, data.conditions)
    table = DataFrame({"row": range(len(data)), **({"file": data.files} if data.files else {})})
    said = decoded(run.conditions, imputed)
    for column, (name, texts) in enumerate(decoded(run.conditions, filled).items()):
        # What is known stays as it is written: single precision would change long numbers.
        written = zip(data.texts.get(name, texts), texts, known[:, column].tolist(), strict=True)
        table[name] = [text if is_known else found for text, found, is_known in written]
        table[f"{name}_imputed"] = said[name]
        table[f"{name}_probability"] = chance[:, column].double().numpy().round(6)
    return table, agreement(alone[0], data.conditions, run.conditions)


def _require_distinct_columns(run: Run, data: Dataset) -> None:
    """Raises a ValueError if the table would have two columns of one name."""
    of_conditions = [f"{c.name}{end}" for c in run.conditions for end in ("", "_imputed", "_probability")]
    names = Counter(["row", *(["file"] if data.files else []), *of_conditions])
    for name, count in names.items():
        if count > 1:
            raise ValueError(
                f"the table would have {count} columns {name!r}: rename that of {data.name}, and train again"
            )


def _answers(run: Run, data: Dataset, batch_size: int, seed: int, *, with_known: bool) -> tuple[Tensor, Tensor]:
    """What is most probable of every image, and the probability of it; given what is known of it, or without that."""
    with evaluating(run.model, seed=seed):
        pairs = [
            most_probable(run, run.model.impute(x, y) if with_known else unseen(run.model, x, y))
            for x, y in in_order(data, batch_size, device_of(run.model))
        ]
    values, chances = (torch.cat(parts).cpu() for parts in zip(*pairs, strict=True))
    return values, chances


def most_probable(run: Run, answers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The most probable category, or the mean of a number, and the probability of the category.

    Arguments:
        run: The run that was asked.
        answers: What its model gives for each condition: probabilities (B, N), or the mean of a number, (B, 1).
    """
    values, chances = [], []
    for column, (condition, each) in enumerate(zip(run.conditions, answers, strict=True)):
        if condition.is_categorical:
            chance, value = each.max(-1)
            values.append(value.to(each.dtype))
            chances.append(chance)
        else:
            values.append(_mean(run, column, each))
            chances.append(torch.full_like(values[-1], math.nan))
    return torch.stack(values, -1), torch.stack(chances, -1)


def _mean(run: Run, column: int, answer: Tensor) -> Tensor:
    if not isinstance(run.model, JointVAE):
        return answer.squeeze(-1)
    # The joint model gives the probabilities of the components of a number.
    means, _ = run.model.prior().marginal([run.model.latents + column]).emissions.moments()
    return answer @ means[0].to(answer.dtype)
