"""Where a run is, and how it ended."""

import math
from dataclasses import dataclass
from typing import Literal

StoppedBy = Literal["epochs", "patience", "time_budget"]


@dataclass
class Progress:
    """Where a run is: what a checkpoint holds besides the weights and the optimiser's state."""

    steps_per_epoch: int
    step: int = 0
    best_loss: float = math.inf
    epochs_without_improvement: int = 0
    seconds: float = 0.0
    rows: int = 0


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended: steps and epochs done, the best validation loss, seconds, and why it stopped.

    Attributes:
        steps: Steps done.
        epochs: Passes over the training data, the last one perhaps in part.
        best_loss: The best validation loss; infinite where the loss does not tell how good a model is.
        seconds: How long it took, with all its interruptions left out.
        stopped_by: "epochs", "patience" or "time_budget".
    """

    steps: int
    epochs: float
    best_loss: float
    seconds: float
    stopped_by: StoppedBy

    @property
    def about(self) -> dict[str, float | str]:
        """How long it took and why it stopped, as plain data."""
        return {"steps": self.steps, "epochs": self.epochs, "seconds": self.seconds, "stopped_by": self.stopped_by}
