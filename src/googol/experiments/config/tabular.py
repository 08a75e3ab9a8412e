"""The choice of a model of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from googol.experiments.config.common import ImageShape
from googol.experiments.config.priors import JointPrior, TensorRing

if TYPE_CHECKING:
    from googol import models
    from googol.data import Condition


@dataclass(frozen=True)
class Tabular:
    """The joint distribution of the columns of a table: fills in holes, and draws rows under any conditions."""

    takes_conditions: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {
        "epochs": 100,
        "learning_rate": 0.01,
        "prior_learning_rate": None,
        "figure_every": 50,
    }

    prior: JointPrior = TensorRing(rank=20, boundary="train")

    def build(self, image_shape: ImageShape, schema: Sequence[Condition]) -> models.Tabular:
        """The model, with weights to start from.

        Raises:
            ValueError: There is no column.
        """
        from googol.models import Tabular as Model

        if not schema:
            raise ValueError("a model tabular needs a table with columns to learn, and none is left")
        return Model(self.prior.build_joint(0, schema))
