"""One step of learning: losses, gradients, optimisers, and the moving average of the weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from googol.data import Dataset, augmented
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
        settings: How images are changed every time they come, and whether PyTorch compiles the loss.
    """

    def __init__(self, model: Any, data: Dataset, settings: TrainingSettings) -> None:
        super().__init__()
        self.model, self.data, self.settings = model, data, settings
        self.labelled = (~data.conditions.isnan()).any(1).nonzero().flatten()
        if settings.labelled_per_batch and not len(self.labelled):
            raise ValueError(f"labelled_per_batch needs images with known conditions, and {data.name} has none")
        # Batches have two sizes at most: a graph for each is faster than one for all.
        self.loss = torch.compile(model.loss, dynamic=False) if settings.compile else model.loss

    def forward(self, index: Tensor, player: str | None) -> dict[str, Tensor]:
        """The terms of the loss of some of the images, of a game that of one player.

        Raises:
            ValueError: If a term is not a scalar, or there is no "loss".
        """
        if more := self.settings.labelled_per_batch:
            drawn = torch.randint(len(self.labelled), (more,), device=index.device)
            index = torch.cat([index, self.labelled[drawn]])
        x = augmented(self.data.pixels(index), mirror=self.settings.mirror, shift=self.settings.shift)
        y = self.data.conditions[index]
        terms: dict[str, Tensor] = self.loss(x, y, *([] if player is None else [player]))
        if "loss" not in terms:
            raise ValueError(f'expected a term "loss" from loss(x, y), got {list(terms)}')
        for name, value in terms.items():
            if value.ndim:
                raise ValueError(f"expected scalars from loss(x, y), got {name} of shape {tuple(value.shape)}")
        return terms


class Player:
    """Parameters that minimise one loss, with their optimiser and learning rates.

    Arguments:
        name: What a game calls it; None for the one of an ordinary model.
        model: The model; it may have `make_optimizer(groups)`.
        parameters: What it moves, and others that are fixed.
        own: The numbers (`id`) of those parameters that have the prior's learning rate.
        settings: The settings.
        fused: Whether Adam may be fused.
    """

    def __init__(
        self,
        name: str | None,
        model: Any,
        parameters: Iterable[nn.Parameter],
        own: set[int],
        settings: TrainingSettings,
        *,
        fused: bool,
    ) -> None:
        self.name = name
        every = list(parameters)
        self.parameters = [parameter for parameter in every if parameter.requires_grad]
        halves = [[parameter for parameter in every if (id(parameter) in own) == half] for half in (False, True)]
        prior_rate = settings.prior_learning_rate or settings.learning_rate
        rates = [settings.learning_rate, prior_rate]
        self.rates = [rate for half, rate in zip(halves, rates, strict=True) if half]
        groups: list[dict[str, Any]] = [{"params": half} for half in halves if half]
        self.optimizer: torch.optim.Optimizer = (
            model.make_optimizer(groups) if hasattr(model, "make_optimizer") else torch.optim.Adam(groups, fused=fused)
        )

    def set_rates(self, factor: float) -> None:
        """Sets the learning rates to their largest values times a factor."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor


def batches_per_step(model: Any) -> int:
    """How many batches a step takes: one, or of a game one for each turn but the last, which shares that before it."""
    return max(1, len(getattr(model, "turns", [None])) - 1)


class Learner:
    """A model with its optimisers, and everything else that a step changes.

    An ordinary model is a game of one player. A game has `players`, the parameters of each by name, and `turns`, the
    names of those who move in a step; `loss(x, y, player)`; and it may have `on_update(player)`.

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
        own = {id(parameter) for parameter in self.prior_parameters} - in_networks
        self.scaled = getattr(fabric.strategy.precision, "scaler", None) is not None
        # The fused step, ten times as fast on a CPU, unscales gradients itself, too late to clip them.
        fused = not self.scaled and fabric.device.type in ("cpu", "cuda")
        named = getattr(model, "players", None) or {None: model.parameters()}
        players = {name: Player(name, model, each, own, settings, fused=fused) for name, each in named.items()}
        self.players = list(players.values())
        self.turns = [players[name] for name in getattr(model, "turns", [None])]
        batch_loss = BatchLoss(model, data, settings)
        self.batch_loss, *wrapped = fabric.setup(batch_loss, *(each.optimizer for each in self.players))
        self.wrapped = dict(zip(players, wrapped, strict=True))
        self.average = copy.deepcopy(model).requires_grad_(False) if settings.average_weights else None

    @property
    def evaluated(self) -> Any:
        """The model to evaluate, in evaluation mode: the one of averaged weights, if they are averaged."""
        return (self.model if self.average is None else self.average).eval()

    def gradient(self, index: Tensor, step: int) -> dict[str, Tensor]:
        """Takes all turns of a step but the last move, whose gradient it leaves in the parameters.

        Returns:
            The terms of the loss; those of players before the last have their name before them, and of each turn the
            last counts. The norm of the gradient is one of them if it is clipped, and in a game.
        """
        batches = index.tensor_split(batches_per_step(self.model))
        terms: dict[str, Tensor] = {}
        for number, player in enumerate(self.turns):
            if number:
                self._move(self.turns[number - 1], step)
            found = self._gradient(player, batches[min(number, len(batches) - 1)])
            prefix = "" if player is self.turns[-1] else f"{player.name}_"
            terms |= {f"{prefix}{name}": value for name, value in found.items()}
        return terms

    def _gradient(self, player: Player, index: Tensor) -> dict[str, Tensor]:
        others = [parameter for other in self.players if other is not player for parameter in other.parameters]
        try:
            for parameter in others:  # nobody learns from what others want
                parameter.requires_grad_(False)
            terms: dict[str, Tensor] = self.batch_loss(index, player.name)
            self.fabric.backward(terms["loss"])
        finally:
            for parameter in others:
                parameter.requires_grad_()
        if self.settings.gradient_clip is not None:
            norm = self.fabric.clip_gradients(
                self.batch_loss,
                self.wrapped[player.name],  # whose parameters are meant
                max_norm=self.settings.gradient_clip,
                error_if_nonfinite=False,
            )
        elif len(self.players) > 1:
            norm = nn.utils.get_total_norm([p.grad for p in player.parameters if p.grad is not None])
        else:
            norm = None
        # A scaler skips a step whose gradient is infinite, and lowers the scale: no error.
        return terms if norm is None or self.scaled else {**terms, "gradient_norm": norm}

    def _move(self, player: Player, step: int) -> None:
        player.set_rates(self.settings.learning_rate_factor(step, self.total_steps))
        self.wrapped[player.name].step()
        self.wrapped[player.name].zero_grad()
        if hasattr(self.model, "on_update"):
            self.model.on_update(player.name)

    def update(self, step: int) -> None:
        """Makes the last move of a step, and averages the weights."""
        self._move(self.turns[-1], step)
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
            for player in self.players:
                player.optimizer.state.pop(parameter, None)
        if self.average is not None:
            self.average.prior.load_state_dict(self.model.prior.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizers": [player.optimizer.state_dict() for player in self.players],
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
                self.average.load_state_dict(state["average"])
            states = state["optimizers"]
            for player, optimizer in zip(self.players, states, strict=True):
                player.optimizer.load_state_dict(optimizer)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"the checkpoint is of another model: {error}") from error
        self.fabric.strategy.precision.load_state_dict(state["precision"])
