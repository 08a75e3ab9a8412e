"""The main job on embedded data: train on partly labelled digits, generate, fill in, and write a report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from googol.data import SPLITS, Condition, load, packed
from googol.experiments import config
from googol.experiments.evaluation import evaluate
from googol.experiments.experiment import Experiment
from googol.experiments.report import write_report
from googol.experiments.run import open_run, train
from googol.training import TrainingSettings, disk_space_errors, write_file

EPOCHS, WARMUP = 140, 20


def demo(
    out: Path | str,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    command: str = "googol demo",
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Trains a `JointVAE` on digits with half of the labels hidden, measures it, and writes `report.html`.

    A demo that is in the folder already is moved aside.

    Arguments:
        out: The folder: `report.html`, `metrics.json`, the data as `digits.npz`, and the run in `run`.
        seed: Of the hidden labels, the training and the samples.
        epochs: Passes over the training data.
        command: How the report says it was made.
        tell: Called with a line on what happens now.

    Returns:
        What was measured on held-out digits.

    Raises:
        ValueError: The folder holds something else than a demo, or no space is left.
    """
    out = Path(out)
    started = time.monotonic()
    experiment = Experiment(
        data=str((out / "digits.npz").absolute()),
        model=config.JointVAE(
            latents=10,
            label_weight=40.0,
            consistency_weight=20.0,
            warmup_epochs=min(WARMUP, epochs // 2),
            prior=config.TensorRing(rank=48, components=10, boundary="train"),
            network=config.MLP(),
        ),
        training=TrainingSettings(
            epochs=epochs,
            batch_size=64,
            learning_rate=2e-3,
            prior_learning_rate=2e-2,
            average_weights=0.99,
            seed=seed,
            accelerator="cpu",
            figure_every=None,
        ),
        missing=0.5,
        missing_seed=seed,
    )
    aside = _move_aside(out)
    if aside is not None:
        tell(f"the demo that was in {out} is now in {aside}")
    with disk_space_errors(out):
        _write_data(out / "digits.npz")
        tell(f"training on digits, half of their labels hidden, {epochs} epochs")
        result = train(experiment, out / "run")
        tell("measuring, judged by a classifier trained apart")
        run = open_run(out / "run")
        metrics = evaluate(run, n=2000, k=20, seed=seed)
        metrics |= {"training_seconds": round(result.seconds, 1), "epochs": result.epochs, "seed": seed}
        metrics["seconds"] = round(time.monotonic() - started, 1)
        tell("drawing")
        write_report(out / "report.html", run, experiment, metrics, command=command)
        write_file(out / "metrics.json", (json.dumps(metrics, indent=2) + "\n").encode())
    return metrics


def _move_aside(out: Path) -> Path | None:
    """Makes room for a new demo; nothing is deleted."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / "digits.npz").is_file():
        raise ValueError(f"{out} exists and is no demo; expected a new folder")
    number = 1
    while (aside := out.with_name(f"{out.name}-{number}")).exists():
        number += 1
    return out.rename(aside)


def _write_data(path: Path) -> None:
    """The digits with a second condition, whether the digit is even or odd: known, or hidden, apart from the digit."""
    parts = {split: load("digits", split) for split in SPLITS}
    digits = torch.cat([part.conditions[:, 0] for part in parts.values()])
    images = torch.cat([part.images for part in parts.values()])
    schema = parts["train"].schema[0], Condition("parity", ("even", "odd"))
    splits = [split for split, part in parts.items() for _ in range(len(part))]
    write_file(path, packed(images, torch.stack([digits, digits % 2], 1), schema, splits))
