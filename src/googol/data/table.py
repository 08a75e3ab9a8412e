"""Tables: rows of a CSV or Parquet file, alone, or with the conditions of images."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from googol.data.columns import encoded, read_csv, require_distinct
from googol.data.dataset import Condition, Dataset
from googol.data.files import DataError
from googol.data.names import unknown
from googol.data.splits import divide, members

__all__ = ["ALL", "Table", "decoded", "is_table", "load_table", "read_conditions"]

ALL = "all"  # the split of a table that has every row, in the order of the file
PARQUET = (".parquet", ".pq")


def is_table(path: Path) -> bool:
    """Whether a path has the name of a table: one that ends with .csv, .parquet or .pq.

    Example:
        >>> is_table(Path("wine.csv")), is_table(Path("wine.npz"))
        (True, False)
    """
    return path.suffix.lower() in (".csv", *PARQUET)


def load_table(
    path: Path, split: str, wanted: Collection[str] | None = None, *, schema: Sequence[Condition] = ()
) -> Dataset:
    """The rows of one split of a table, each a set of conditions without an image.

    What the columns stand for is as for the conditions of images, see :func:`googol.data.columns.encoded`; a column
    ``split`` divides the rows, else they are divided 80 / 10 / 10 at random.

    Args:
        path: A CSV file, or a Parquet file, which takes pyarrow.
        split: "train", "valid", "test" or "all".
        wanted: The names of the columns that are asked for; by default all that there are.
        schema: What some columns are known to stand for.

    Raises:
        DataError: The file is damaged or has no rows of that split, a column cannot be what it is declared to be, or
            what is wanted is no column.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "people.csv"
        >>> _ = path.write_text("hair,age\\nred,31.5\\nbrown,45\\nred,\\n")
        >>> people = load_table(path, "all")
        >>> people.names, people.conditions.tolist()
        (('hair', 'age'), [[1.0, 31.5], [0.0, 45.0], [1.0, nan]])
        >>> people.is_table
        True
    """
    columns = _read_parquet(path) if path.suffix.lower() in PARQUET else read_csv(path)
    parts = columns.pop("split", None)
    if not columns:
        raise DataError(f"{path} must have columns that it is a table of, got none")
    for name in wanted or ():
        if name not in columns:
            raise DataError(unknown(f"column of {path}", name, columns))
    found, rows = encoded(columns, path, wanted, schema)
    parts = divide(len(rows)) if parts is None else parts
    index = np.arange(len(rows)) if split == ALL else members(parts, split, str(path), "rows")
    images = torch.empty(len(index), 0, 0, 0, dtype=torch.uint8)
    texts = {condition.name: columns[condition.name][index] for condition in found}
    return Dataset(str(path), images, torch.from_numpy(rows[index]), found, texts=texts)


def _read_parquet(path: Path) -> dict[str, np.ndarray]:
    """The columns of a Parquet file as texts; those of missing entries are empty."""
    import pandas

    try:
        table = pandas.read_parquet(path)
    except ImportError as error:
        raise DataError(
            f"{path}: Parquet files need pyarrow: pip install 'googol[parquet]', or save the table as .csv"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {' '.join(str(error).split())}") from error
    names = [str(name).strip() for name in table.columns]
    require_distinct(names, path)
    known = table.notna().to_numpy()
    return {
        name: np.array([str(x).strip() if there else "" for x, there in zip(column, has, strict=True)], object)
        for name, (_, column), has in zip(names, table.items(), known.T, strict=True)
    }


def decoded(schema: Sequence[Condition], rows: Tensor) -> dict[str, list[str]]:
    """Columns of texts by their names, as a file has them: :func:`load_table` reads the numbers back.

    Args:
        schema: What the columns stand for.
        rows: Numbers, ``(n, c)``, NaN = missing, which is written as an empty text.

    Raises:
        ValueError: A number stands for no value of its condition.

    Example:
        >>> schema = Condition("hair", ("brown", "red")), Condition("age", None)
        >>> decoded(schema, torch.tensor([[1, 31.5], [0, torch.nan]]))
        {'hair': ['red', 'brown'], 'age': ['31.5', '']}
    """
    columns = zip(schema, rows.T.tolist(), strict=True)
    return {condition.name: [condition.decode(number) for number in column] for condition, column in columns}


class Table(NamedTuple):
    """What is known of ``n`` images."""

    schema: tuple[Condition, ...]
    conditions: np.ndarray  # (n, c) float32, NaN = missing
    parts: np.ndarray | None  # (n,) "train", "valid" or "test"
    texts: Mapping[str, np.ndarray]  # (n,) each, the entries of the conditions as they are written


def read_conditions(
    path: Path, files: Sequence[str], wanted: Collection[str] | None = None, *, schema: Sequence[Condition] = ()
) -> Table:
    """The conditions of images, in the order of ``files``.

    The first line of the CSV file has the names of its columns. The first column, ``file``, says which image
    a row is about; a column ``split`` divides the images; every other column is a condition, see
    :func:`googol.data.columns.encoded`.

    Raises:
        DataError: A file is damaged, there is no row or two rows for an image, or one for an image that does not
            exist, a column cannot be a condition or what it is declared to be, or what is declared or wanted is no
            column.

    Args:
        path: The CSV file.
        files: What its first column calls the images.
        wanted: The conditions that are asked for; by default all that there are.
        schema: What some columns are known to stand for.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "conditions.csv"
        >>> _ = path.write_text("file,smiling,age\\na.png,yes,31.5\\nb.png,no,45\\nc.png,,\\n")
        >>> table = read_conditions(path, ["a.png", "b.png", "c.png"])
        >>> table.schema[0].values, table.conditions.tolist()
        (('no', 'yes'), [[1.0, 31.5], [0.0, 45.0], [nan, nan]])
    """
    columns = read_csv(path)
    if next(iter(columns)) != "file":
        raise DataError(f"the first column of {path} must be 'file', got {', '.join(columns)!r}")
    named = [text.replace("\\", "/") for text in columns.pop("file")]
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
    index = [order[file] for file in files]
    columns = {name: column[index] for name, column in columns.items()}
    parts = columns.pop("split", None)
    for name in wanted or ():
        if name not in columns:
            raise DataError(unknown(f"condition of {path.parent}", name, columns))
    found, conditions = encoded(columns, path, wanted, schema)
    texts = {condition.name: columns[condition.name] for condition in found}
    return Table(found, conditions if found else np.empty((len(files), 0), np.float32), parts, texts)
