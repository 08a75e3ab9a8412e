"""`googol query`: ask a model about its conditions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

from tyro.conf import UseAppendAction, arg

from googol.cli import arguments as shared
from googol.data import parse_given
from googol.experiments import Belief, ask, open_run

DESCRIPTION = """\
Ask a model about its conditions: how probable a choice is, and what goes with it. The answers are exact: the codes and
all conditions that are not asked are summed out.

Examples:
  googol query RUN
  googol query RUN --given Smiling=1 --ask Male
  googol query RUN --given age=30..40 --given hair=brown,grey --json
  googol query RUN --information"""

BAR = 30  # characters of a probability of one


@dataclass(frozen=True)
class Query:
    """What to ask."""

    folder: shared.RunFolder
    """folder of a finished run"""
    given: Annotated[UseAppendAction[list[str]], arg(metavar="NAME=VALUE")] = field(default_factory=list)
    """what is known: a value, a range such as 30..40 or 30.., or a set such as red,blue; repeat it for several"""
    ask: Annotated[str | None, arg(metavar="NAME,NAME,…")] = None
    """the conditions to tell about; by default all that are not given"""
    information: bool = False
    """tell also how much each condition tells about each other one (mutual information)"""
    json: bool = False
    """print one JSON object"""

    def run(self) -> dict[str, Any]:
        """Asks, and tells."""
        run = open_run(self.folder)
        given = parse_given(self.given, run.conditions)
        names = None if self.ask is None else shared.names(self.ask)
        answer = ask(run, given, names, information=self.information)
        density = any(c.values is None and not v.isnan() for c, v in zip(run.conditions, given.values, strict=True))
        if self.given:
            choice = ", ".join(self.given)
            number = f"log-density {answer.log_prob:.4g}" if density else f"probability {_chance(answer.log_prob)}"
            print(f"{choice}: {number}")
            if answer.is_rare:
                print("The model has hardly ever met that: what follows is a guess.")
        for name, belief in answer.beliefs.items():
            print(f"\n{name}")
            _tell(belief)
        print("\nmost probable: " + ", ".join(f"{name}={value}" for name, value in answer.most_probable.items()))
        for name, others in answer.information.items():
            if not others:
                continue
            told = sorted(others.items(), key=lambda pair: -pair[1])
            print(f"{name} tells about " + ", ".join(f"{other} {nats:.3f}" for other, nats in told) + " (nats)")
        return {
            "log_probability": answer.log_prob,
            "probability": None if density else math.exp(answer.log_prob),
            "plausibility": answer.plausibility,
            "beliefs": {name: belief.to_plain() for name, belief in answer.beliefs.items()},
            "most_probable": dict(answer.most_probable),
            "information": {name: dict(others) for name, others in answer.information.items()},
        }


def _chance(log_prob: float) -> str:
    """A probability by its logarithm, however small it is.

    Example:
        >>> _chance(math.log(0.125)), _chance(-1000.0)
        ('0.125', '10^-434')
    """
    return f"{math.exp(log_prob):.4g}" if log_prob > -700 else f"10^{log_prob / math.log(10):.0f}"


def _tell(belief: Belief) -> None:
    if belief.probabilities is not None:
        width = max(map(len, belief.probabilities))
        for value, probability in belief.probabilities.items():
            print(f"  {value:<{width}}  {probability:7.2%}  {'#' * round(BAR * probability)}".rstrip())
        return
    print(f"  mean {belief.mean:.4g}, standard deviation {belief.deviation:.4g}")
    shares = [f"{share:.0%} {value:.4g}" for share, value in (belief.quantiles or {}).items()]
    print("  quantiles " + ", ".join(shares))


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    return shared.parse(Query, arguments, prog="googol query", description=DESCRIPTION)
