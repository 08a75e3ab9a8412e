"""Questions to a trained model about its conditions: how probable a choice is, and what goes with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from googol.data import Condition, Given, unknown
from googol.distributions import TensorRingDistribution, mutual_information
from googol.experiments.plausibility import RARE, plausibility
from googol.experiments.run import Run

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Below this log-density, numbers of single precision no longer tell apart what could have caused it.
IMPOSSIBLE = -1e6


@dataclass(frozen=True)
class Belief:
    """The distribution of one condition.

    Arguments:
        condition: Which one.
        probabilities: Of its values by name, if it is categorical.
        mean: Its mean, if it is continuous.
        deviation: Its standard deviation, if it is continuous.
        quantiles: The values below which it lies with the probabilities `QUANTILES`, if it is continuous.
    """

    condition: Condition
    probabilities: Mapping[str, float] | None = None
    mean: float = math.nan
    deviation: float = math.nan
    quantiles: Mapping[float, float] | None = None

    def to_plain(self) -> dict[str, Any]:
        """For JSON: probabilities by value, or the mean, the deviation and quantiles."""
        if self.probabilities is not None:
            return dict(self.probabilities)
        quantiles = {f"{share:g}": value for share, value in (self.quantiles or {}).items()}
        return {"mean": self.mean, "standard_deviation": self.deviation, "quantiles": quantiles}


@dataclass(frozen=True)
class Answer:
    """What a model says of a choice of conditions.

    Arguments:
        log_prob: The log-probability of the choice; of exact values of continuous conditions the log-density.
        plausibility: How probable something as strange as the choice is, from 0 to 1; see
            `googol.experiments.plausibility`.
        beliefs: The distribution of each other condition given the choice, by name.
        most_probable: The most probable values of all conditions given the choice, by name.
        information: How much each condition tells about each other one, in nats, given the choice, by their names.
        joint: The distribution of all conditions given the choice, for whatever else is to be asked.
    """

    log_prob: float
    plausibility: float
    beliefs: Mapping[str, Belief]
    most_probable: Mapping[str, str]
    information: Mapping[str, Mapping[str, float]]
    joint: TensorRingDistribution

    @property
    def is_rare(self) -> bool:
        """Whether the model has hardly ever met that, so that its answers are guesses."""
        return self.plausibility < RARE


@torch.no_grad()
def ask(run: Run, given: Given, names: tuple[str, ...] | None = None, *, information: bool = False) -> Answer:
    """Asks a model about its conditions, exactly: the codes and all conditions that are not asked are summed out.

    Arguments:
        run: A run of a model that knows conditions.
        given: What is known of them.
        names: The conditions that are asked for; by default all that are not known exactly.
        information: Tell also how much each condition tells about the others.

    Raises:
        ValueError: The model has no distribution of conditions, a name is unknown or its value is given, or what is
            given cannot be.
    """
    labels = distribution_of_conditions(run)
    log_prob = require_possible(labels, given)
    conditioned = labels.condition(given.values.to(labels.log_normalizer), within=given.within)
    numbers = open_conditions(run, given, names)
    mode, shares = conditioned.mode.tolist(), conditioned.component_probs()
    return Answer(
        log_prob=log_prob.item(),
        plausibility=plausibility(labels, given),
        beliefs={run.conditions[j].name: _belief(conditioned, shares, j, run.conditions[j]) for j in numbers},
        most_probable={c.name: c.decode(number) for c, number in zip(run.conditions, mode, strict=True)},
        information=_information(run, conditioned, open_conditions(run, given)) if information else {},
        joint=conditioned,
    )


def is_rare(labels: TensorRingDistribution, given: Given) -> bool:
    """Whether a model has hardly ever met what is given.

    Arguments:
        labels: p(y), over the conditions in their order.
        given: What is given.

    Raises:
        ValueError: It cannot be.
    """
    require_possible(labels, given)
    return plausibility(labels, given) < RARE


def distribution_of_conditions(run: Run) -> TensorRingDistribution:
    """p(y) of the model of a run, over its conditions in their order.

    Raises:
        ValueError: The model has none.
    """
    if not run.conditions or not hasattr(run.model, "label_distribution"):
        raise ValueError(f"the model in {run.folder} has no distribution of conditions; train a joint-vae or a cvae")
    return run.model.label_distribution()


def open_conditions(run: Run, given: Given, names: tuple[str, ...] | None = None) -> list[int]:
    """The numbers of the named conditions, or of all whose value is not given.

    Raises:
        ValueError: A name is unknown, or its value is given.
    """
    known = [condition.name for condition in run.conditions]
    if names is None:
        return [j for j in range(len(known)) if bool(given.values[j].isnan())]
    for name in names:
        if name not in known:
            raise ValueError(unknown("condition", name, known))
        if not bool(given.values[known.index(name)].isnan()):
            raise ValueError(f"the value of {name} is given; ask for another condition")
    return [known.index(name) for name in names]


def require_possible(labels: TensorRingDistribution, given: Given) -> Tensor:
    """The log-density of what is given.

    Arguments:
        labels: p(y), over the conditions in their order.
        given: What is given.

    Raises:
        ValueError: It cannot be.
    """
    log_prob = labels.log_prob(given.values.to(labels.log_normalizer), within=given.within)
    if not bool(log_prob > IMPOSSIBLE):
        raise ValueError("what is given is impossible for this model")
    return log_prob


def _belief(joint: TensorRingDistribution, shares: Tensor, number: int, condition: Condition) -> Belief:
    """The belief about one condition, where the shares are those of the components of all, ``(c, N)``."""
    if condition.values is not None:
        probabilities = shares[number, : len(condition.values)].tolist()
        return Belief(condition, dict(zip(condition.values, probabilities, strict=True)))
    marginal = joint.marginal([number])
    levels = torch.tensor(QUANTILES).to(joint.log_normalizer)
    quantiles = marginal.from_uniform(levels.unsqueeze(-1)).squeeze(-1).tolist()
    mean, deviation = marginal.mean.item(), marginal.stddev.item()
    return Belief(condition, None, mean, deviation, dict(zip(QUANTILES, quantiles, strict=True)))


def _information(run: Run, joint: TensorRingDistribution, numbers: list[int]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {run.conditions[j].name: {} for j in numbers}
    for place, i in enumerate(numbers):
        for j in numbers[:place]:
            nats = mutual_information(joint, i, j).item()
            found[run.conditions[i].name][run.conditions[j].name] = nats
            found[run.conditions[j].name][run.conditions[i].name] = nats
    return found
