"""Published tables: which experiments their rows are, and which numbers they print.

A table is a folder with `table.yaml`, which says what all its rows share, and one small YAML file for each row. Those
of the library are in `experiments/tables`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from googol.data import unknown
from googol.experiments import plain
from googol.experiments.experiment import Experiment

FOLDER = Path(__file__).parent / "tables"
DEFINITION = "table.yaml"
ROW_KEYS = ("place", "settings", "published", "baseline")  # besides the title


@dataclass(frozen=True)
class Published:
    """A number in the published table, and its standard deviation if there is one."""

    value: float
    sd: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table: what is particular to it.

    Arguments:
        path: Its file.
        title: What the page calls it.
        settings: What it changes in the experiment.
        published: Numbers by data set and metric; none for a row of our own.
        place: Where it comes on the page, from the least to the largest.
        baseline: The name of the row that its gain is measured from; None for the one of the table.
    """

    path: Path
    title: str
    settings: Mapping[str, Any]
    published: Mapping[str, Mapping[str, Published]]
    place: float
    baseline: str | None

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.stem


@dataclass(frozen=True)
class Table:
    """A table: what its rows share.

    Arguments:
        folder: Its folder.
        title: What the page calls it.
        source: The paper.
        remark: What a reader of the page should know.
        titles: What the page calls each part, by its key: usually the name of a data set, with which settings may
            say otherwise, so that one data set can come several times.
        metrics: The metrics in its columns, by what the page calls them, for each part.
        settings: Of the experiment, for each part.
        evaluation: Arguments of `evaluate`, for each part.
        pictures: For each part the choices of conditions under which the page shows images: what it calls them, and
            what is given, in words.
        baseline: The name of the row that gains are measured from.
        rows: The rows, in the order of the page.
    """

    folder: Path
    title: str
    source: str
    remark: str
    titles: Mapping[str, str]
    metrics: Mapping[str, Mapping[str, str]]
    settings: Mapping[str, Mapping[str, Any]]
    evaluation: Mapping[str, Mapping[str, Any]]
    pictures: Mapping[str, Mapping[str, Sequence[str]]]
    baseline: str
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def data(self) -> tuple[str, ...]:
        """The keys of its parts, usually names of data sets."""
        return tuple(self.metrics)

    def row(self, name: str) -> Row:
        """The row of that name, or in the YAML file of that path.

        Raises:
            ValueError: There is none.
        """
        if Path(name).suffix == ".yaml":
            return read_row(Path(name))
        by_name = {row.name: row for row in self.rows}
        if name not in by_name:
            raise ValueError(unknown(f"row of {self.name}", name, by_name))
        return by_name[name]

    def with_rows(self, rows: Sequence[Row]) -> Table:
        """The table with further rows, unless it has them.

        Raises:
            ValueError: One is in a file of the same name as one of its rows, or its baseline is none of them.
        """
        paths = {row.name: row.path.resolve() for row in self.rows}
        table = replace(self, rows=(*self.rows, *(row for row in rows if row.name not in paths)))
        for row in rows:
            if row.path.resolve() != paths.get(row.name, row.path.resolve()):
                raise ValueError(f"{row.path}: {self.name} has a row {row.name} of its own: rename the file")
            if row.baseline is not None:
                table.row(row.baseline)
        return table

    def experiment(self, row: Row, data: str, *, seed: int, **settings: Any) -> Experiment:
        """The experiment that a row is.

        Arguments:
            row: The row.
            data: The key of a part.
            seed: Of the training.
            settings: Further settings, in the form of a row's.

        Raises:
            ValueError: The table is not of this data set, or a setting is wrong.
        """
        if data not in self.settings:
            raise ValueError(unknown(f"data set of {self.name}", data, self.settings))
        merged: Any = self.settings[data]
        # What a row says of one data set goes beyond what it says of all.
        own = {key: value for key, value in row.settings.items() if key != "on"}
        for layer in (own, row.settings.get("on", {}).get(data, {}), settings, {"training": {"seed": seed}}):
            merged = merge(merged, layer)
        return plain.from_plain(Experiment, {"data": data, **merged}, f"{self.name}/{row.name}")


