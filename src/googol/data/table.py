"""Conditions of images in a CSV file."""

import csv
import math
import re
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from googol.data.dataset import Condition
from googol.data.declaration import read_declaration
from googol.data.files import DataError
from googol.data.names import unknown

__all__ = ["Table", "read_conditions"]

MOST_CATEGORIES = 20
MISSING = ("", "nan")
# In a column of numbers these cannot be meant as values.
MISSING_NUMBERS = (*MISSING, "na", "n/a", "null", "none", "?", "-")


class Table(NamedTuple):
    """What is known of ``n`` images."""

    schema: tuple[Condition, ...]
    conditions: np.ndarray  # (n, c) float32, NaN = missing
    parts: np.ndarray | None  # (n,) "train", "valid" or "test"


def read_conditions(path: Path, files: Sequence[str], wanted: Collection[str] | None = None) -> Table:
    """The conditions of images, in the order of ``files``.

    The first line of the CSV file has the names of its columns. The first column, ``file``, says which image
    a row is about; a column ``split`` divides the images; every other column is a condition. An empty entry
    is missing, and so is ``nan``; beside numbers ``NA``, ``N/A``, ``null``, ``None``, ``?`` and ``-`` too. A condition
    is continuous if all its entries are numbers, and one of them is not an integer or there are more than 20
    different ones; else it is categorical, its values the different entries, numbers by size and texts by alphabet.
    It is told of a column that looks like numbers but for a few entries, or like a name of every row.

    A column that has no two different entries is left out, with a warning, unless it is asked for by name or declared.

    A file beside it that is named alike and ends with ``.yaml`` can declare conditions, see
    :func:`googol.data.declaration.read_declaration`; then an entry that is none of the values is an error.

    Raises:
        DataError: A file is damaged, there is no row or two rows for an image, or one for an image that does not
            exist, a column cannot be a condition or what it is declared to be, or what is declared or wanted is no
            column.

    Args:
        path: The CSV file.
        files: What its first column calls the images.
        wanted: The conditions that are asked for; by default all that there are.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "conditions.csv"
        >>> _ = path.write_text("file,smiling,age\\na.png,yes,31.5\\nb.png,no,45\\nc.png,,\\n")
        >>> table = read_conditions(path, ["a.png", "b.png", "c.png"])
        >>> table.schema[0].values, table.conditions.tolist()
        (('no', 'yes'), [[1.0, 31.5], [0.0, 45.0], [nan, nan]])
    """
    header, rows = _read(path)
    if header[0] != "file":
        raise DataError(f"the first column of {path} must be 'file', got {', '.join(header)!r}")
    for name, count in Counter(header).items():
        if not name or count > 1:
            raise DataError(f"the columns of {path} must have distinct names, got {', '.join(header)!r}")
    named = [text.replace("\\", "/") for text in rows[:, 0]]
    twice = [name for name, count in Counter(named).items() if count > 1]
    no_row = sorted(set(files) - set(named))
    no_file = sorted(set(named) - set(files))
    for what, wrong in {
        "two rows for": twice,
        "no row for": no_row,
        "a row, but no image, for": no_file,
    }.items():
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise DataError(
                f"{path} must have one row for each of the {len(files)} images; it has {len(named)} rows, "
                f"and {what} {wrong[0]!r}{more}"
            )
    order = {name: row for row, name in enumerate(named)}
    rows = rows[[order[file] for file in files]]
    columns = {name: rows[:, column] for column, name in enumerate(header) if column > 0}
    parts = columns.pop("split", None)
    declared = read_declaration(path.with_suffix(".yaml"))
    for name in declared:
        if name not in columns:
            raise DataError(f"{path.with_suffix('.yaml')}: {unknown(f'column of {path.name}', name, columns)}")
    for name in wanted or ():
        if name not in columns:
            raise DataError(unknown(f"condition of {path.parent}", name, columns))
    found = []
    try:
        for name, column in columns.items():
            if name in declared:
                found.append((declared[name], _encoded(declared[name], column)))
            elif wanted is None and len(set(column[_known(column)])) < 2:
                warnings.warn(f"{path}: {name!r} has no two different entries, so the column is left out", stacklevel=2)
            elif wanted is None or name in wanted:
                found.append(_condition(name, column))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    conditions = np.array([column for _, column in found], np.float32).reshape(len(found), len(files)).T
    return Table(tuple(condition for condition, _ in found), conditions, parts)


