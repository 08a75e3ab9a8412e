"""An experiment: everything that decides what a run does, and the file in which a run keeps it."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

import googol
from googol.data import Condition, Dataset, load
from googol.experiments import plain
from googol.experiments.config import ImageShape, Model, wants_dequantized
from googol.training import TrainingSettings, write_file

FORMAT = 1
"""Version of `config.yaml`; a newer one is refused."""

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A model, the data it is trained on, and how.

    Raises:
        ValueError: If a value is outside its range, or the ring of a `JointVAE` would never be trained.

    Example:
        >>> from googol.experiments import config
        >>> experiment = Experiment(data="digits", model=config.VAE(latents=4), missing=0.5)
        >>> experiment.load("train").conditions.isnan().float().mean()
        tensor(0.5000)
    """

    data: str
    """name of the data set, or path of the user's own"""
    model: Model
    """the model"""
    training: TrainingSettings = field(default_factory=TrainingSettings)
    """how it is trained"""
    conditions: tuple[str, ...] | None = None
    """names of the conditions to use; None for those that the data set gives by default"""
    missing: float = 0.0
    """share of the labels of training and validation that are hidden"""
    labels: int | None = None
    """number of training labels of each condition that are known, as many of each value, instead of a share; none of
    validation is"""
    missing_seed: int = 0
    """seed of which of them"""
    match_parameters: int | None = None
    """number of parameters that the whole model shall have, by the width of its networks"""
    data_dir: str | None = None
    """folder of the data files"""

    def __post_init__(self) -> None:
        if not 0 <= self.missing <= 1:
            raise ValueError(f"missing must be a share in [0, 1], got {self.missing}")
        if self.labels is not None and self.labels < 1:
            raise ValueError(f"labels must be at least 1, got {self.labels}")
        if self.labels is not None and self.missing:
            raise ValueError(
                f"labels and missing both choose labels to hide: say one of them, got {self.labels} and {self.missing}"
            )
        if self.match_parameters is not None and self.match_parameters < 1:
            raise ValueError(f"match_parameters must be at least 1, got {self.match_parameters}")
        if self.missing_seed < 0:
            raise ValueError(f"missing_seed must be at least 0, got {self.missing_seed}")
        if self.training.labelled_per_batch and not self.model.takes_conditions:
            raise ValueError(
                "labelled_per_batch (--labelled-per-batch) needs a model of conditions, and this kind knows none"
            )
        warmup = getattr(self.model, "warmup_epochs", 0)
        if warmup >= self.training.epochs:
            raise ValueError(
                f"epochs must be more than the {warmup} of the warm-up, after which the ring is trained; "
                f"got {self.training.epochs}"
            )

    def load(self, split: Split) -> Dataset:
        """The images of one split, dequantized for a likelihood that wants it, with labels hidden.

        Those of validation are, too: they choose the weights that are kept. Those of "test" are all there.
        """
        data = load(self.data, split, data_dir=self.data_dir, conditions=self.conditions)
        if wants_dequantized(self.model):
            data = data.dequantized()
        if split == "test":
            return data
        if self.labels is None:
            return data.hide(self.missing, seed=self.missing_seed)
        return data.keep(self.labels, seed=self.missing_seed) if split == "train" else data.hide(1.0, seed=0)

    def build(self, image_shape: ImageShape, schema: Sequence[Condition]) -> Any:
        """The model for such images and conditions, with the weights that the seed gives to start from."""
        with torch.random.fork_rng():
            torch.manual_seed(self.training.seed)
            return self.model.build(image_shape, schema)


def about_data(image_shape: Sequence[int], schema: Sequence[Condition]) -> dict[str, Any]:
    """Image shape and conditions as plain data."""
    conditions = [{"name": c.name, "values": None if c.values is None else list(c.values)} for c in schema]
    return {"image_shape": list(image_shape), "schema": conditions}


def read_about_data(content: Mapping[str, Any]) -> tuple[ImageShape, tuple[Condition, ...]]:
    """The image shape and the conditions that `about_data` wrote.

    Raises:
        KeyError, TypeError, ValueError: If the content is something else.
    """
    channels, height, width = (int(size) for size in content["image_shape"])
    schema = [Condition(c["name"], None if c["values"] is None else tuple(c["values"])) for c in content["schema"]]
    return (channels, height, width), tuple(schema)


def write_config(path: Path, experiment: Experiment, data: Dataset, command: str) -> None:
    """Writes `config.yaml`: the experiment, the versions that ran it, its command line, and what the data are."""
    settings = plain.to_plain(experiment) | {"training": asdict(experiment.training)}
    content = {
        "format": FORMAT,
        "command": command,
        "versions": {
            "googol": googol.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        **{key: value for key, value in settings.items() if key != "kind"},
        **about_data(data.image_shape, data.schema),
    }
    write_file(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())


def read_config(path: Path) -> tuple[Experiment, dict[str, Any]]:
    """The experiment in a `config.yaml`, and what it says about the data (see `about_data`).

    Raises:
        ValueError: If the file is damaged, was not written by googol, or by a newer version.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or "format" not in content:
        raise ValueError(f"{path} was not written by googol: it has no format")
    if content["format"] != FORMAT:
        versions = content.get("versions")
        version = versions.get("googol", "?") if isinstance(versions, dict) else "?"
        raise ValueError(
            f"{path} has format {content['format']} (written by googol {version}), "
            f"this is googol {googol.__version__}, which reads format {FORMAT}"
        )
    about = {key: content.pop(key, None) for key in ("image_shape", "schema")}
    for key in ("format", "command", "versions"):
        content.pop(key, None)
    return plain.from_plain(Experiment, content, str(path)), about
