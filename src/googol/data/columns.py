"""Columns of texts, and the conditions that their entries stand for."""

import csv
import math
import re
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from googol.data.dataset import Condition
from googol.data.declaration import read_declaration
from googol.data.files import DataError
from googol.data.names import unknown

__all__ = ["encoded", "read_csv"]

MOST_CATEGORIES = 20
MISSING = ("", "nan")
# In a column of numbers these cannot be meant as values.
MISSING_NUMBERS = (*MISSING, "na", "n/a", "null", "none", "?", "-")


def read_csv(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV file by their names, entries as texts.

    Raises:
        DataError: It cannot be read, is no CSV file in UTF-8, or its columns have no distinct names.
    """
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
    if len(header) == 1 and (mark := next((mark for mark in (";", "\t") if mark in header[0]), None)):
        raise DataError(f"{path} must have commas between its columns, got {mark!r} in its only one, {header[0]!r}")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(f"{path}: row {number} has {len(row)} entries, the first {len(header)}")
    require_distinct(header, path)
    texts = np.array(rows, dtype=object).reshape(len(rows), len(header))
    return dict(zip(header, texts.T, strict=True))


def require_distinct(names: Sequence[str], path: Path) -> None:
    """Raises a DataError if a name of a column is empty or comes twice."""
    for name, count in Counter(names).items():
        if not name or count > 1:
            raise DataError(f"the columns of {path} must have distinct names, got {', '.join(names)!r}")


def encoded(
    columns: Mapping[str, np.ndarray],
    path: Path,
    wanted: Collection[str] | None = None,
    schema: Sequence[Condition] = (),
) -> tuple[tuple[Condition, ...], np.ndarray]:
    """What columns of a file stand for, and their entries as numbers, ``(n, c)`` float32, NaN = missing.

    An empty entry is missing, and so is ``nan``; beside numbers ``NA``, ``N/A``, ``null``, ``None``, ``?`` and ``-``
    too. A column is continuous if all its entries are numbers, and one of them is not an integer or there are more than
    20 different ones; else it is categorical, its values the different entries as they are written, numbers by size and
    texts by alphabet.
    It is told of a column that looks like numbers but for a few entries.

    A column that has no two different entries, that counts the rows, or that has different texts in most of them, as
    names have, is left out, with a warning, unless it is asked for by name or declared.

    A file beside it that is named alike and ends with ``.yaml`` can declare conditions, see
    :func:`googol.data.declaration.read_declaration`; then an entry that is none of the values is an error.

    Args:
        columns: Texts, ``(n,)`` each, by name.
        path: The file.
        wanted: The names that are asked for; by default all.
        schema: What some columns are known to stand for, whatever is in them, and however little. If all of these are
            there, others are not looked at.

    Raises:
        DataError: A column cannot be a condition or what it is declared to be, or what is declared is no column.
    """
    beside = path.with_suffix(".yaml")
    declared = read_declaration(beside)
    for name in declared:
        if name not in columns:
            raise DataError(f"{beside}: {unknown(f'column of {path.name}', name, columns)}")
    known = {condition.name: condition for condition in schema}
    if known and known.keys() <= columns.keys():  # nothing is lacking that could be misspelt
        wanted = known
    found = []
    try:
        for name, column in columns.items():
            if name in known:
                found.append((known[name], _encoded(known[name], column, "as the model knows it")))
            elif name in declared:
                found.append((declared[name], _encoded(declared[name], column, f"as {beside.name} declares it")))
                _require_entries(name, ~np.isnan(found[-1][1]))
            elif wanted is None or name in wanted:
                looked_at = _column(column)
                if wanted is None and (reason := _tells_nothing(looked_at)):
                    warnings.warn(f"{path}: {name!r} {reason}, so the column is left out", stacklevel=3)
                else:
                    found.append(_condition(name, looked_at))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    rows = len(next(iter(columns.values()), ()))
    numbers = np.array([column for _, column in found], np.float32).reshape(len(found), rows).T
    return tuple(condition for condition, _ in found), numbers


def _known(texts: np.ndarray, missing: Collection[str] = MISSING) -> np.ndarray:
    """Which entries of a column are there."""
    return np.array([text.lower() not in missing for text in texts], bool)


def _require_entries(name: str, known: np.ndarray) -> None:
    if not known.any():
        raise ValueError(f"condition {name!r} has no entry at all")


def _encoded(condition: Condition, texts: np.ndarray, why: str) -> np.ndarray:
    """The entries of a condition that is known as numbers; why it is known, for the error of an entry that is none."""
    texts = texts if condition.values is None else _whole(texts, condition.values)
    known = _known(texts, MISSING if condition.is_categorical else MISSING_NUMBERS)
    numbers = np.full(len(texts), np.nan)
    try:
        numbers[known] = [condition.encode(text) for text in texts[known]]
    except ValueError as error:
        raise ValueError(f"{error} ({why})") from error
    return numbers


def _whole(texts: np.ndarray, values: Sequence[str]) -> np.ndarray:
    """The entries, each that is a value written in another way, such as 1.0 for 1, as that value."""
    same = {_integer(value): value for value in reversed(values) if _is_integer(value)}
    return np.array(
        [same.get(_integer(text), text) if text not in values and _is_integer(text) else text for text in texts], object
    )


def _is_number(text: str) -> bool:
    if not text.isascii() or "_" in text:  # which Python reads, too
        return False
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _is_integer(text: str) -> bool:
    return _is_number(text) and float(text).is_integer()


def _without_zeros(text: str) -> str:
    """A column of integers with holes is often written as 1.0, 2.0."""
    return re.sub(r"\.0*$", "", text)


def _integer(text: str) -> int:
    """What a text is that is an integer, however large."""
    try:
        return int(_without_zeros(text))
    except ValueError:
        return int(float(text))  # such as 1e3


class _Column(NamedTuple):
    """What the entries of a column that is not declared look like."""

    texts: np.ndarray  # (n,)
    known: np.ndarray  # (n,) bool
    is_number: np.ndarray  # (n,) bool

    @property
    def is_numeric(self) -> bool:
        """Whether all entries that are there are numbers."""
        return bool(self.is_number[self.known].all())


def _column(texts: np.ndarray) -> _Column:
    known, is_number = _known(texts), np.array([_is_number(text) for text in texts], bool)
    if is_number.any() and all(text.lower() in MISSING_NUMBERS for text in texts[known & ~is_number]):
        known = is_number
    return _Column(texts, known, is_number)


def _tells_nothing(column: _Column) -> str:
    """Why a column that nobody asked for is left out; empty if it is not."""
    known = column.texts[column.known]
    distinct = len(set(known))
    if distinct < 2:
        return "has no two different entries"
    if not column.is_numeric:
        many = distinct > max(MOST_CATEGORIES, len(known) / 2)
        return f"has {distinct} different texts in {len(known)} rows, as names have" if many else ""
    counted = np.sort(known.astype(float)) - np.arange(len(known))
    is_count = len(known) == len(column.texts) > MOST_CATEGORIES and counted[0] in (0, 1) and np.ptp(counted) == 0
    return "counts the rows" if is_count else ""


def _condition(name: str, column: _Column) -> tuple[Condition, np.ndarray]:
    """What a column that is not declared is, and its entries as numbers."""
    texts, known, is_number = column
    codes = np.full(len(texts), np.nan)
    _require_entries(name, known)
    if not column.is_numeric:
        categories, codes[known] = np.unique(texts[known], return_inverse=True)
        if 2 * is_number.sum() > known.sum():
            other = min(texts[known & ~is_number])
            warnings.warn(
                f"most entries of {name!r} are numbers, but {other!r} is not, so it has {len(categories)} "
                "categories: leave a cell empty where a number is missing",
                stacklevel=4,
            )
        return Condition(name, tuple(categories.tolist())), codes
    numbers = texts[known].astype(float) + 0.0  # -0 becomes 0
    if (np.abs(numbers) > np.finfo(np.float32).max).any():
        raise ValueError(f"condition {name!r} has an entry that is infinite or too large")
    distinct = np.unique(numbers)
    if len(distinct) > MOST_CATEGORIES or (distinct != np.rint(distinct)).any():
        codes[known] = numbers
        return Condition(name, None), codes
    integers = [_integer(text) for text in texts[known]]
    different, codes[known] = np.unique(np.array(integers, object), return_inverse=True)
    forms: dict[int, set[str]] = {integer: set() for integer in different.tolist()}
    for integer, text in zip(integers, texts[known], strict=True):
        forms[integer].add(_without_zeros(text))
    # As they are written, such as 01, unless that differs.
    names = [form if len(written) == 1 and (form := min(written)).isdecimal() else str(integer)
             for integer, written in forms.items()]  # fmt: skip
    return Condition(name, tuple(names)), codes
