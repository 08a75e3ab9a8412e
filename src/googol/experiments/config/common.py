"""What the choices share: checks of their options, and the types that they speak of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from googol.data import Condition

ImageShape = tuple[int, int, int]


def require(least: float, **values: float) -> None:
    """Raises a ValueError unless each of the values is finite and at least so large."""
    for name, value in values.items():
        if not (math.isfinite(value) and value >= least):
            raise ValueError(f"{name} must be at least {least}, got {value}")


def require_positive(**values: float) -> None:
    """Raises a ValueError unless each of the values is finite and positive."""
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive, got {value}")


def require_conditions(kind: str, schema: Sequence[Condition]) -> None:
    """Raises a ValueError if there is no condition."""
    if not schema:
        raise ValueError(f"a model {kind} needs data with conditions, and these have none; train a vae, or add them")


def wants_dequantized(model: Any) -> bool:
    """Whether the choice of a model is one of pixels between the 256 levels, as its likelihood says if it has one."""
    return hasattr(model, "likelihood") and bool(model.likelihood.dequantized)
