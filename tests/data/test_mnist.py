import gzip
import hashlib
import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from googol.data import DataError, load
from googol.data.mnist import FASHION_MNIST, FILES, MNIST, Mnist

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "x_train": RANDOM.integers(0, 256, (12, 5, 4), np.uint8),
    "y_train": RANDOM.integers(0, 10, 12).astype(np.uint8),
    "x_test": RANDOM.integers(0, 256, (6, 5, 4), np.uint8),
    "y_test": RANDOM.integers(0, 10, 6).astype(np.uint8),
}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


COMPRESSED = [gzip.compress(idx(array), mtime=0) for array in ARRAYS.values()]
MD5 = [hashlib.md5(content).hexdigest() for content in COMPRESSED]
SMALL = replace(MNIST, md5=(MD5[0], MD5[1], MD5[2], MD5[3]), valid=3)


def write(folder: Path, contents: list[bytes], suffix: str = ".gz") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(FILES, contents, strict=True):
        (folder / f"{name}{suffix}").write_bytes(content)


def check(source: Mnist, *folders: Path) -> None:
    """All three splits are what was written."""
    expected = {
        "train": (ARRAYS["x_train"][:-3], ARRAYS["y_train"][:-3]),
        "valid": (ARRAYS["x_train"][-3:], ARRAYS["y_train"][-3:]),
        "test": (ARRAYS["x_test"], ARRAYS["y_test"]),
    }
    for split, (images, labels) in expected.items():
        data = source.load(split, folders)
        np.testing.assert_array_equal(data.images[:, 0], images)
        np.testing.assert_array_equal(data.conditions[:, 0], labels)
        assert data.schema == (source.condition,)


