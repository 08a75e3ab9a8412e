"""The data sets of publications, in small: every form of their files gives what was written."""

import hashlib
import os
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from published_files import (
    BITS,
    CASES,
    CLASSES,
    COUNTS,
    DOWNLOADED,
    FRAMES,
    GREY,
    RANDOM,
    SILHOUETTES,
    Case,
    Parts,
    packed,
    text,
)

from googol.data import SPLITS, DataError, binary_mnist, cifar10, frey_faces, histopathology, load, omniglot
from googol.data.caltech101 import CALTECH101
from googol.data.mnist import MNIST
from googol.data.published import Published, binarized


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The sizes and contents of the files here count as the published ones."""
    monkeypatch.setattr(omniglot, "VALID", 3)
    monkeypatch.setattr(cifar10, "VALID", 3)
    monkeypatch.setattr(frey_faces, "VALID", 3)
    monkeypatch.setattr(frey_faces, "TEST", 4)
    monkeypatch.setattr(frey_faces, "PIXELS_MD5", hashlib.md5(FRAMES.tobytes()).hexdigest())
    monkeypatch.setattr(histopathology, "SIZES", dict(zip(histopathology.SIZES, COUNTS.values(), strict=True)))
    text(tmp_path)
    for split in SPLITS:
        path = tmp_path / f"binarized_mnist_{split}.amat"
        monkeypatch.setitem(binary_mnist.MD5, split, hashlib.md5(path.read_bytes()).hexdigest())
        path.unlink()


def checked(source: Published, form: int, folder: Path, server: str = "http://127.0.0.1:9/") -> Published:
    """The source, expecting the files in a folder in one of its forms, and downloading from a server."""
    files = []
    for file in source.forms[form].files:
        content = (folder / file.name).read_bytes()
        checksum = hashlib.md5(content).hexdigest()
        if file.checksum is not None and file.checksum.startswith("git:"):
            checksum = "git:" + hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        address = None if file.address is None else server + file.name
        files.append(file._replace(checksum=None if file.checksum is None else checksum, address=address))
    forms = list(source.forms)
    forms[form] = replace(forms[form], files=tuple(files))
    return replace(source, forms=tuple(forms))


def check(case: Case, source: Published, *folders: Path) -> None:
    """All three splits are what was written."""
    random = np.random.RandomState(777)
    for split in SPLITS:
        data = source.load(split, folders)
        images = case.images[split]
        if case.binarizes and split != "train":
            images = binarized(images, random)
        np.testing.assert_array_equal(data.images, images.reshape(len(images), *source.shape))
        assert data.noise == ("binarize" if case.binarizes and split == "train" else "none")
        assert data.name == source.name
        assert (case.labels is not None) == bool(data.schema)
        if case.labels is not None:
            assert data.schema == (source.condition,)
            np.testing.assert_array_equal(data.conditions[:, 0], case.labels[split])
        assert data.exact == (split in case.exact)
        assert data.exact or data.remark


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("beside", [False, True])
def test_every_form(tmp_path: Path, name: str, beside: bool) -> None:
    case = CASES[name]
    place = tmp_path / "data" if beside else tmp_path / "data" / case.source.name
    place.mkdir(parents=True)
    case.write(place)
    source = checked(case.source, case.form, place)
    folders = [tmp_path / "nowhere", tmp_path / "data"]
    check(case, source, *folders)
    found = source.get(folders)
    assert found == source.locate(folders)
    assert found in (place, *place.iterdir())
    assert source.remark(folders) == source.forms[case.form].remark


@pytest.mark.parametrize("name", DOWNLOADED)
def test_download(tmp_path: Path, server: str, name: str) -> None:
    case = CASES[name]
    case.write(tmp_path / "mirror")
    source = checked(case.source, 0, tmp_path / "mirror", server)
    folders = [tmp_path / "data", tmp_path / "other"]
    source.get(folders)
    check(case, source, *folders)
    assert {path.name for path in (tmp_path / "data" / source.name).iterdir()} == {
        file.name for file in source.forms[0].files
    }
    for path in (tmp_path / "mirror").iterdir():
        path.unlink()
    source.get(folders)  # nothing is downloaded twice


@pytest.mark.parametrize("name", DOWNLOADED)
def test_other_files_are_refused(tmp_path: Path, server: str, name: str) -> None:
    """Neither kept after a download nor read where they lie."""
    case = CASES[name]
    case.write(tmp_path / "mirror")
    source = checked(case.source, 0, tmp_path / "mirror", server)
    last = source.forms[0].files[-1].name
    content = (tmp_path / "mirror" / last).read_bytes()
    other = content[:-1] + bytes([content[-1] ^ 1])
    (tmp_path / "mirror" / last).write_bytes(other)
    with pytest.raises(DataError, match="has another file than the expected one"):
        source.get([tmp_path / "data"])
    assert not (tmp_path / "data" / source.name / last).exists()
    assert not list((tmp_path / "data").rglob("*.part"))
    for action in (lambda: source.load("test", [tmp_path / "mirror"]), lambda: source.get([tmp_path / "mirror"])):
        with pytest.raises(DataError, match=rf"{re.escape(last)} is damaged or another file: its (Git|MD5) checksum"):
            action()
    assert (tmp_path / "mirror" / last).read_bytes() == other


@pytest.mark.parametrize("name", CASES)
def test_every_truncation_is_noticed(tmp_path: Path, name: str) -> None:
    """Also where no checksum protects the file."""
    case = CASES[name]
    case.write(tmp_path)
    form = case.source.forms[case.form]
    unchecked = tuple(file._replace(checksum=None) for file in form.files)
    forms = tuple(replace(f, files=unchecked) if f is form else f for f in case.source.forms)
    source = replace(case.source, forms=forms)
    path = tmp_path / form.files[-1].name
    content = path.read_bytes()
    for part in (0.0, 0.1, 0.55, 0.9):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(DataError) as caught:
            source.load("test", [tmp_path])
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)


SMALL = {"x": FRAMES.reshape(-1, 28, 20)}


@pytest.mark.parametrize(
    ("source", "file", "arrays", "message"),
    [
        (CALTECH101, "caltech101_silhouettes_28.npz", {"test_packed": BITS["test"]}, "must have packed bits, uint8 of"),
        (CALTECH101, "caltech101_silhouettes_28.npz", {"y_test": CLASSES["train"]}, "must be 4 integers, got uint8"),
        (CALTECH101, "caltech101_silhouettes_28.npz", {"y_test": CLASSES["test"] / 2}, "must be 4 integers, got float"),
        (
            *(CALTECH101, "caltech101_silhouettes_28.npz", {"y_test": CLASSES["test"] + 101}),
            "'class' must be one of 0 … 100 or NaN, got 1",
        ),
        (frey_faces.FREY_FACES, "frey_faces.npz", {"x": FRAMES / 2}, "must have over 7 uint8 frames of 28 x 20, got f"),
        (frey_faces.FREY_FACES, "frey_faces.npz", {"x": FRAMES[:7]}, "must have over 7 uint8 frames of 28 x 20, got u"),
        (frey_faces.FREY_FACES, "frey_faces.npz", {"x": FRAMES[:, 1:]}, "frames of 28 x 20, got uint8 of shape (14, 5"),
        (omniglot.OMNIGLOT, "omniglot_28.npz", {"x_test": GREY["test"] / 255}, "must have uint8 images, got float64"),
        (omniglot.OMNIGLOT, "omniglot_28.npz", {"x_test": GREY["test"][:, 1:]}, "must be uint8 of shape (n, 28, 28)"),
        (omniglot.OMNIGLOT, "omniglot_28.npz", {"x_test": GREY["test"][:0]}, "must be uint8 of shape (n, 28, 28)"),
    ],
)
def test_wrong_arrays(tmp_path: Path, source: Published, file: str, arrays: Parts, message: str) -> None:
    good = SILHOUETTES | {f"x_{split}": grey for split, grey in GREY.items()}
    np.savez(tmp_path / file, **good | arrays)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        source.load("test", [tmp_path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("freyfaces.pkl", pickle.dumps({"x": FRAMES}), "must hold a list of one array, got dict"),
        ("freyfaces.pkl", pickle.dumps([[1, 2]]), "must hold a list of one array, got list"),
        ("freyfaces.pkl", pickle.dumps([os.system]), "must hold NumPy arrays alone, but it asks for"),
        ("histopathology.pkl", pickle.dumps({"training": 1}), "must hold a dictionary with training, validation, test"),
        *(
            ("histopathology.pkl", pickle.dumps(dict.fromkeys(("training", "validation", "test"), value)), message)
            for value, message in {
                1.0: "must have 4 test images of 28 x 28, got shape ()",
                "abc": "must have numbers as test images of one size",
            }.items()
        ),
    ],
)
def test_wrong_pickles(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    source = checked(frey_faces.FREY_FACES, 0, tmp_path) if name[0] == "f" else histopathology.HISTOPATHOLOGY
    with pytest.raises(DataError, match=re.escape(message)):
        source.load("test", [tmp_path])


def test_other_bits_and_frames_are_not_exact(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist_static_binarized.npz", **packed({split: 1 - bits for split, bits in BITS.items()}))
    np.savez(tmp_path / "frey_faces.npz", x=255 - FRAMES)
    data = binary_mnist.STATIC_MNIST.load("valid", [tmp_path])
    assert (data.exact, data.remark) == (False, "not the published bits")
    faces = frey_faces.FREY_FACES.load("valid", [tmp_path])
    assert (faces.exact, faces.remark[:26]) == (False, "not the published frames; ")


def test_binary_mnist_is_binarised_as_the_vampprior_does(tmp_path: Path) -> None:
    grey = RANDOM.integers(0, 256, (9, 28, 28), np.uint8)
    labels = np.arange(9, dtype=np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=grey[:6], y_train=labels[:6], x_test=grey[6:], y_test=labels[6:])
    source = binary_mnist.BinaryMnist(replace(MNIST, valid=2))
    parts = {split: source.load(split, [tmp_path]) for split in SPLITS}
    np.testing.assert_array_equal(parts["train"].images[:, 0], grey[:4])
    assert [data.noise for data in parts.values()] == ["binarize", "none", "none"]
    assert {data.name for data in parts.values()} == {"binary-mnist"}
    np.random.seed(777)  # noqa: NPY002  (as that code does)
    x = grey.reshape(9, 784).astype(np.float32) / 255.0
    valid, test = np.random.binomial(1, x[4:6]), np.random.binomial(1, x[6:])  # noqa: NPY002
    np.testing.assert_array_equal(parts["valid"].pixels().flatten(1), valid)
    np.testing.assert_array_equal(parts["test"].pixels().flatten(1), test)
    np.testing.assert_array_equal(torch.cat([data.conditions for data in parts.values()])[:, 0], labels)
    assert source.locate([tmp_path]) == source.get([tmp_path]) == tmp_path / "mnist.npz"


def test_not_there(tmp_path: Path) -> None:
    message = (
        f"static-mnist is in none of {tmp_path}: `googol data get static-mnist` downloads it; or put there "
        "binarized_mnist_train.amat and binarized_mnist_valid.amat and binarized_mnist_test.amat; or mnist_static_bin"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        binary_mnist.STATIC_MNIST.load("train", [tmp_path])


REAL = os.environ.get("GOOGOL_TEST_DATA", "")


@pytest.mark.skipif(not REAL, reason="GOOGOL_TEST_DATA does not name a folder of the real files")
@pytest.mark.parametrize(
    ("name", "sizes", "mean"),
    [
        ("static-mnist", (50000, 10000, 10000), 0.1325),
        ("binary-mnist", (50000, 10000, 10000), 0.1325),
        ("omniglot", (23000, 1345, 8070), 0.08),
        ("caltech101", (4100, 2264, 2307), 0.46),
        ("frey-faces", (1565, 200, 200), 0.606),
        ("histopathology", (6800, 2000, 2000), None),
        ("cifar10", (45000, 5000, 10000), 0.474),
    ],
)
def test_real_files(monkeypatch: pytest.MonkeyPatch, name: str, sizes: tuple[int, ...], mean: float | None) -> None:
    monkeypatch.undo()
    for split, size in zip(SPLITS, sizes, strict=True):
        try:
            data = load(name, split, data_dir=REAL)
        except DataError as error:
            pytest.skip(str(error))
        assert len(data) == size or not data.exact
        if split == "test" and mean is not None:
            assert data.pixels().mean() == pytest.approx(mean, abs=0.006)
