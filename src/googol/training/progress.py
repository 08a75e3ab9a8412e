"""Where a run is, and how it ended."""

import math
from dataclasses import asdict, dataclass
from typing import Literal

StoppedBy = Literal["epochs", "patience", "time_budget"]


@dataclass
class Progress:
    """Where a run is: what a checkpoint holds besides the weights and the optimiser's state."""

    steps_per_epoch: int
    step: int = 0
    best_loss: float = math.inf
    epochs_without_improvement: int = 0
    kept_step: int | None = None
    seconds: float = 0.0
    rows: int = 0


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended: steps and epochs done, the best validation loss, seconds, why it stopped, and what is kept.

    Attributes:
        steps: Steps done.
        epochs: Passes over the training data, the last one perhaps in part.
        best_loss: The best validation loss; infinite where the loss does not tell how good a model is.
        seconds: How long it took, with all its interruptions left out.
        stopped_by: "epochs", "patience" or "time_budget".
        kept_step: The step of the weights that are kept.
        diagnosis: Of a game, how it was in the end: "good", or what was wrong; None of other models.
    """

    steps: int
    epochs: float
    best_loss: float
    seconds: float
    stopped_by: StoppedBy
    kept_step: int
    diagnosis: str | None = None

    @property
    def about(self) -> dict[str, float | str]:
        """How long it took, why it stopped and what is kept, as plain data; of a game also the diagnosis."""
        found = asdict(self)
        return {key: value for key, value in found.items() if key != "best_loss" and value is not None}
