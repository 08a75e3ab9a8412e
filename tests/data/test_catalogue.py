import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from googol.data import DataError, available, get, load
from googol.data.splits import divide


def test_digits() -> None:
    parts = {split: load("digits", split) for split in ("train", "valid", "test")}
    assert {split: len(data) for split, data in parts.items()} == {"train": 1206, "valid": 198, "test": 393}
    images = torch.cat([data.images for data in parts.values()])
    assert images.shape == (1797, 1, 8, 8)
    assert (images.min(), images.max()) == (0, 255)
    for data in parts.values():
        share = data.conditions[:, 0].long().bincount() / len(data)
        assert (share - 0.1).abs().max() < 0.005  # each digit in the same proportion
    assert len(images.flatten(1).unique(dim=0)) == 1797  # no image is in two splits


def test_digits_agree_with_their_source() -> None:
    from sklearn.datasets import load_digits

    source = load_digits()
    expected = {(tuple(x), y) for x, y in zip(source.data.tolist(), source.target.tolist(), strict=True)}
    data = load("digits", "test")
    grey = (data.images.flatten(1) / 255 * 16).round()
    found = {(tuple(x), y) for x, y in zip(grey.tolist(), data.conditions[:, 0].tolist(), strict=True)}
    assert len(found) == 393
    assert found <= expected


def test_available_and_get(tmp_path: Path) -> None:
    entries = {entry.name: entry for entry in available()}
    assert list(entries) == [
        *("digits", "mnist", "fashion-mnist", "static-mnist", "binary-mnist", "omniglot"),
        *("caltech101", "frey-faces", "histopathology", "cifar10", "celeba", "celeba-32"),
        *("stacked-mnist", "gaussian-grid"),
    ]
    assert {name for name, entry in entries.items() if entry.path is not None} == {"digits", "gaussian-grid"}
    assert get("digits").is_dir()
    (tmp_path / "mnist.npz").touch()
    (tmp_path / "omniglot_28.npz").touch()
    entries = {entry.name: entry for entry in available(data_dir=tmp_path) if entry.path}
    assert entries.keys() == {"digits", "mnist", "binary-mnist", "omniglot", "stacked-mnist", "gaussian-grid"}
    assert {name: entry.remark[:7] for name, entry in entries.items() if entry.remark} == {"omniglot": "rebuilt"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mnits",
            "unknown data set 'mnits': expected one of 'digits', 'mnist', 'fashion-mnist', 'static-mnist', ",
        ),
        ("faces", "; nor is there a file or a folder of that name"),
        ("no/such", "no/such does not exist: expected an .npz file, a folder of images, or a table (.csv or .parquet)"),
        ("no.npz", "no.npz does not exist: expected an .npz file, a folder of images, or a table (.csv or .parquet)"),
        (__file__, "test_catalogue.py must be an .npz file, a folder of images, or a table (.csv or .parquet)"),
    ],
)
def test_unknown_data(name: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        load(name, "train")


def test_other_refusals(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown split 'training': .*did you mean 'train'"):
        load("digits", "training")
    with pytest.raises(DataError, match=r"unknown data set 'MNIST': .*did you mean 'mnist'"):
        get("MNIST")
    with pytest.raises(DataError, match=r"the data folder .*absent does not exist"):
        load("mnist", "train", data_dir=tmp_path / "absent")
    with pytest.raises(ValueError, match="unknown condition of digits 'Smiling': expected one of 'digit'"):
        load("digits", "train", conditions=["Smiling"])


def test_conditions_are_chosen() -> None:
    assert load("digits", "test", conditions=[]).schema == ()
    assert load("digits", "test", conditions=["digit"]).names == ("digit",)


def test_a_name_goes_before_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert len(load("digits", "test")) == 393
    with pytest.raises(DataError, match="digits has no images"):
        load("./digits/../digits", "test")


def test_divide_is_frozen() -> None:
    """Which images are held out may never change."""
    assert "".join(part[1] for part in divide(20)) == "rrearrrrrrrarerrrrrr"  # tRain, vAlid, tEst
    assert divide(2).tolist() == ["train", "train"]
    assert sorted(divide(3).tolist()) == ["test", "train", "valid"]
    counts = dict(zip(*np.unique(divide(1234), return_counts=True), strict=True))
    assert counts == {"train": 988, "valid": 123, "test": 123}


def test_import_is_light() -> None:
    heavy = ("pandas", "PIL", "pooch", "scipy", "sklearn")
    code = f"import sys, googol.data; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "[]\n"
