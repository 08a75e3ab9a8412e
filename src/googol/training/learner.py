"""One step of learning: loss, gradient, Adam, and the moving average of the weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from googol.data import Dataset
from googol.training.history import NonFiniteLossError
from googol.training.settings import TrainingSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class BatchLoss(nn.Module):
    """A model's loss as a forward pass, through which Fabric sets the precision and joins the processes.

    It takes indices of the data, since Fabric would round floating-point inputs to the lower precision.

    Arguments:
        model: The model, with `loss(x, y)`.
        data: The training data, on the model's device.
    """

    def __init__(self, model: Any, data: Dataset) -> None:
        super().__init__()
        self.model = model
        self.data = data

    def forward(self, index: Tensor) -> dict[str, Tensor]:
        """The terms of the loss of some of the images.

        Raises:
            ValueError: If a term is not a scalar, or there is no "loss".
        """
        terms: dict[str, Tensor] = self.model.loss(self.data.pixels(index), self.data.conditions[index])
        if "loss" not in terms:
            raise ValueError(f'expected a term "loss" from loss(x, y), got {list(terms)}')
        for name, value in terms.items():
            if value.ndim:
                raise ValueError(f"expected scalars from loss(x, y), got {name} of shape {tuple(value.shape)}")
        return terms


class Learner:
    """A model with its optimiser, and everything else that a step changes.

    Arguments:
        fabric: The devices.
        model: The model; the parameters of `model.prior`, but for networks in it, have their own learning rate.
        data: The training data, on the device.
        settings: The settings.
        total_steps: Number of steps over which the learning rates follow their schedule.
    """

    def __init__(
        self, fabric: Fabric, model: Any, data: Dataset, settings: TrainingSettings, *, total_steps: int
    ) -> None:
        self.fabric, self.model, self.settings, self.total_steps = fabric, model, settings, total_steps
        prior = getattr(model, "prior", None)
        prior = prior if isinstance(prior, nn.Module) else nn.Module()
        self.prior_parameters = list(prior.parameters())
        # The networks of a flow learn like all networks; it is locations, scales and weights that want larger steps.
        layers = [layer for layer in prior.modules() if isinstance(getattr(layer, "weight", None), nn.Parameter)]
        in_networks = {id(parameter) for layer in layers for parameter in layer.parameters()}
        own = [parameter for parameter in self.prior_parameters if id(parameter) not in in_networks]
        rest = [parameter for parameter in model.parameters() if id(parameter) not in set(map(id, own))]
        prior_rate = settings.prior_learning_rate or settings.learning_rate
        groups = [(rest, settings.learning_rate), (own, prior_rate)]
        self.rates = [rate for parameters, rate in groups if parameters]
        self.scaled = getattr(fabric.strategy.precision, "scaler", None) is not None
        self.adam = torch.optim.Adam(
            [{"params": parameters} for parameters, _ in groups if parameters],
            # The fused step, ten times as fast on a CPU, unscales gradients itself, too late to clip them.
            fused=not self.scaled and fabric.device.type in ("cpu", "cuda"),
        )
        self.batch_loss, self.optimizer = fabric.setup(BatchLoss(model, data), self.adam)
        self.average = copy.deepcopy(model).requires_grad_(False) if settings.average_weights else None

    @property
    def evaluated(self) -> Any:
        """The model to evaluate, in evaluation mode: the one of averaged weights, if they are averaged."""
        return (self.model if self.average is None else self.average).eval()

    def gradient(self, index: Tensor) -> dict[str, Tensor]:
        """Leaves the gradient of some images' loss in the parameters; returns the terms, and its norm if clipped."""
        terms: dict[str, Tensor] = self.batch_loss(index)
        self.fabric.backward(terms["loss"])
        if self.settings.gradient_clip is None:
            return terms
        norm = self.fabric.clip_gradients(
            self.batch_loss, self.optimizer, max_norm=self.settings.gradient_clip, error_if_nonfinite=False
        )
        # A scaler skips a step whose gradient is infinite, and lowers the scale: no error.
        return terms if norm is None or self.scaled else {**terms, "gradient_norm": norm}

    def update(self, step: int) -> None:
        """Changes the weights by the gradient."""
        factor = self.settings.learning_rate_factor(step, self.total_steps)
        for group, rate in zip(self.adam.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            decay = min(self.settings.average_weights, (1 + step) / (10 + step))  # soon forgets the first steps
            get_ema_multi_avg_fn(decay)(list(self.average.parameters()), list(self.model.parameters()), None)
            for averaged, current in zip(self.average.buffers(), self.model.buffers(), strict=True):
                averaged.copy_(current)

    def check(self) -> None:
        """Waits for the device, and raises `NonFiniteLossError` if a weight is infinite or NaN."""
        finite = torch.stack([parameter.isfinite().all() for parameter in self.model.parameters()]).tolist()
        names = [name for name, _ in self.model.named_parameters()]
        if bad := [name for name, good in zip(names, finite, strict=True) if not good]:
            raise NonFiniteLossError(f"a finite loss had a gradient that is not: weights {', '.join(bad)}")

    def restart_prior(self) -> None:
        """Forgets what the optimiser and the average know of the prior, after it was changed from outside."""
        for parameter in self.prior_parameters:
            self.adam.state.pop(parameter, None)
        if self.average is not None:
            self.average.prior.load_state_dict(self.model.prior.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.adam.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken.

        Raises:
            ValueError: If the state is of another model.
        """
        try:
            self.model.load_state_dict(state["model"])
            if self.average is not None:
                self.average.load_state_dict(state["average"] or state["model"])
            self.adam.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"the checkpoint is of another model: {error}") from error
        self.fabric.strategy.precision.load_state_dict(state["precision"])