@pytest.mark.parametrize("place", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files(tmp_path: Path, place: str, suffix: str) -> None:
    contents = COMPRESSED if suffix else [idx(array) for array in ARRAYS.values()]
    write(tmp_path / place, contents, suffix)
    check(SMALL, tmp_path / "nowhere", tmp_path)


def test_one_npz_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", **ARRAYS)
    check(SMALL, tmp_path)
    assert SMALL.get([tmp_path]) == tmp_path / "mnist.npz"


def test_fashion_is_not_taken_for_mnist(tmp_path: Path) -> None:
    write(tmp_path, COMPRESSED)
    assert FASHION_MNIST.locate([tmp_path]) is None
    write(tmp_path / "fashion-mnist", COMPRESSED)
    check(replace(FASHION_MNIST, md5=SMALL.md5, valid=3), tmp_path)


def test_folders_in_order(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``data_dir``, then ``$GOOGOL_DATA``, then the cache."""
    arrays = {name: np.repeat(array, 1000, axis=0) for name, array in ARRAYS.items()}
    environment, given = tmp_path / "environment", tmp_path / "given"
    monkeypatch.setenv("GOOGOL_DATA", str(environment))
    for value, folder in ((1, cache), (2, environment), (3, given)):
        folder.mkdir(parents=True)
        np.savez(
            folder / "mnist.npz",
            **arrays | {"x_test": np.full((2, 3, 3), value, np.uint8)} | {"y_test": [1, 2]},
        )
        assert load("mnist", "test", data_dir=given if value == 3 else None).images.unique() == value
    assert load("mnist", "test").images.unique() == 2


def test_download(tmp_path: Path, server: str) -> None:
    write(tmp_path / "mirror", COMPRESSED)
    source = replace(SMALL, mirrors=(server + "absent/", server))  # the first mirror has nothing
    folders = [tmp_path / "data", tmp_path / "other"]
    assert source.get(folders) == tmp_path / "data" / "mnist"
    check(source, *folders)
    assert sorted(path.name for path in (tmp_path / "data" / "mnist").iterdir()) == sorted(f"{n}.gz" for n in FILES)
    for path in (tmp_path / "mirror").iterdir():
        path.unlink()
    source.get(folders)  # nothing is downloaded twice


def test_download_of_another_file_is_not_kept(tmp_path: Path, server: str) -> None:
    write(tmp_path / "mirror", [b"something else"] * 4)
    with pytest.raises(DataError, match="has another file than the expected one"):
        replace(SMALL, mirrors=(server,)).get([tmp_path / "data"])
    assert list((tmp_path / "data").rglob("*.gz")) == []


def test_no_network(tmp_path: Path, server: str) -> None:
    source = replace(SMALL, mirrors=("http://127.0.0.1:9/", server))
    with pytest.raises(DataError, match=r"cannot be reached \(ConnectionError\).*\(HTTPError\).*by hand") as caught:
        source.get([tmp_path / "data"])
    assert "\n" not in str(caught.value)


def test_no_place_to_write(tmp_path: Path, server: str) -> None:
    write(tmp_path / "mirror", COMPRESSED)
    (tmp_path / "data").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"cannot write .*Not a directory"):
        replace(SMALL, mirrors=(server,)).get([tmp_path / "data"])


def test_damaged_file_is_left_alone(tmp_path: Path, server: str) -> None:
    write(tmp_path / "mirror", COMPRESSED)
    write(tmp_path / "mnist", [COMPRESSED[0][:-20], *COMPRESSED[1:]])
    before = {path: path.read_bytes() for path in (tmp_path / "mnist").iterdir()}
    source = replace(SMALL, mirrors=(server,))
    message = f"{FILES[0]}.gz is damaged or another file: its MD5 checksum is .*, expected {MD5[0]}; it was left"
    with pytest.raises(DataError, match=message):
        source.load("train", [tmp_path])
    with pytest.raises(DataError, match=message):
        source.get([tmp_path])
    assert {path: path.read_bytes() for path in (tmp_path / "mnist").iterdir()} == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(ARRAYS["x_test"])[:-1], "must have (6, 5, 4) values after its head, but has 119"),
        (idx(ARRAYS["x_test"]) + b"0", "must have (6, 5, 4) values after its head, but has 121"),
        (b"", "is not an IDX file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x00", "is not an IDX file"),
        (b"\x00\x00\x08\x03\x00", "is not an IDX file"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "must have (4294967295, 4294967295, 4294967295) values"),
        (idx(ARRAYS["y_test"]), "must have uint8 images of shape (n, height, width)"),
        (idx(ARRAYS["x_train"]), "and (n,) labels, got uint8 of shape (12, 5, 4) and (6,)"),
    ],
)
def test_damaged_uncompressed_file(tmp_path: Path, content: bytes, message: str) -> None:
    contents = [idx(array) for array in ARRAYS.values()]
    write(tmp_path, [*contents[:2], content, contents[3]], "")
    with pytest.raises(DataError, match=re.escape(message)):
        SMALL.load("test", [tmp_path])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_test": ARRAYS["x_test"] / 255}, "must have uint8 images of shape"),
        ({"x_test": ARRAYS["x_test"][:4]}, "(4, 5, 4) and (6,)"),
        ({"y_test": np.full(6, 11)}, "'digit' must be one of 0 … 9 or NaN, got 11"),
    ],
)
def test_wrong_arrays(tmp_path: Path, changed: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "mnist.npz", **ARRAYS | changed)
    with pytest.raises(ValueError, match=re.escape(message)):
        SMALL.load("test", [tmp_path])


def test_too_few_for_validation(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", **ARRAYS)
    with pytest.raises(DataError, match="must have over 5000 training images, got 12"):
        MNIST.load("valid", [tmp_path])


def test_damaged_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", x_train=ARRAYS["x_train"])
    with pytest.raises(DataError, match="y_train, x_test, y_test missing, found x_train"):
        SMALL.load("test", [tmp_path])
    content = (tmp_path / "mnist.npz").read_bytes()
    (tmp_path / "mnist.npz").write_bytes(content[:100])
    with pytest.raises(DataError, match=r"cannot be read|truncated or damaged"):
        SMALL.load("test", [tmp_path])
    assert (tmp_path / "mnist.npz").read_bytes() == content[:100]


def test_not_there(tmp_path: Path) -> None:
    message = f"mnist is in none of {tmp_path}: `googol data get mnist` downloads it; or put mnist.npz or"
    with pytest.raises(DataError, match=re.escape(message)):
        SMALL.load("train", [tmp_path])
