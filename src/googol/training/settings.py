"""How a model is trained: the numbers that do not depend on the model."""

import math
from dataclasses import dataclass, fields
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The settings of a training run.

    Raises:
        ValueError: If a value is outside its range.

    Example:
        >>> TrainingSettings(epochs=3, batch_size=64).learning_rate
        0.001
        >>> TrainingSettings(epochs=0)
        Traceback (most recent call last):
            ...
        ValueError: expected epochs to be at least 1, got 0
    """

    epochs: int = 10
    """passes over the training data"""
    batch_size: int = 128
    """images in a batch, in each process"""
    learning_rate: float = 1e-3
    """learning rate of the optimiser, which is Adam if the model does not say otherwise"""
    prior_learning_rate: float | None = 0.02
    """learning rate of the prior's parameters, but for networks in it; None for that of the rest"""
    schedule: Literal["cosine", "constant"] = "cosine"
    """how the learning rates change over the epochs: down to zero along a cosine, or not at all"""
    warmup_steps: int = 100
    """steps over which the learning rates rise from zero"""
    gradient_clip: float | None = None
    """largest norm of the gradient, beyond which it is scaled down; by default none"""
    average_weights: float = 0.0
    """decay of a moving average of the weights, which is what is evaluated and saved; 0 = no average"""
    mirror: bool = False
    """whether each image is mirrored, left to right, half of the times that it comes"""
    shift: int = 0
    """largest number of pixels by which each image is shifted every time it comes"""
    labelled_per_batch: int = 0
    """images with a known condition that every batch has besides, drawn at random; for few labels"""
    patience: int | None = None
    """epochs without a better validation loss after which training stops; by default never"""
    time_budget: float | None = None
    """minutes after which training stops; by default never"""
    seed: int = 0
    """seed of everything random in training"""
    accelerator: str = "auto"
    """kind of device: auto, cpu, cuda, mps"""
    devices: int = 1
    """number of devices (processes)"""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """numerical precision"""
    compile: bool = False
    """whether PyTorch compiles the loss in training, which takes up to two minutes at the start"""
    log_every: int = 50
    """steps between two rows of metrics.csv"""
    checkpoint_every_seconds: float = 60.0
    """seconds between two checkpoints"""
    figure_every: int | None = 10
    """epochs between two drawings of the figures; by default 10"""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "devices", "log_every", "patience", "figure_every"):
            self._require(name, 1)
        for name in ("warmup_steps", "shift", "labelled_per_batch", "seed", "checkpoint_every_seconds"):
            self._require(name, 0)
        for name in ("learning_rate", "prior_learning_rate", "gradient_clip", "time_budget"):
            self._require(name, 0, strictly=True)
        if self.seed >= 2**63:
            raise ValueError(f"expected seed to be at most 2^63 - 1, got {self.seed}")
        if not 0 <= self.average_weights < 1:
            raise ValueError(f"expected average_weights in [0, 1), got {self.average_weights!r}")
        for field in fields(self):
            choices = getattr(field.type, "__args__", ())
            if all(isinstance(choice, str) for choice in choices) and choices:
                value = getattr(self, field.name)
                if value not in choices:
                    raise ValueError(f"expected {field.name} to be one of {', '.join(choices)}, got {value!r}")

    def _require(self, name: str, least: float, *, strictly: bool = False) -> None:
        value = getattr(self, name)
        if value is None:
            return
        if not math.isfinite(value) or value < least or (strictly and value == least):
            bound = f"greater than {least}" if strictly else f"at least {least}"
            finite = " and finite" if math.isinf(value) else ""
            raise ValueError(f"expected {name} to be {bound}{finite}, got {value!r}")

    def learning_rate_factor(self, step: int, total_steps: int) -> float:
        """The factor on the learning rates at a step: a linear warm-up times a cosine, or a constant.

        Example:
            >>> settings = TrainingSettings(warmup_steps=2)
            >>> [round(settings.learning_rate_factor(step, 100), 2) for step in (0, 1, 50, 100)]
            [0.5, 1.0, 0.5, 0.0]
        """
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if self.schedule == "constant":
            return warmup
        return warmup * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total_steps)))
