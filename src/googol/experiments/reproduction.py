"""Running the rows of a table: each data set and seed is a run, and leaves one JSON file."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import googol
from googol.experiments import plain
from googol.experiments.caveats import about_exactness
from googol.experiments.evaluation import evaluate
from googol.experiments.experiment import Experiment, read_about_data, read_config
from googol.experiments.run import open_run, resume, train
from googol.experiments.sizes import match_parameters
from googol.experiments.table import Row, Table
from googol.training import TrainingInterrupted, load_config, write_file

# What may differ between two runs of the same experiment: where and how long, not what.
CIRCUMSTANCES = ("accelerator", "devices", "time_budget", "log_every", "checkpoint_every_seconds", "figure_every")
CURVE_POINTS = 60
USERS_MISTAKE = 2  # the exit code

# Why a result is not one of a table as it is now.
OTHER_ROW = "is of a row that this table does not have"
OTHER_SETTINGS = "has other settings than its row by now"
OTHER_MEASUREMENT = "was measured otherwise than its table says by now"


@dataclass(frozen=True)
class Cell:
    """A row of a table on one data set with one seed."""

    table: Table
    row: Row
    data: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder and of its result."""
        return f"{self.row.name}-{self.data}-{self.seed}"

    def experiment(self, **settings: Any) -> Experiment:
        """What is to be done."""
        return self.table.experiment(self.row, self.data, seed=self.seed, **settings)


@dataclass(frozen=True)
class Reproduction:
    """Where the runs of a table are, and under which circumstances they are made.

    Arguments:
        runs: The folder of the runs.
        results: The folder of the results.
        budget: Minutes that a training may take in all, however often it is interrupted; then it stops where it is,
            which the result says. None leaves to an interrupted training what it began with.
        data_dir: The folder of the data files.

    Raises:
        ValueError: The budget is not a positive number.
    """

    runs: Path = Path("runs")
    results: Path = Path("results")
    budget: float | None = None
    data_dir: str | None = None

    def __post_init__(self) -> None:
        if self.budget is not None and not (math.isfinite(self.budget) and self.budget > 0):
            raise ValueError(f"the budget must be a number of minutes above 0, got {self.budget:g}")

    def result(self, cell: Cell) -> Path:
        """The file of a result."""
        return self.results / cell.table.name / f"{cell.name}.json"

    def folder(self, cell: Cell) -> Path:
        """The folder of a run."""
        return self.runs / cell.table.name / cell.name

    def run(self, cell: Cell) -> bool:
        """Trains and measures, unless that is done; goes on where an earlier call was interrupted.

        Returns:
            False if another process is at it.

        Raises:
            ValueError: The run that is there has other settings.
            TrainingInterrupted: After SIGINT or SIGTERM.
        """
        from filelock import FileLock, Timeout

        if self.result(cell).exists():
            return True
        folder = self.folder(cell)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(f"{folder}.lock", timeout=0):
                self._train(cell, folder)
                self._measure(cell, folder)
        except Timeout:
            return False
        return True

    def _train(self, cell: Cell, folder: Path) -> None:
        config = folder / "config.yaml"
        if config.is_file() and _settings_of_run(config) != settings_of(_sized(cell.experiment(), config)):
            raise ValueError(f"the run in {folder} has other settings than its row by now: move it away")
        if (folder / "model.json").is_file():
            return
        try:
            if config.is_file():
                resume(folder, data_dir=self.data_dir, time_budget=self.budget)
            else:
                settings = {} if self.budget is None else {"training": {"time_budget": self.budget}}
                train(cell.experiment(data_dir=self.data_dir, **settings), folder)
        except TrainingInterrupted:
            raise TrainingInterrupted(f"{cell.name} was stopped; the same command goes on where it was") from None

    def _measure(self, cell: Cell, folder: Path) -> None:
        experiment = cell.experiment()
        run = open_run(folder)
        data = run.load(split="test", data_dir=self.data_dir)
        start = time.monotonic()
        metrics = ["parameters", *cell.table.metrics[cell.data]]
        values = evaluate(run, metrics, data=data, data_dir=self.data_dir, **cell.table.evaluation[cell.data])
        content = {
            "table": cell.table.name,
            "row": cell.row.name,
            "data": cell.data,
            "seed": cell.seed,
            "metrics": values,
            "evaluation": dict(cell.table.evaluation[cell.data]),
            **about_exactness(data),
            "training": load_config(folder)["training"],
            "evaluation_minutes": round((time.monotonic() - start) / 60, 2),
            "device": _device(read_config(folder / "config.yaml")[0].training.accelerator),
            "versions": {"googol": googol.__version__, "torch": str(torch.__version__)},
            "experiment": settings_of(experiment),
            **({"sized": plain.to_plain(run.choice)} if experiment.match_parameters else {}),  # with the width found
            "curve": _curve(folder / "metrics.csv"),
        }
        path = self.result(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, (json.dumps(content, indent=1) + "\n").encode())


