"""What the choices share: checks of their options, and the types that they speak of."""

import math

ImageShape = tuple[int, int, int]


def require(least: float, **values: float) -> None:
    """Raises a ValueError unless each of the values is finite and at least so large."""
    for name, value in values.items():
        if not (math.isfinite(value) and value >= least):
            raise ValueError(f"{name} must be at least {least}, got {value}")
