import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from googol.data import Condition, DataError, load

RANDOM = np.random.default_rng(2)
IMAGES = RANDOM.integers(0, 256, (20, 4, 6), np.uint8)
CONDITIONS = np.stack([np.arange(20) % 3, RANDOM.normal(size=20)], 1)
CONDITIONS[[3, 7], [0, 1]] = np.nan
FULL = {
    "images": IMAGES,
    "conditions": CONDITIONS,
    "condition_names": np.array(["shape", "weight"]),
    "values_shape": np.array(["round", "square", "été"]),
    "split": np.array(["train"] * 12 + ["valid"] * 5 + ["test"] * 3),
}


def write(path: Path, **arrays: Any) -> str:
    np.savez(path / "own.npz", **arrays)
    return str(path / "own.npz")


def test_everything(tmp_path: Path) -> None:
    path = write(tmp_path, **FULL)
    for split, rows in {"train": slice(12), "valid": slice(12, 17), "test": slice(17, 20)}.items():
        data = load(path, split)
        np.testing.assert_array_equal(data.images[:, 0], IMAGES[rows])
        np.testing.assert_array_equal(data.conditions, CONDITIONS[rows].astype(np.float32))
        assert data.schema == (Condition("shape", ("round", "square", "été")), Condition("weight", None))
        assert data.name == path


def test_images_alone_are_divided(tmp_path: Path) -> None:
    path = write(tmp_path, images=IMAGES)
    parts = [load(path, split) for split in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [16, 2, 2]
    found = np.concatenate([part.images[:, 0] for part in parts])
    assert sorted(map(bytes, found)) == sorted(map(bytes, IMAGES))
    assert parts[0].conditions.shape == (16, 0)


def test_colour_and_floats(tmp_path: Path) -> None:
    colour = RANDOM.integers(0, 256, (20, 4, 6, 3), np.uint8)
    eight_bit = load(write(tmp_path, images=colour, split=FULL["split"]), "train")
    np.testing.assert_array_equal(eight_bit.images, colour[:12].transpose(0, 3, 1, 2))
    for kind in (np.float16, np.float32, np.float64):
        rounded = load(write(tmp_path, images=(colour / 255).astype(kind), split=FULL["split"]), "train")
        np.testing.assert_array_equal(rounded.images, eight_bit.images)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": IMAGES[0]}, "images must have shape (n, height, width) or"),
        ({"images": IMAGES[:0]}, "images must have shape (n, height, width) or"),
        ({"images": IMAGES.astype(int)}, "images must be uint8 or floats in [0, 1], got int64"),
        ({"images": IMAGES / 1.0}, "images of floats must be in [0, 1], got values from "),
        ({"images": IMAGES * np.nan}, "images of floats must be in [0, 1], got values from nan to nan"),
        ({"images": IMAGES.astype(str)}, "images must be uint8 or floats in [0, 1], got <U3"),
        ({"images": IMAGES.astype(object)}, "cannot be read as .npz arrays of numbers and texts"),
        ({"conditions": CONDITIONS[:9]}, "conditions must be numbers of shape (20, 2)"),
        ({"conditions": CONDITIONS[:, 0]}, "conditions must be numbers of shape (20, 2)"),
        ({"conditions": CONDITIONS.astype(str)}, "conditions must be numbers of shape (20, 2)"),
        ({"conditions": CONDITIONS + 1}, "condition 'shape' must be one of 0 … 2 or NaN, got 3"),
        ({"conditions": CONDITIONS * [1, 1e200]}, "condition 'weight' must be finite or NaN, got"),
        ({"conditions": None}, "the arrays conditions and condition_names must come together"),
        ({"condition_names": None}, "the arrays conditions and condition_names must come together"),
        ({"condition_names": np.array(["shape"])}, "conditions must be numbers of shape (20, 1)"),
        ({"condition_names": np.array(["shape", "shape"])}, "must be distinct"),
        ({"values_shape": np.array(["round"])}, "condition 'shape' must have at least two values"),
        ({"values_size": np.array(["s", "l"])}, "values_size is for none of the conditions: shape, weight"),
        ({"split": np.array(["train"] * 9)}, "split must have 20 texts, got <U5 of shape (9,)"),
        ({"split": np.zeros(20)}, "split must have 20 texts"),
        (
            {"split": np.array(["train", "val"] * 10)},
            "unknown split 'val': expected one of 'train', 'valid', 'test'",
        ),
        ({"split": np.array(["train", "test"] * 10)}, "has 20 images, but none for the split 'valid'"),
    ],
)
def test_refusals(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    arrays = {name: array for name, array in (FULL | changed).items() if array is not None}
    path = write(tmp_path, **arrays)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        load(path, "valid")
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    """Also of a compressed file, and also if the head or the directory at the end are whole."""
    np.savez_compressed(tmp_path / "own.npz", **FULL)
    content = (tmp_path / "own.npz").read_bytes()
    for length in range(0, len(content), 97):
        (tmp_path / "own.npz").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"truncated or damaged|cannot be read"):
            load(tmp_path / "own.npz", "train")
    middle = len(content) // 3
    (tmp_path / "own.npz").write_bytes(content[:middle] + bytes(50) + content[middle + 50 :])
    with pytest.raises(DataError, match="truncated or damaged"):
        load(tmp_path / "own.npz", "train")


def test_a_compression_that_nobody_knows_is_damage(tmp_path: Path) -> None:
    content = bytearray(Path(write(tmp_path, **FULL)).read_bytes())
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):  # of every array, and its entry in the directory
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            content[place + at] = 99
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(DataError, match="truncated or damaged"):
        load(tmp_path / "own.npz", "train")


def test_other_files(tmp_path: Path) -> None:
    np.save(tmp_path / "single.npy", IMAGES)
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    with pytest.raises(DataError, match=r"must be an \.npz file of several arrays"):
        load(tmp_path / "single.npz", "train")
    np.savez(tmp_path / "other.npz", pictures=IMAGES)
    with pytest.raises(DataError, match="must hold the arrays images: images missing, found pictures"):
        load(tmp_path / "other.npz", "train")