def run_all(reproduction: Reproduction, cells: Sequence[Cell], *, jobs: int = 1) -> None:
    """Runs cells one after the other, or several side by side in processes of their own.

    Raises:
        ValueError, RuntimeError: A process failed, by the user's mistake or not; it has said why.
    """
    todo = [cell for cell in cells if not reproduction.result(cell).exists()]
    for cell in cells:
        path = reproduction.result(cell)
        if cell not in todo and (why := _why_stale(_read_result(path), cell.table)):
            print(f"{path} {why}: move it away to have it made again", file=sys.stderr)
    if jobs == 1:
        for number, cell in enumerate(todo, 1):
            print(f"{cell.table.name} {cell.name} ({number} of {len(todo)})", file=sys.stderr)
            if not reproduction.run(cell):
                print(f"{cell.name}: another process is at it", file=sys.stderr)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(lambda cell: _run_apart(reproduction, cell, threads), todo))
    if failed := [cell.name for cell, code in zip(todo, done, strict=True) if code]:
        text = f"failed, for the reasons above: {', '.join(failed)}"
        raise RuntimeError(text) if set(done) - {0, USERS_MISTAKE} else ValueError(text)


def _run_apart(reproduction: Reproduction, cell: Cell, threads: int) -> int:
    options: dict[str, Any] = {
        "row": cell.row.path,
        "data": cell.data,
        "runs": reproduction.runs,
        "results": reproduction.results,
    }
    options |= {"budget": reproduction.budget, "data-dir": reproduction.data_dir}
    given = [text for key, value in options.items() if value is not None for text in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "googol", "reproduce", str(cell.table.folder), *given, "--seed", str(cell.seed)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode


def read_results(folder: Path, table: Table) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The results that are those of a table as it is now, and the files of the others, with what is wrong with them."""
    found, stale = [], {}
    for path in sorted((folder / table.name).glob("*.json")):
        content = _read_result(path)
        if why := _why_stale(content, table):
            stale[path.name] = why
        else:
            found.append(content)
    return found, stale


def _read_result(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    wanted = {"row", "data", "seed", "metrics", "evaluation", "experiment"}
    if not isinstance(content, dict) or not wanted <= content.keys():
        raise ValueError(f"{path} is no result of googol reproduce, which alone belong there")
    return content


def _why_stale(content: dict[str, Any], table: Table) -> str:
    """What is wrong with a result, empty if it is one of the table as it is now."""
    row, data = content["row"], content["data"]
    if row not in {each.name for each in table.rows} or data not in table.data:
        return OTHER_ROW
    try:
        experiment = table.experiment(table.row(row), data, seed=content["seed"])
        made = plain.from_plain(Experiment, content["experiment"], "experiment")
    except ValueError:
        return OTHER_SETTINGS
    # Read anew, since what was written has no options that came later: they have their defaults.
    if settings_of(experiment) != settings_of(made):
        return OTHER_SETTINGS
    same = (
        content["evaluation"] == dict(table.evaluation[data])
        and table.metrics[data].keys() <= content["metrics"].keys()
    )
    return "" if same else OTHER_MEASUREMENT


def _settings_of_run(config: Path) -> dict[str, Any]:
    return settings_of(read_config(config)[0])


def _sized(experiment: Experiment, config: Path) -> Experiment:
    """The experiment as a run of it says: with the width of networks that was found for the size that is asked for."""
    if experiment.match_parameters is None:
        return experiment
    shapes = read_about_data(read_config(config)[1])
    return replace(experiment, model=match_parameters(experiment.model, *shapes, experiment.match_parameters))


def settings_of(experiment: Experiment) -> dict[str, Any]:
    """All that decides what an experiment finds, as plain data."""
    settings = json.loads(json.dumps(plain.to_plain(experiment)))
    for key in CIRCUMSTANCES:
        settings["training"].pop(key)
    settings.pop("data_dir")
    return settings


def _device(accelerator: str) -> str:
    """What a training ran on, by the kind of device that it was to have."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def _curve(path: Path) -> list[list[float]]:
    """Epoch and validation loss, some sixty of them."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "valid"]
    return [[int(row["epoch"]), round(float(row["loss"]), 3)] for row in _thinned(rows)]


def _thinned(rows: Sequence[dict[str, str]]) -> Iterator[dict[str, str]]:
    step = max(1, -(-len(rows) // CURVE_POINTS))
    return (row for number, row in enumerate(rows) if number % step == 0 or number == len(rows) - 1)
