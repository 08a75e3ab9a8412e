"""`googol train`: train a model, or go on with an interrupted run."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

from tyro import MISSING
from tyro.conf import Positional, arg, subcommand

from googol.cli import arguments as shared
from googol.data import available, unknown
from googol.experiments import Experiment, config, resume, train
from googol.experiments.plain import kinds
from googol.experiments.run import is_first_process
from googol.training import TrainingResult, TrainingSettings

DESCRIPTION = """\
Train a model, or go on with an interrupted run.

Examples:
  googol train joint-vae --data mnist --out RUN
  googol train joint-vae --epochs 60 --warmup-epochs 15 --batch-size 64 --out RUN network:mlp     the embedded digits
  googol train joint-vae --data mnist --missing 0.7 --missing-seed 1 --out RUN prior:tensor-ring --prior.rank 32
  googol train vae --data faces/ --out RUN network:mlp --network.hidden 500 200
  googol train tabular --data wine.csv --out RUN                                                   a table with holes
  googol train --resume RUN

The model is followed by its choices, PART:CHOICE, each with options of its own; one that is left out has its default.
'googol train joint-vae --help' tells the options and choices of a model. The folder RUN gets everything: settings,
checkpoints, metrics.csv, figures, events for TensorBoard, and in the end the model."""

FEW_STEPS = 500  # with which hardly any model has learned what its data look like

Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Train(Generic[Choice]):
    """A model and how to train it."""

    out: Annotated[Path, arg(metavar="RUN")]
    """new folder for the run"""
    model: Annotated[Choice, arg(name="")]
    training: Annotated[TrainingSettings, arg(name="")]
    data: Annotated[str, arg(metavar="NAME|PATH")] = "digits"
    """name of a data set (see googol data list), an .npz file, a folder of images with conditions.csv, or of a tabular
    model a table (.csv or .parquet)"""
    conditions: shared.Text = None
    """names of the conditions to use, separated by commas; by default those that the data set gives"""
    missing: float = 0.0
    """share of the labels of training and validation to hide, chosen at random"""
    labels: Annotated[int | None, arg(metavar="N")] = None
    """number of training labels of each condition that are known, as many of each value; all others are hidden,
    those of validation too"""
    missing_seed: int = 0
    """seed of which of them"""
    match_parameters: Annotated[int | None, arg(metavar="N")] = None
    """number of parameters of the whole model; the width of its networks is chosen so"""
    data_dir: shared.DataDir = None
    """folder of data files; by default $GOOGOL_DATA, or the platform's cache folder"""

    def run(self) -> None:
        """Trains, and tells how it went."""
        hiding = "--labels" if self.labels is not None else "--missing"
        if (self.missing or self.labels is not None) and not self.model.takes_conditions:  # type: ignore[attr-defined]
            raise ValueError(f"{hiding} hides conditions, and this kind of model knows none")
        experiment = Experiment(
            data=self._located_data(),
            model=self.model,  # type: ignore[arg-type]
            training=self.training,
            conditions=None if self.conditions is None else shared.names(self.conditions),
            missing=self.missing,
            labels=self.labels,
            missing_seed=self.missing_seed,
            match_parameters=self.match_parameters,
            data_dir=None if self.data_dir is None else str(Path(self.data_dir).expanduser().absolute()),
        )
        _tell(train(experiment, self.out, note=shared.note), self.out)

    def _located_data(self) -> str:
        """The name, or the path such that it is found from every folder."""
        path = Path(self.data).expanduser()
        is_name = self.data in [entry.name for entry in available()]
        return self.data if is_name or not path.exists() else str(path.absolute())


@dataclass(frozen=True)
class Resume:
    """Go on with an interrupted run, as if it had not been."""

    folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """folder of the run"""
    data_dir: shared.DataDir = None
    """folder of data files, if it is another one by now"""

    def run(self) -> None:
        """Goes on, and tells how it went."""
        _tell(resume(self.folder, data_dir=self.data_dir), self.folder)


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    if "--resume" in arguments:  # wherever it stands; to tyro it is a choice, like the models
        start = arguments.index("--resume")
        arguments = arguments[start:] + arguments[:start]
    models = kinds(config.Model)
    if arguments and arguments[0] in models:
        arguments = _known_choices(arguments, models[arguments[0]])
    elif arguments and not arguments[0].startswith("-"):
        raise ValueError(f"{unknown('model', arguments[0], models)}; see googol train --help")
    options = [
        Annotated[Train[model], subcommand(name, default=_defaults(model), description=model.__doc__)]  # type: ignore[valid-type]
        for name, model in models.items()
    ]
    command = reduce(or_, [*options, Annotated[Resume, subcommand("--resume")]])
    return shared.parse(command, arguments, prog="googol train", description=DESCRIPTION)


def _defaults(model: type) -> Any:
    """What a model's training is like unless one says otherwise; the folder has to be said."""
    return Train(out=MISSING, model=model(), training=TrainingSettings(**getattr(model, "training", {})))


def _known_choices(arguments: list[str], model: type) -> list[str]:
    """The arguments with their choices checked, without those of a part that has only one.

    A choice may have parts of its own, such as ``prior:flow prior.base:tensor-ring``.
    """
    chosen, kept = {"": model}, []
    for argument in arguments:
        match = re.fullmatch(r"(?:([a-z.-]+)\.)?([a-z-]+):(\S+)", argument)
        whole, part, value = (match[1] or "", match[2], match[3]) if match else ("", "", "")
        hint = get_type_hints(chosen[whole]).get(part) if whole in chosen else None
        names = kinds(hint) if hint is not None and _is_part(hint) else None
        if names is not None and value not in names:
            raise ValueError(f"{unknown(part, value, names)}; see googol train {arguments[0]} --help")
        if names is not None:
            chosen[f"{whole}.{part}".lstrip(".")] = names[value]
        if names is None or len(names) > 1:
            kept.append(argument)
    return kept


def _is_part(hint: Any) -> bool:
    return getattr(next(iter(kinds(hint).values())), "__module__", "").startswith(config.__name__)


def _tell(result: TrainingResult, folder: Path) -> None:
    if is_first_process():
        best = f"best validation loss {result.best_loss:.2f}; " if math.isfinite(result.best_loss) else ""
        if result.diagnosis is not None:  # the losses of a game do not tell
            problem = "" if result.diagnosis == "good" else f" ({result.diagnosis.partition(':')[0]})"
            best = f"kept are the weights of step {result.kept_step}{problem}; "
        shared.note(
            f"{result.steps} steps in {result.seconds / 60:.1f} minutes, stopped by {result.stopped_by}; "
            f"{best}the model is in {folder}"
        )
        if result.stopped_by == "epochs" and result.steps < FEW_STEPS:
            shared.note("so few steps seldom suffice: give small data more --epochs, or a smaller --batch-size")
