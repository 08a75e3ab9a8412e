"""Distributions of single conditions as named shares, which the page draws as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.distributions import Normal

from googol.experiments import Answer, Run
from googol.explorer.scales import Scale


@dataclass(frozen=True)
class Bars:
    """How probable the values of a condition are.

    Arguments:
        name: The condition.
        shares: Probabilities by the names of values, or of bins of a continuous condition; they add up to one.
        note: What else is to be said, in a few words.
    """

    name: str
    shares: dict[str, float]
    note: str = ""

    @property
    def top(self) -> str:
        """The name of the most probable value."""
        return max(self.shares, key=lambda name: self.shares[name])


def bars_of_answer(answer: Answer, run: Run, scales: Sequence[Scale | None]) -> list[Bars]:
    """Of what a model answered: of every condition that it was asked for."""
    found = []
    for number, (condition, scale) in enumerate(zip(run.conditions, scales, strict=True)):
        belief = answer.beliefs.get(condition.name)
        if belief is None:
            continue
        if scale is None:
            found.append(Bars(condition.name, dict(belief.probabilities or {})))
            continue
        marginal = answer.joint.marginal([number])
        below = marginal.to_uniform(scale.inner.to(marginal.log_normalizer).unsqueeze(-1)).squeeze(-1)
        low, high = (scale.text((belief.quantiles or {})[share]) for share in (0.25, 0.75))
        note = f"half of them from {low} to {high}"
        found.append(Bars(condition.name, scale.shares(below), note))
    return found


def bars_of_image(probabilities: Sequence[Tensor], run: Run, scales: Sequence[Scale | None]) -> list[Bars]:
    """Of what a model says of one image.

    Arguments:
        probabilities: From the model's ``impute`` of that image: of each condition the probabilities of its values, or
            of its components, ``(1, N)``.
        run: The run.
        scales: Of each continuous condition its scale.
    """
    joint, found = run.model.prior(), []
    for column, (condition, scale, each) in enumerate(zip(run.conditions, scales, probabilities, strict=True)):
        if scale is None:
            shares = each[0].tolist()
            found.append(Bars(condition.name, dict(zip(condition.values or (), shares, strict=True))))
            continue
        means, variances = joint.marginal([run.model.latents + column]).emissions.moments()
        weights = each[0].to(means)
        below = Normal(means[0], variances[0].sqrt()).cdf(scale.inner.to(means).unsqueeze(-1)) @ weights
        note = f"about {scale.text(float(weights @ means[0]))}"
        found.append(Bars(condition.name, scale.shares(below), note))
    return found