def _read(path: Path) -> tuple[list[str], np.ndarray]:
    """The names of the columns and the texts of the entries."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [[text.strip() for text in line] for line in csv.reader(file, strict=True) if line]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if not lines:
        raise DataError(f"{path} is empty")
    header, *rows = lines
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(f"{path}: row {number} has {len(row)} entries, the first {len(header)}")
    return header, np.array(rows, dtype=object).reshape(len(rows), len(header))


def _known(texts: np.ndarray, missing: Collection[str] = MISSING) -> np.ndarray:
    """Which entries of a column are there."""
    return np.array([text.lower() not in missing for text in texts])


def _require_entries(name: str, known: np.ndarray) -> None:
    if not known.any():
        raise ValueError(f"condition {name!r} has no entry at all")


def _encoded(condition: Condition, texts: np.ndarray) -> np.ndarray:
    """The entries of a declared condition as numbers."""
    # A column of integers with holes is often written as 1.0, 2.0.
    texts = texts if condition.values is None else np.array([_whole(text, condition.values) for text in texts], object)
    known = _known(texts, MISSING if condition.is_categorical else MISSING_NUMBERS)
    _require_entries(condition.name, known)
    encoded = np.full(len(texts), np.nan)
    try:
        encoded[known] = [condition.encode(text) for text in texts[known]]
    except ValueError as error:
        raise ValueError(f"{error} (as it is declared in the .yaml file beside)") from error
    return encoded


def _whole(text: str, values: Sequence[str]) -> str:
    """An entry that is none of the values, but one of them without the zeros after its point, as that value."""
    shortened = re.sub(r"^(-?\d+)\.0*$", r"\1", text)
    return shortened if text not in values and shortened in values else text


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _condition(name: str, texts: np.ndarray) -> tuple[Condition, np.ndarray]:
    """What a column that is not declared is, and its entries as numbers."""
    known, encoded = _known(texts), np.full(len(texts), np.nan)
    _require_entries(name, known)
    is_number = np.array([_is_number(text) for text in texts])
    others = sorted(set(texts[known & ~is_number]))
    if others and is_number.any() and all(text.lower() in MISSING_NUMBERS for text in others):
        known, others = is_number, []
    if others:
        categories, encoded[known] = np.unique(texts[known].astype(str), return_inverse=True)
        if 2 * is_number.sum() > known.sum():
            warnings.warn(
                f"most entries of {name!r} are numbers, but {others[0]!r} is not, so it has {len(categories)} "
                "categories: leave a cell empty where a number is missing",
                stacklevel=4,
            )
        elif len(categories) > max(MOST_CATEGORIES, known.sum() / 2):
            warnings.warn(
                f"{name!r} has {len(categories)} different texts in {known.sum()} rows: where they are names rather "
                "than conditions, leave the column out (--conditions names those to learn)",
                stacklevel=4,
            )
        return Condition(name, tuple(categories.tolist())), encoded
    numbers = texts[known].astype(float) + 0.0  # -0 becomes 0
    if (np.abs(numbers) > np.finfo(np.float32).max).any():
        raise ValueError(f"condition {name!r} has an entry that is infinite or too large")
    distinct, index = np.unique(numbers, return_inverse=True)
    if len(distinct) > MOST_CATEGORIES or (distinct != np.rint(distinct)).any():
        encoded[known] = numbers
        return Condition(name, None), encoded
    encoded[known] = index
    return Condition(name, tuple(f"{number:.0f}" for number in distinct)), encoded
