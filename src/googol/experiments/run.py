"""Runs: folders that hold an experiment, and in the end its model."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from googol.data import Condition, Dataset, load
from googol.experiments import plain
from googol.experiments.caveats import cost_notes, exactness_notes
from googol.experiments.config import ImageShape, Model, Tabular, wants_dequantized
from googol.experiments.experiment import Experiment, about_data, read_about_data, read_config, write_config
from googol.experiments.sizes import match_parameters
from googol.metrics import parameter_counts
from googol.priors import NormalMixture, VampPrior
from googol.training import (
    STANDARD_FIGURES,
    TABLE_FIGURES,
    TrainingResult,
    disk_space_errors,
    fit,
    load_config,
    load_weights,
)

_LOCK = ".lock"  # held by the process that trains in the folder


def train(
    experiment: Experiment, out: Path | str, *, note: Callable[[str], object] = lambda text: None
) -> TrainingResult:
    """Trains the model of an experiment in a new folder.

    Arguments:
        experiment: What to do.
        out: The folder of the run; it must be empty or not exist.
        note: Called, before training, with each line that whoever waits for it should know.

    Raises:
        ValueError: If the folder holds something, another process trains in it, or the data do not suit the model.
        NonFiniteLossError: If a term of the loss is infinite or NaN.
        TrainingInterrupted: After SIGINT or SIGTERM; `resume` goes on.
    """
    out = Path(out)
    if is_first_process():
        _check_free(out)
    data = experiment.load("train")
    if data.is_table != isinstance(experiment.model, Tabular):
        kind = plain.kind(type(experiment.model))
        wants = "images" if data.is_table else "a table (.csv or .parquet)"
        has = "is a table: train a model tabular" if data.is_table else "has images"
        raise ValueError(f"a model {kind} is of {wants}, and {data.name} {has}")
    known = (~data.conditions.isnan()).any(0).tolist()
    if experiment.model.takes_conditions and not all(known):
        row = "row" if data.is_table else "image"
        without = [condition.name for condition, some in zip(data.schema, known, strict=True) if not some]
        raise ValueError(
            f"no training {row} has a known {' or '.join(without)}: hide fewer labels, or name other conditions"
        )
    _check_devices(experiment)
    if experiment.match_parameters is not None:
        # From here on the width is what it came out as, so that the run opens and resumes like any other.
        size = experiment.match_parameters
        found = match_parameters(experiment.model, data.image_shape, data.schema, size)
        experiment = replace(experiment, model=found)
    model = experiment.build(data.image_shape, data.schema)
    notes = [*exactness_notes(data), *cost_notes(model)]
    if experiment.match_parameters is not None:
        count = sum(parameter_counts(model).values())
        network = getattr(experiment.model, "network", None)
        notes.append(f"{experiment.match_parameters:,} parameters asked for: {count:,} with {network}")
    for part in model.modules():
        if isinstance(part, VampPrior):
            part.check_images(len(data))
        if isinstance(part, NormalMixture) and getattr(model, "warmup_epochs", False):
            part.check_codes(len(data))
    with _alone(out):
        if is_first_process():
            _check_free(out)
            for text in notes:
                note(text)
            with disk_space_errors(out):
                write_config(out / "config.yaml", experiment, data, shlex.join(["googol", *sys.argv[1:]]))
        try:
            return _fit(experiment, model, data, out, resume=False)
        except ValueError:
            if not (out / "metrics.csv").exists():  # it could not even begin, so there is nothing to go on with
                (out / "config.yaml").unlink(missing_ok=True)
            raise


def resume(out: Path | str, *, data_dir: str | None = None, time_budget: float | None = None) -> TrainingResult:
    """Goes on with a run that was interrupted, as if it had not been.

    Arguments:
        out: The folder of the run.
        data_dir: The folder of the data files, if it is another one by now.
        time_budget: Minutes that the training may take, those before it was interrupted among them; by default what
            it was started with.

    Raises:
        ValueError: If the folder holds no run, a finished one, one from a newer version or one that another process is
            training, or the data have another size, image shape or other conditions by now.
    """
    out = Path(out)
    if not (out / "config.yaml").is_file():
        raise ValueError(f"{out} is not the folder of a run: it has no config.yaml")
    if (out / "model.json").is_file():
        raise ValueError(f"the run in {out} is finished: there is nothing to resume")
    experiment, about = read_config(out / "config.yaml")
    if data_dir is not None:
        experiment = replace(experiment, data_dir=data_dir)
    if time_budget is not None:
        experiment = replace(experiment, training=replace(experiment.training, time_budget=time_budget))
    data = experiment.load("train")
    if about_data(data.image_shape, data.schema) != about:
        raise ValueError(f"{experiment.data} has other images or conditions than when the run in {out} was started")
    with _alone(out):
        return _fit(experiment, experiment.build(data.image_shape, data.schema), data, out, resume=True)


def is_first_process() -> bool:
    """Whether this process is the one that writes, of those that train together."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keeps other processes from training in the folder, but for those that train together with this one.

    Raises:
        ValueError: If one does already.
    """
    from filelock import FileLock, Timeout

    if not is_first_process():
        yield
        return
    with disk_space_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(out / _LOCK, timeout=0).acquire()
    except Timeout:
        raise ValueError(f"another process is training in {out}: wait for it, or choose another folder") from None
    with held:
        yield


def _check_devices(experiment: Experiment) -> None:
    """Finds out before anything is written whether there are such devices."""
    from lightning_fabric import Fabric

    settings = experiment.training
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if settings.compile and os.name == "posix" and shutil.which(compiler) is None:
        raise ValueError(f"compile needs a C++ compiler, but there is no {compiler} (CXX may name another)")
    try:
        Fabric(accelerator=settings.accelerator, devices=settings.devices, precision=settings.precision)
    except (RuntimeError, ValueError) as error:  # whatever is wrong, Fabric says it in one of these
        raise ValueError(
            f"cannot train on {settings.devices} device(s) of kind {settings.accelerator!r} "
            f"with precision {settings.precision}: {error}"
        ) from error


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; expected a new folder for the run")
    if out.is_dir() and any(path.name != _LOCK for path in out.iterdir()):
        if (out / "config.yaml").is_file():
            raise ValueError(
                f"{out} already holds a run: go on with it by 'googol train --resume {out}', or choose a new folder"
            )
        raise ValueError(f"{out} is not empty; expected a new folder for the run")


def _fit(experiment: Experiment, model: Any, data: Dataset, out: Path, *, resume: bool) -> TrainingResult:
    about = {
        "model": plain.to_plain(experiment.model),
        **about_data(data.image_shape, data.schema),
        "data": experiment.data,
    }
    valid = experiment.load("valid")
    figures = TABLE_FIGURES if data.is_table else STANDARD_FIGURES
    return fit(model, data, valid, out, experiment.training, figures=figures, config=about, resume=resume)


@dataclass(frozen=True)
class Run:
    """A finished run: the trained model, and what it was trained for.

    Attributes:
        folder: Its folder.
        model: The model, in evaluation mode.
        choice: What the model was built from.
        image_shape: (channels, height, width) of the images.
        schema: The conditions of the data.
        data: Name or path of the data.

    Example:
        >>> import tempfile
        >>> from googol.data import parse_given
        >>> from googol.experiments import Experiment, ask, config, impute, train
        >>> from googol.training import TrainingSettings
        >>> model = config.JointVAE(latents=2, network=config.MLP((8,)), prior=config.TensorRing(rank=2, components=3))
        >>> settings = TrainingSettings(epochs=3, figure_every=None, accelerator="cpu")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = train(Experiment(data="digits", model=model, training=settings), f"{folder}/run")
        ...     run = open_run(f"{folder}/run")
        >>> result.steps, run.model.sample(2).shape
        (30, torch.Size([2, 1, 8, 8]))
        >>> list(ask(run, parse_given(["digit=3..5"], run.conditions)).beliefs)
        ['digit']
        >>> table, accuracy = impute(run, run.load(split="test"))
        >>> list(table.columns)
        ['row', 'digit', 'digit_imputed', 'digit_probability']
    """

    folder: Path
    model: Any
    choice: Model
    image_shape: ImageShape
    schema: tuple[Condition, ...]
    data: str

    @property
    def is_table(self) -> bool:
        """Whether the run is of a table, without images."""
        return not all(self.image_shape)

    def require_images(self, what: str) -> None:
        """Raises a ValueError if something that needs images is asked of a run of a table."""
        if self.is_table:
            raise ValueError(f"{what} needs images, and the run in {self.folder} is of a table, {self.data}")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions that the model knows: those of the data, or none."""
        return self.schema if self.choice.takes_conditions else ()

    def load(self, data: str | None = None, split: str = "test", *, data_dir: str | None = None) -> Dataset:
        """Images that suit the model, with the conditions that it was trained with.

        A condition that they do not have is missing for all of them.

        Arguments:
            data: Name or path; by default the data that the run was trained on.
            split: "train", "valid" or "test".
            data_dir: The folder of the data files.

        Raises:
            ValueError: If the images have another size, a condition has a value that the run does not know, or a table
                has none of its columns.
        """
        name = self.data if data is None else data
        found = load(name, split, data_dir=data_dir, schema=self.schema)
        names = [condition.name for condition in self.schema]
        if set(names) - set(found.names):
            with suppress(ValueError):  # they may be others than the data set gives by default
                found = load(name, split, data_dir=data_dir, conditions=names, schema=self.schema)
        if found.image_shape != self.image_shape:
            shapes = (_of_shape(shape) for shape in (found.image_shape, self.image_shape))
            raise ValueError("{} has {}, but the run was trained on {}".format(name, *shapes))
        if wants_dequantized(self.choice):
            found = found.dequantized()
        absent, strange = (sorted(set(a) - set(b)) for a, b in ((names, found.names), (found.names, names)))
        if self.is_table and not set(names) & set(found.names):
            raise ValueError(f"{name} has none of the columns that the run was trained on: {', '.join(names)}")
        if absent and strange:  # a name may be misspelt
            warnings.warn(
                f"{name} has no condition {', '.join(absent)}, which is missing for all that is in it; it has "
                f"{', '.join(strange)}, of which the run knows nothing",
                stacklevel=2,
            )
        columns = dict(zip(found.names, zip(found.schema, found.conditions.T, strict=True), strict=True))
        missing = torch.full((len(found),), torch.nan)
        known = [_translated(*columns[c.name], c) if c.name in columns else missing for c in self.schema]
        conditions = torch.stack(known, 1) if known else found.conditions[:, :0]
        return replace(found, conditions=conditions, schema=self.schema)


