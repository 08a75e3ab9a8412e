"""Whether a game goes well: what its losses do not tell, and a model's `diagnose` does."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Watch:
    """Keeps the terms of the epochs in which nothing was wrong, asks the model about each new one, and says each kind
    of problem once.

    Attributes:
        good: The terms on the validation data before training, and then of each epoch after which all was well. With
            "train_" before their names, the largest values that the terms in training had in a row of that epoch.
        largest: Those of the epoch that is under way.
        problem: The name of what was wrong after the last epoch, and the evidence; none if nothing was.
        first: The name of what was wrong before training, which may well pass.
        told: The names of the problems that have been told.

    Example:
        >>> class Model:
        ...     def diagnose(self, terms, good):
        ...         return ("it is far off", f"by {terms['loss']}") if terms["loss"] > 2 * good[0]["loss"] else None
        >>> watch = Watch()
        >>> watch.begin(Model(), {"loss": 3.0})
        >>> watch.judge(Model(), {"loss": 2.0}), watch.judge(Model(), {"loss": 7.0}), watch.diagnosis
        (True, False, 'it is far off: by 7.0')
    """

    good: list[dict[str, float]] = field(default_factory=list)
    largest: dict[str, float] = field(default_factory=dict)
    problem: tuple[str, str] | None = None
    first: str | None = None
    told: list[str] = field(default_factory=list)

    @property
    def diagnosis(self) -> str:
        """What was found after the last epoch: "good", or what was wrong."""
        if self.problem is not None:
            return ": ".join(self.problem)
        return "good" if len(self.good) > 1 else "no epoch was finished"

    def begin(self, model: Any, terms: Mapping[str, float]) -> None:
        """Starts from the terms on the validation data before training."""
        self.good = [dict(terms)]
        problem = model.diagnose(terms, self.good)
        self.first = problem and problem[0]

    def restart(self) -> None:
        """Forgets the epochs before a new stage."""
        self.good = self.good[:1]

    def add_row(self, terms: Mapping[str, float]) -> None:
        """Takes in the means of the terms over some steps of training."""
        for name, value in terms.items():
            name = f"train_{name}"
            self.largest[name] = max(value, self.largest.get(name, -math.inf))

    def judge(self, model: Any, terms: Mapping[str, float]) -> bool:
        """Whether nothing is wrong after an epoch, from the terms on the validation data."""
        now = {**terms, **self.largest}
        self.largest = {}
        self.problem = model.diagnose(now, self.good)
        if self.problem is None:
            self.good.append(now)
        return self.problem is None

    def tell(self, step: int, kept: int | None, *, at_end: bool) -> None:
        """Warns of the problem, if there is one that was not told; of one that was there at first only at the end."""
        if self.problem is None or self.problem[0] in self.told or (self.problem[0] == self.first and not at_end):
            return
        self.told.append(self.problem[0])
        weights = f"the last good ones, of step {kept}" if kept is not None else "the last ones"
        warnings.warn(f"after {step} steps {self.diagnosis}; the weights kept are {weights}", stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        """What makes the same watch again."""
        return asdict(self)
