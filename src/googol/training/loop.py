"""The training loop of every model."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from googol.data import Dataset, batches
from googol.training.checkpoints import disk_space_errors, load_checkpoint, save_checkpoint, save_model
from googol.training.control import StopSignal, TrainingInterrupted, any_process, seed_everything
from googol.training.figures import FigureMaker, draw_figures, keep_figure
from googol.training.history import History, NonFiniteLossError, RunningMeans
from googol.training.learner import Learner, batches_per_step
from googol.training.progress import Progress, StoppedBy, TrainingResult
from googol.training.settings import TrainingSettings
from googol.training.watch import Watch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# What random numbers are drawn for: a part of every seed.
STEP, EPOCH, VALIDATION, FIGURE = range(4)


def fit(
    model: nn.Module,
    train: Dataset,
    valid: Dataset,
    out: Path | str,
    settings: TrainingSettings,
    *,
    figures: Mapping[str, FigureMaker] | None = None,
    config: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> TrainingResult:
    """Trains a model, and leaves the weights with the best validation loss in it and in the folder `out`.

    The model has `loss(x, y)`, which returns a dictionary of scalars; "loss" is minimised, all are recorded.
    It may have `on_epoch_start(epoch, encode_batches)`, called before each epoch without gradients;
    `encode_batches()` iterates over (x, y) of the training data in their order. Where it changes the
    parameters of `model.prior` (in place) and returns True, the optimiser forgets what it knew of them, and the
    search for the best validation loss begins anew. It may have `on_train_end(y)`, called once, with the weights
    that are left, of the conditions of the training data. It may have `make_optimizer(groups)`; else it gets Adam.

    A game has `players`, `turns` and `loss(x, y, player)`, see :class:`googol.training.learner.Learner`; a step is a
    turn of each. Its losses do not tell how good it is. It has `diagnose(terms, good)`, which says what is wrong with
    the terms of an epoch beside those of the good ones before, see :class:`googol.training.watch.Watch`. The last
    weights with which nothing was wrong are left, or else the last ones; patience counts from when there are some.

    Everything random in a step is a function of (seed, step, process). So a run that was stopped at any
    moment goes on to the very same numbers, whenever its last checkpoint was written.

    Arguments:
        model: The model; parameters of `model.prior`, if there are any, get a learning rate of their own.
        train: Training data.
        valid: Validation data.
        out: The folder of the run: `checkpoints/`, `metrics.csv`, `figures/`, TensorBoard's events, and at
            the end `model.safetensors` and `model.json`.
        settings: The settings.
        figures: What to draw while training: `figures/NAME.png` for each name, and a few of the samples are kept as
            `figures/samples-EPOCH.png`.
        config: What is needed to build the model again; goes into `model.json`, with the result under "training".
        resume: Go on with the run in `out`, from its start if it has no checkpoint yet.

    Raises:
        ValueError: If `out` already holds a run (or, to resume, is no folder), its checkpoint is of
            another model, images are too few for the turns of a game, or no space is left.
        NonFiniteLossError: If a term of the loss is infinite or NaN; the last checkpoint stays.
        TrainingInterrupted: After SIGINT or SIGTERM, once a checkpoint is written, or the model if it was finished.
    """
    from lightning_fabric import Fabric

    out = Path(out)
    if not callable(getattr(model, "loss", None)):
        raise TypeError(f"expected a model with a method loss(x, y), got {type(model).__name__}")
    if len(train) == 0 or len(valid) < settings.devices:
        raise ValueError(f"expected training and validation images, got {len(train)} and {len(valid)}")
    if resume and not out.is_dir():
        raise ValueError(f"expected the folder of a run to resume, got {out}")
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=settings.devices,
        # Parameters may be unused for a while, such as those of a prior during a warm-up.
        strategy="ddp_find_unused_parameters_true" if settings.devices > 1 else "auto",
        precision=settings.precision,
    )
    if fabric.is_global_zero and not resume and (out / "metrics.csv").exists():
        raise ValueError(f"{out} already holds a run: go on with it by --resume, or choose another folder")
    fabric.launch()
    with disk_space_errors(out), StopSignal() as stop:
        run = _Run(fabric, model, train, valid, out, settings, figures or {}, stop)
        if resume:
            run.restore()
        result = run.train_to_the_end(dict(config or {}))
    if stop.received:  # too late to stop the training, but whoever called must not go on
        raise TrainingInterrupted(f"stopped when the training was over; the model is in {out}")
    return result


@dataclass
class _Run:
    fabric: Fabric
    model: Any
    train: Dataset
    valid: Dataset
    out: Path
    settings: TrainingSettings
    figures: Mapping[str, FigureMaker]
    stop: StopSignal

    def __post_init__(self) -> None:
        device = self.fabric.device
        self.train, self.valid = (
            replace(data, images=data.images.to(device), conditions=data.conditions.to(device))
            for data in (self.train, self.valid)
        )
        steps, turns = self.batches(0), batches_per_step(self.model)
        if min(map(len, steps)) < turns:
            raise ValueError(
                f"a step takes {turns} batches, one for each turn of the critic: {len(self.train)} training images in "
                f"batches of {self.settings.batch_size} are too few"
            )
        self.progress = Progress(steps_per_epoch=len(steps))
        self.total_steps = self.settings.epochs * self.progress.steps_per_epoch
        self.learner = Learner(self.fabric, self.model, self.train, self.settings, total_steps=self.total_steps)
        self.means = RunningMeans(self.fabric)
        self.best_weights: dict[str, Tensor] | None = None
        self.watch = Watch() if hasattr(self.model, "diagnose") else None

    def train_to_the_end(self, config: dict[str, Any]) -> TrainingResult:
        from tqdm import tqdm

        progress, first = self.progress, self.fabric.is_global_zero
        self.started = time.monotonic() - progress.seconds
        self.saved_at, self.saved_step = time.monotonic(), progress.step
        pause = 0.2 if sys.stderr.isatty() else 60  # no flood in a log file
        self.bar = tqdm(total=self.total_steps, initial=progress.step, mininterval=pause, disable=not first)
        self.history = History(self.out, rows=progress.rows, step=progress.step) if first else None
        with self.bar, self.history or nullcontext():
            try:
                if self.watch is not None and not self.watch.good:
                    self.watch.begin(self.model, self.validate(self.learner.evaluated))
                while (reason := self.finished()) is None:
                    epoch, done = divmod(progress.step, progress.steps_per_epoch)
                    if done == 0:
                        self.start_epoch(epoch)
                    self.run_epoch(self.batches(epoch)[done:])
                    self.finish_epoch(epoch)
                self.save()
                self.tell_of_problems(at_end=True)
            except NonFiniteLossError as error:
                kept = f"the checkpoint of step {self.saved_step} stays" if self.saved_step else "no checkpoint yet"
                raise NonFiniteLossError(f"{error}; training stopped, {kept}") from None
        epochs = progress.step / progress.steps_per_epoch
        diagnosis = None if self.watch is None else self.watch.diagnosis
        kept_step = progress.step if progress.kept_step is None else progress.kept_step
        result = TrainingResult(
            progress.step, epochs, progress.best_loss, progress.seconds, reason, kept_step, diagnosis
        )
        self.export({**config, "training": result.about})
        return result

    def finished(self) -> StoppedBy | None:
        if self.progress.step >= self.total_steps:
            return "epochs"
        if self.settings.patience and self.progress.epochs_without_improvement >= self.settings.patience:
            return "patience"
        return "time_budget" if self.out_of_time() else None

    def start_epoch(self, epoch: int) -> None:
        if not hasattr(self.model, "on_epoch_start"):
            return
        self.seed(EPOCH, epoch)
        self.model.eval()
        with torch.no_grad():
            prior_changed = self.model.on_epoch_start(epoch, self.encode_batches)
            if self.fabric.world_size > 1:
                for tensor in self.model.state_dict().values():
                    torch.distributed.broadcast(tensor, src=0)
        if prior_changed:
            # A new stage: its loss may have other terms, so what was best before says nothing.
            self.learner.restart_prior()
            self.best_weights, self.progress.kept_step = None, None
            self.progress.best_loss, self.progress.epochs_without_improvement = math.inf, 0
            if self.watch is not None:
                self.watch.restart()

    def run_epoch(self, indices: list[Tensor]) -> None:
        self.model.train()
        order = torch.cat(indices).to(self.fabric.device)  # at once: a GPU is waited for when anything is copied there
        for index in order.split([len(batch) for batch in indices]):
            self.step(index)
            self.bar.update()
            if self.progress.step % self.progress.steps_per_epoch == 0:
                return
            at_row = self.progress.step % self.settings.log_every == 0
            if at_row:
                self.record_means()
            if at_row or self.fabric.world_size == 1:  # processes wait for each other at rows only
                if self.out_of_time():
                    return
                self.save_if_due()

    def step(self, index: Tensor) -> None:
        step = self.progress.step
        self.seed(STEP, step, self.fabric.global_rank)
        self.means.add(step, self.learner.gradient(index, step))
        if self.fabric.device.type == "cpu" and self.fabric.world_size == 1:
            self.means.check()  # would wait for other devices; with those, the next row checks
        self.learner.update(step)
        self.progress.step += 1

    def finish_epoch(self, epoch: int) -> None:
        self.record_means()
        progress, model = self.progress, self.learner.evaluated
        terms = self.validate(model)
        if self.is_better(terms):
            progress.epochs_without_improvement, progress.kept_step = 0, progress.step
            self.best_weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        elif self.best_weights is not None and self.has_started:  # what never was good has not ceased to get better
            progress.epochs_without_improvement += 1
        self.write_row("valid", terms)
        if self.settings.figure_every and (epoch + 1) % self.settings.figure_every == 0:
            self.draw(model)
            # Of the first, second, fourth, eighth … drawing: a few pictures tell the course of any training.
            if ((epoch + 1) // self.settings.figure_every).bit_count() == 1 and self.fabric.is_global_zero:
                keep_figure(self.out / "figures" / "samples.png", f"samples-{epoch + 1:04}.png")
        self.save_if_due()

    def is_better(self, terms: dict[str, float]) -> bool:
        if self.watch is None:
            better = terms["loss"] < self.progress.best_loss
            self.progress.best_loss = min(terms["loss"], self.progress.best_loss)
            return better
        good = self.watch.judge(self.model, terms)
        self.tell_of_problems()
        return good

    def tell_of_problems(self, *, at_end: bool = False) -> None:
        if self.watch is not None and self.fabric.is_global_zero:
            self.watch.tell(self.progress.step, self.progress.kept_step, at_end=at_end)

    @torch.no_grad()
    def validate(self, model: Any) -> dict[str, float]:
        means = RunningMeans(self.fabric, "valid")
        rank, world_size = self.fabric.global_rank, self.fabric.world_size
        for index in torch.arange(rank, len(self.valid), world_size).split(self.settings.batch_size):
            self.seed(VALIDATION, int(index[0]))
            index = index.to(self.fabric.device)
            with self.fabric.autocast():
                terms = model.loss(self.valid.pixels(index), self.valid.conditions[index])
            means.add(self.progress.step, terms, weight=len(index))
        return means.pop()

    def draw(self, model: nn.Module) -> None:
        if self.fabric.is_global_zero:
            self.seed(FIGURE)
            draw_figures(self.figures, model, self.valid, self.out / "figures")

    def export(self, config: dict[str, Any]) -> None:
        self.model.load_state_dict(self.best_weights or self.learner.evaluated.state_dict())
        if hasattr(self.model, "on_train_end"):
            self.model.on_train_end(self.train.conditions)
        self.model.eval()
        if self.fabric.is_global_zero:
            if not self.has_started:
                warnings.warn("training ended within its warm-up: the prior has learned nothing yet", stacklevel=2)
            save_model(self.model, self.out, config)
        self.draw(self.model)
        self.fabric.barrier()

    @property
    def has_started(self) -> bool:
        """Whether the warm-up of the model, if it has one, is over."""
        return bool(getattr(self.model, "started", True))

    def save_if_due(self) -> None:
        interrupted = any_process(self.fabric, self.stop.received)
        due = time.monotonic() - self.saved_at >= self.settings.checkpoint_every_seconds
        if interrupted or any_process(self.fabric, due):
            self.save()
        if interrupted:
            raise TrainingInterrupted(f"stopped at step {self.progress.step}; go on with --resume {self.out}")

    def save(self) -> None:
        self.means.check()
        self.learner.check()
        self.progress.seconds = time.monotonic() - self.started
        if self.history is not None:
            self.history.sync()
            self.progress.rows = self.history.rows
            state = {
                "progress": asdict(self.progress),
                "learner": self.learner.state_dict(),
                "means": self.means.state_dict(),
                "best_weights": self.best_weights,
                "watch": None if self.watch is None else self.watch.state_dict(),
            }
            save_checkpoint(self.out / "checkpoints" / "last.ckpt", state)
        self.saved_at, self.saved_step = time.monotonic(), self.progress.step

    def restore(self) -> None:
        path = self.out / "checkpoints" / "last.ckpt"
        if not path.exists():
            return
        state = load_checkpoint(path)
        try:
            progress, watch = Progress(**state["progress"]), state["watch"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is no checkpoint of this version of googol: {error!r}") from error
        if progress.steps_per_epoch != self.progress.steps_per_epoch:
            raise ValueError(
                f"{path} has {progress.steps_per_epoch} steps an epoch, not {self.progress.steps_per_epoch}: "
                "resume with the same data, batch size and number of devices"
            )
        self.learner.load_state_dict(state["learner"])
        self.means.load_state_dict(state["means"])
        self.progress, self.best_weights = progress, state["best_weights"]
        if self.watch is not None:
            self.watch = Watch(**watch)

    # What the methods above share.

    def batches(self, epoch: int) -> list[Tensor]:
        rank, world_size = self.fabric.global_rank, self.fabric.world_size
        size, seed = self.settings.batch_size * batches_per_step(self.model), self.settings.seed
        return batches(len(self.train), size, seed=seed, epoch=epoch, rank=rank, world_size=world_size)

    def encode_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.arange(len(self.train), device=self.fabric.device).split(self.settings.batch_size):
            yield self.train.pixels(index), self.train.conditions[index]

    def seed(self, *key: int) -> None:
        seed_everything(self.fabric.device, self.settings.seed, *key)

    def record_means(self) -> None:
        if not self.means:
            return
        terms = self.means.pop()
        self.write_row("train", terms)
        if self.watch is not None:
            self.watch.add_row(terms)

    def write_row(self, split: str, terms: Mapping[str, float]) -> None:
        if self.history is not None:
            step = self.progress.step
            self.history.write(step, -(-step // self.progress.steps_per_epoch), split, terms)
            best = f", best {self.progress.best_loss:.4g}" if self.best_weights else ""
            if self.watch is not None:
                best = f", kept: step {self.progress.kept_step}" if self.best_weights else ""
            self.bar.set_postfix_str(f"{split} {terms['loss']:.4g}{best}", refresh=False)

    def out_of_time(self) -> bool:
        if self.settings.time_budget is None:
            return False
        return any_process(self.fabric, time.monotonic() - self.started >= 60 * self.settings.time_budget)