def merge(base: Any, change: Any) -> Any:
    """A nested mapping with the entries of another in it; a choice of another kind replaces the former whole.

    Entries beside which no kind is said are shared by all kinds.

    Example:
        >>> merge({"prior": {"kind": "flow", "transforms": 3}, "seed": 0}, {"prior": {"kind": "tensor-ring"}})
        {'prior': {'kind': 'tensor-ring'}, 'seed': 0}
        >>> merge({"network": {"kind": "mlp", "hidden": [300]}}, {"network": {"hidden": [20]}})
        {'network': {'kind': 'mlp', 'hidden': [20]}}
        >>> merge({"model": {"latents": 12}}, {"model": {"kind": "cvae"}})
        {'model': {'latents': 12, 'kind': 'cvae'}}
    """
    if not isinstance(base, Mapping) or not isinstance(change, Mapping):
        return change
    if "kind" in base and "kind" in change and change["kind"] != base["kind"]:
        return dict(change)
    return {**base, **{key: merge(base.get(key), value) for key, value in change.items()}}


def tables() -> tuple[str, ...]:
    """The names of the tables that come with the library.

    Example:
        >>> "sylvester" in tables()
        True
    """
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{DEFINITION}")))


def read_table(name: str) -> Table:
    """The table of that name, or in the folder of that path.

    Raises:
        ValueError: There is none, or a file of it is damaged or has an unknown key.
    """
    folder = FOLDER / name if name in tables() else Path(name).expanduser()
    if not (folder / DEFINITION).is_file():
        raise ValueError(unknown("table", name, tables()))
    content = _read(
        folder / DEFINITION, required=("title", "source", "baseline", "data"), optional=("remark", "common")
    )
    common = content.get("common", {})
    data = {}
    for key, own in content["data"].items():
        own = own or {}
        # The columns are those of the data set, not some more.
        data[key] = {**merge(common, own), "metrics": own.get("metrics", common.get("metrics", {}))}
        if wrong := set(data[key]) - {"title", "metrics", "settings", "evaluation", "pictures"}:
            raise ValueError(f"{folder / DEFINITION}: unknown key {sorted(wrong)[0]!r} of {key}")
    paths = [path for path in sorted(folder.glob("*.yaml")) if path.name != DEFINITION]
    rows = sorted(map(read_row, paths), key=lambda row: (row.place, row.name))
    return Table(
        folder=folder,
        title=content["title"],
        source=content["source"],
        remark=content.get("remark", ""),
        titles={key: each.get("title", key) for key, each in data.items()},
        metrics={key: each["metrics"] for key, each in data.items()},
        settings={key: each.get("settings", {}) for key, each in data.items()},
        evaluation={key: each.get("evaluation", {}) for key, each in data.items()},
        pictures={key: each.get("pictures", {}) for key, each in data.items()},
        baseline=content["baseline"],
        rows=tuple(rows),
    )


def read_row(path: Path) -> Row:
    """The row in a YAML file.

    Raises:
        ValueError: There is no such file, it is damaged, or has an unknown key.
    """
    content = _read(path, required=("title",), optional=ROW_KEYS)
    for key in ("settings", "published"):
        if not isinstance(content.get(key, {}), Mapping):
            raise ValueError(f"{path}: expected {key} to have keys, got {content[key]!r}")
    if not isinstance(content.get("place", 99), int | float):
        raise ValueError(f"{path}: expected place to be a number, got {content['place']!r}")
    published = {
        data: {metric: Published(*_numbers(path, value)) for metric, value in numbers.items()}
        for data, numbers in content.get("published", {}).items()
    }
    place, baseline = float(content.get("place", 99)), content.get("baseline")
    # YAML reads the word "on" without quotes as true.
    settings = {"on" if key is True else key: value for key, value in content.get("settings", {}).items()}
    return Row(path, content["title"], settings, published, place, baseline)


def _numbers(path: Path, value: Any) -> list[float]:
    """A number, or a number and its standard deviation."""
    numbers = value if isinstance(value, list) else [value]
    if not 1 <= len(numbers) <= 2 or not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"{path}: expected a published number, or [number, standard deviation], got {value!r}")
    return [float(number) for number in numbers]


def _read(path: Path, *, required: Sequence[str], optional: Sequence[str]) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist: expected the YAML file of a row") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must have keys {', '.join(required)}, got {content!r}")
    if missing := [key for key in required if key not in content]:
        raise ValueError(f"{path} needs {', '.join(missing)}")
    for key in content:
        if key not in (*required, *optional):
            raise ValueError(f"{path}: {unknown('key', str(key), (*required, *optional))}")
    return content