def _of_shape(shape: ImageShape) -> str:
    """What has images of a shape."""
    return f"images of {' × '.join(map(str, shape))}" if all(shape) else "rows of a table"


def _translated(source: Condition, column: Tensor, target: Condition) -> Tensor:
    """A column of one condition in the numbers of another one that has the same name."""
    if source == target:
        return column
    translated = torch.full_like(column, torch.nan)
    for number in column[~column.isnan()].unique():
        translated[column == number] = target.encode(source.decode(float(number)))
    return translated


def open_run(folder: Path | str) -> Run:
    """Opens the folder of a finished run, without executing anything from it.

    Raises:
        ValueError: If it is not a run, is not finished, is damaged, or comes from a newer version.

    Arguments:
        folder: The folder; see :class:`Run` for an example.
    """
    folder = Path(folder)
    if (folder / "config.yaml").is_file() and not (folder / "model.json").is_file():
        raise ValueError(f"the run in {folder} is not finished: go on with it by 'googol train --resume {folder}'")
    about = load_config(folder)
    choice, image_shape, schema = _read(about, folder / "model.json")
    model = load_weights(choice.build(image_shape, schema), folder).eval()
    return Run(folder, model, choice, image_shape, schema, str(about.get("data")))


def _read(about: Mapping[str, Any], path: Path) -> tuple[Model, ImageShape, tuple[Condition, ...]]:
    try:
        image_shape, schema = read_about_data(about)
        return plain.from_plain(Model, about["model"], "model"), image_shape, schema
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} was not written by googol train: {error!r}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
