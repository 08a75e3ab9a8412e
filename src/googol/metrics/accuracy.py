"""How often conditions come out right: of generated images, and filled in for given ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from googol.data import Condition, Dataset
from googol.metrics.evaluation import Evaluable, device_of, evaluating, in_order


class Judge(Evaluable, Protocol):
    """What tells the conditions of an image, such as a `Classifier`."""

    def predict(self, x: Tensor) -> Tensor: ...


class Conditional(Evaluable, Protocol):
    """A model that generates images under given conditions (n, c)."""

    def sample(self, n: int, given: Tensor) -> Tensor: ...


class Imputing(Evaluable, Protocol):
    """A model that gives p(y given x): for each categorical condition the probabilities (B, values), or the mean of a
    number (B, 1). A model of tables has `impute_each(y)`, which gives them for each column given the others.
    """

    def impute(self, x: Tensor) -> Sequence[Tensor]: ...


def unseen(model: Any, x: Tensor, y: Tensor) -> Sequence[Tensor]:
    """What a model says of each condition without seeing it: given the image alone, or in a table the other columns.

    Args:
        model: See `Imputing`.
        x: Images (B, channels, height, width), of a table of no pixels.
        y: Conditions (B, c).
    """
    found: Sequence[Tensor] = model.impute_each(y) if hasattr(model, "impute_each") else model.impute(x)
    return found


@dataclass(frozen=True)
class Accuracy:
    """How well predictions agree with the truth.

    Args:
        mean: The fraction right, averaged over the categorical conditions; NaN if there are none.
        each: By the name of the condition, the fraction right of a categorical one and the coefficient of
            determination of a continuous one. A condition of which no true value is known is left out.
    """

    mean: float
    each: dict[str, float]


def agreement(predicted: Tensor, truth: Tensor, schema: Sequence[Condition]) -> Accuracy:
    """Compare predictions with the truth, column by column; NaN in the truth is skipped.

    Args:
        predicted: (n, c), indices of categories and numbers; a column of NaN is not predicted, and left out.
        truth: (n, c).
        schema: What the columns are.

    Example:
        >>> import torch
        >>> from googol.data import Condition
        >>> from googol.metrics import agreement
        >>> schema = [Condition("digit", ("0", "1", "2"))]
        >>> agreement(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [2.0], [torch.nan]]), schema)
        Accuracy(mean=0.5, each={'digit': 0.5})
    """
    if predicted.shape != truth.shape or truth.shape[1:] != (len(schema),):
        raise ValueError(
            f"Expected predicted and truth to be (n, {len(schema)}); "
            f"got {tuple(predicted.shape)} and {tuple(truth.shape)}."
        )
    each: dict[str, float] = {}
    categorical: list[float] = []
    for condition, said, true in zip(schema, predicted.double().T, truth.double().T, strict=True):
        known = ~true.isnan()
        if not known.any() or said.isnan().all():
            continue
        said, true = said[known], true[known]
        if condition.is_categorical:
            each[condition.name] = (said == true).double().mean().item()
            categorical.append(each[condition.name])
        else:
            each[condition.name] = _determination(said, true)
    return Accuracy(math.fsum(categorical) / len(categorical) if categorical else math.nan, each)


def _determination(predicted: Tensor, truth: Tensor) -> float:
    """One minus the mean squared error over the variance; NaN where the truth does not vary."""
    variance = truth.var(correction=0).item()
    return 1 - (predicted - truth).square().mean().item() / variance if variance > 0 else math.nan


def condition_accuracy(
    model: Conditional,
    classifier: Judge,
    data: Dataset,
    n: int = 10_000,
    *,
    batch_size: int = 500,
    seed: int = 0,
) -> Accuracy:
    """Generate images under given conditions and see whether the classifier finds these conditions in them.

    All conditions are given. They are drawn, with replacement, from the rows of a data set in which all are
    known, so they come in the combinations and with the frequencies of the data.

    References:
        Kuznetsov et al., Subset-Conditioned Generation Using Variational Autoencoder With A Learnable
        Tensor-Train Induced Prior (2018), sections 6.3 and 6.4, where it is called accuracy.

    Args:
        model: Has ``sample(n, given)``.
        classifier: Has ``predict(x)``, (n, c).
        data: Whose conditions are given.
        n: How many images are generated.
        batch_size: Images at once.
        seed: Of the rows drawn and of the images.

    Raises:
        ValueError: No row of the data has all conditions, or ``n`` or ``batch_size`` is below 1.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.data import load
        >>> class Painter(nn.Module):
        ...     def sample(self, n, given):
        ...         return given.view(n, 1, 1, 1).expand(n, 1, 8, 8)
        >>> class Reader(nn.Module):
        ...     def predict(self, x):
        ...         return x[:, 0, 0, :1]
        >>> condition_accuracy(Painter(), Reader(), load("digits", "test"), 100)
        Accuracy(mean=1.0, each={'digit': 1.0})
    """
    if n < 1 or batch_size < 1:
        raise ValueError(f"Expected n and batch_size to be at least 1; got {n} and {batch_size}.")
    complete = data.conditions[~data.conditions.isnan().any(1)]
    if not data.schema or len(complete) == 0:
        raise ValueError(f"Expected data with conditions that are all known in some row; got none in {data.name}.")
    with evaluating(model, classifier, seed=seed):
        rows = complete[torch.randint(len(complete), (n,))]
        predicted = [
            classifier.predict(model.sample(len(given), given=given.to(device_of(model)))).cpu()
            for given in rows.split(batch_size)
        ]
    return agreement(torch.cat(predicted), rows, data.schema)


def imputation_accuracy(model: Imputing, data: Dataset, *, batch_size: int = 500, seed: int = 0) -> Accuracy:
    """See how often the most probable value of p(y given x) is the true one; unknown truths are skipped.

    In a table each column is filled in given the others.

    Args:
        model: Has ``impute(x)``, or ``impute_each(y)``. What it gives for a continuous condition is judged
            in a table alone.
        data: Images with their true conditions, or a table.
        batch_size: Images at once.
        seed: Of the samples of the posterior.

    Raises:
        ValueError: No condition of the data is known.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.data import load
        >>> class Zeros(nn.Module):
        ...     def impute(self, x):
        ...         return [torch.eye(10)[0].expand(len(x), 10)]
        >>> data = load("digits", "test")
        >>> imputation_accuracy(Zeros(), data).mean == (data.conditions == 0).double().mean()
        tensor(True)
    """
    _require_conditions(data)
    predicted = []
    with evaluating(model, seed=seed):
        for x, y in in_order(data, batch_size, device_of(model)):
            row = torch.full_like(y, math.nan)
            for column, (condition, p) in enumerate(zip(data.schema, unseen(model, x, y), strict=True)):
                if condition.is_categorical:
                    row[:, column] = p.argmax(-1).to(row.dtype)
                elif data.is_table:
                    row[:, column] = p.squeeze(-1).to(row.dtype)
            predicted.append(row.cpu())
    return agreement(torch.cat(predicted), data.conditions, data.schema)


def imputation_baseline(data: Dataset) -> Accuracy:
    """What one gets by always saying the most frequent value of each categorical condition among the images.

    Args:
        data: Images with their true conditions.

    Raises:
        ValueError: No condition of the data is known.

    Example:
        >>> from googol.data import load
        >>> round(imputation_baseline(load("digits", "test")).mean, 2)
        0.1
    """
    _require_conditions(data)
    return agreement(commonest_values(data, torch.zeros(len(data), dtype=torch.long)), data.conditions, data.schema)


def commonest_values(data: Dataset, group: Tensor) -> Tensor:
    """The most frequent value of each categorical condition in the group of an image, (n, c); NaN of other conditions.

    Args:
        data: Images with their true conditions.
        group: The number of the group of each, (n,), from 0 on.
    """
    said = torch.full_like(data.conditions, math.nan)
    for column, condition in enumerate(data.schema):
        true = data.conditions[:, column]
        known = ~true.isnan()
        if condition.values is None or not known.any():
            continue
        counts = torch.zeros(int(group.max()) + 1, len(condition.values))
        counts.index_put_((group[known], true[known].long()), torch.ones(1), accumulate=True)
        said[:, column] = counts.argmax(-1)[group].to(said.dtype)
    return said


def _require_conditions(data: Dataset) -> None:
    if not data.schema or (len(data) and bool(data.conditions.isnan().all())):
        raise ValueError(f"Expected data with known conditions; {data.name} has none.")
