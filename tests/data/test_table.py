"""Tables without images: CSV and Parquet files."""

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from googol.data import Condition, DataError, load

ROWS = [f"{'red' if i % 2 else 'blue'},{i / 4},{i % 3}" for i in range(10)]


def write(folder: Path, *rows: str, name: str = "mine.csv") -> Path:
    (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / name


def test_rows_of_a_csv_file(tmp_path: Path) -> None:
    data = load(write(tmp_path, "colour,weight,legs", *ROWS, ",,"), "all")
    assert data.is_table
    assert data.image_shape == (0, 0, 0)
    assert data.schema == (
        Condition("colour", ("blue", "red")),
        Condition("weight", None),
        Condition("legs", ("0", "1", "2")),
    )
    assert data.conditions[3].tolist() == [1, 0.75, 0]
    assert data.conditions[10].isnan().all()
    assert data.pixels(slice(4)).shape == (4, 0, 0, 0)


def test_splits_divide_all_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "x", *(f"{i / 8}" for i in range(40)))
    parts = [load(path, split).conditions for split in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [32, 4, 4]
    assert torch.cat(parts).sort(0).values.tolist() == load(path, "all").conditions.tolist()
    divided = write(tmp_path, "x,split", "1.5,test", "2,train", "3,valid", "4,train")
    assert load(divided, "train").conditions.tolist() == [[2], [4]]
    assert load(divided, "train").names == ("x",)


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = write(tmp_path, "colour,weight,legs,odd", *(f"{row},{i % 2 == 1}" for i, row in enumerate(ROWS)), "red,,1,")
    pd.read_csv(path).to_parquet(tmp_path / "mine.parquet")
    whole, other = load(path, "all"), load(tmp_path / "mine.parquet", "all")
    assert other.schema == whole.schema
    assert other.schema[3] == Condition("odd", ("False", "True"))
    np.testing.assert_array_equal(other.conditions, whole.conditions)


@pytest.mark.parametrize(
    ("entries", "values"),
    [
        (("01", "02", "10", "02"), ("01", "02", "10")),
        (("01", "1", "2"), ("1", "2")),
        (("2.0", "1.", "1.0"), ("1", "2")),
        (("-1", "+2", "2"), ("-1", "2")),
        (("9007199254740993", "9007199254740992", "1"), ("1", "9007199254740992", "9007199254740993")),
        (("1_0", "2_0"), ("1_0", "2_0")),
        (("١", "٢"), ("١", "٢")),  # which Python takes for 1 and 2
        (("a\0", "a"), ("a", "a\0")),
    ],
)
def test_integers_are_read_back_as_they_were_written(tmp_path: Path, entries, values) -> None:
    path = write(tmp_path, "x", *entries)
    data = load(path, "all")
    assert data.schema == (Condition("x", values),)
    np.testing.assert_array_equal(load(path, "all", schema=data.schema).conditions, data.conditions)
    np.testing.assert_array_equal(data.subset(slice(1, 3)).texts["x"], entries[1:3])


def test_a_long_text_takes_no_more_memory_than_it_is_long(tmp_path: Path) -> None:
    path = write(tmp_path, "x", "a" * 100_000, *["b", "c"] * 500)
    tracemalloc.start()
    try:
        load(path, "all", conditions=["x"])
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("error")
def test_what_a_model_knows_of_columns_counts(tmp_path: Path) -> None:
    """A single row says little of its columns, and may lack one."""
    schema = (Condition("colour", ("blue", "red")), Condition("weight", None), Condition("legs", ("0", "1", "2")))
    path = write(tmp_path, "weight,id,legs,colour", "3,x,2.0,")
    data = load(path, "all", schema=schema)
    assert data.names == ("weight", "legs", "colour")
    assert data.conditions[0, :2].tolist() == [3, 2]
    assert data.conditions[0, 2].isnan()
    with pytest.raises(DataError, match=r"unknown value of legs '4': expected .* \(as the model knows it\)"):
        load(write(tmp_path, "legs", "4"), "all", schema=schema)


def test_a_hole_is_no_second_entry(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="'legs' has no two different entries"):
        data = load(write(tmp_path, "legs,weight", "4,1.5", "NA,2", "4,3"), "all")
    assert data.names == ("weight",)


@pytest.mark.parametrize(
    ("rows", "split", "message"),
    [
        (["x", "1.5", "2"], "al", "unknown split 'al': expected one of 'train', 'valid', 'test', 'all'; did you mean"),
        (["split", "train", "test"], "all", "mine.csv must have columns that it is a table of, got none"),
        (["x,split", "1,train", "2.5,train"], "test", "mine.csv has 2 rows, but none for the split 'test'"),
        (["x,x", "1,2"], "all", "must have distinct names, got 'x, x'"),
        (["x,y", "1"], "all", "row 2 has 1 entries, the first 2"),
        (["a;b", "1;2"], "all", "mine.csv must have commas between its columns, got ';' in its only one, 'a;b'"),
        (["x,y"], "train", "has 0 rows, but none for the split 'train'"),
    ],
)
@pytest.mark.filterwarnings("ignore:.* has no two different entries")
def test_what_is_no_table(tmp_path: Path, rows: list[str], split: str, message: str) -> None:
    path = write(tmp_path, *rows)
    with pytest.raises(DataError, match=re.escape(message)):
        load(path, split)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match=r"mine\.parquet is not a readable Parquet file"):
        load(write(tmp_path, "x", "1", name="mine.parquet"), "all")
    with pytest.raises(DataError, match=r"unknown split 'all'"):
        load("digits", "all")
    with pytest.raises(DataError, match=r"unknown column of .* 'z': expected one of 'x', 'y'"):
        load(write(tmp_path, "x,y", "1,2", "2,3"), "all", conditions=["z"])
