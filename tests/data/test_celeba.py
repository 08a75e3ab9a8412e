import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from googol.data import DataError, get, load
from googol.data.celeba import CelebA

NAMES = [*CelebA.default_conditions, "Bald", "Mustache"]
PEOPLE = [2, 13, 20, 31, 45, 58, 60, 71, 89, 10]  # tests: 20, 60, 10; validation: 31, 71
RANDOM = np.random.default_rng(1)


def jpeg(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=100, subsampling=0)
    return file.getvalue()


def packed(colours: np.ndarray, size: tuple[int, int] = (64, 64)) -> dict[str, np.ndarray]:
    """Images of one colour each, as the arrays of ``celeba_64.npz``."""
    files = [jpeg(np.broadcast_to(colour, (*size, 3)).astype(np.uint8)) for colour in colours]
    return {
        "jpeg_bytes": np.frombuffer(b"".join(files), np.uint8),
        "jpeg_offsets": np.cumsum([0, *map(len, files)]),
        "attributes": RANDOM.choice([-1, 1], (len(colours), len(NAMES))).astype(np.int8),
        "attribute_names": np.array(NAMES),
        "identity": np.array(PEOPLE),
    }


COLOURS = RANDOM.integers(0, 256, (len(PEOPLE), 3))
PACKED = packed(COLOURS)


@pytest.mark.parametrize(("split", "rows"), [("train", [0, 1, 4, 5, 8]), ("valid", [3, 7]), ("test", [2, 6, 9])])
def test_packed(tmp_path: Path, split: str, rows: list[int]) -> None:
    np.savez(tmp_path / "celeba_64_some.npz", **PACKED)
    data = load("celeba", split, data_dir=tmp_path)
    assert data.images.shape == (len(rows), 3, 64, 64)
    assert (data.exact, data.remark[:22]) == (False, "not the official files")
    assert np.abs(data.images[:, :, 5, 9].numpy() - COLOURS[rows]).max() <= 3
    assert data.names == CelebA.default_conditions
    assert all(condition.values == ("0", "1") for condition in data.schema)
    np.testing.assert_array_equal(data.conditions, PACKED["attributes"][rows][:, :10] > 0)
    chosen = load("celeba", split, data_dir=tmp_path, conditions=["Mustache", "Male"])
    np.testing.assert_array_equal(chosen.conditions, PACKED["attributes"][rows][:, [11, 0]] > 0)
    assert get("celeba", data_dir=tmp_path) == tmp_path / "celeba_64_some.npz"


def test_a_pixel_of_a_smaller_image_is_the_mean_of_four(tmp_path: Path) -> None:
    np.savez(tmp_path / "celeba_64_some.npz", **PACKED)
    large, small = (load(name, "train", data_dir=tmp_path) for name in ("celeba", "celeba-32"))
    noisy = np.array([jpeg(RANDOM.integers(0, 256, (64, 64, 3)).astype(np.uint8)) for _ in PEOPLE])
    assert (small.name, small.image_shape, small.names) == ("celeba-32", (3, 32, 32), large.names)
    assert torch.equal(small.conditions, large.conditions)
    files = {"jpeg_bytes": np.frombuffer(b"".join(noisy), np.uint8), "jpeg_offsets": np.cumsum([0, *map(len, noisy)])}
    np.savez(tmp_path / "celeba_64_some.npz", **PACKED | files)
    large, small = (load(name, "train", data_dir=tmp_path).images.double() for name in ("celeba", "celeba-32"))
    means = (large[..., ::2, ::2] + large[..., 1::2, ::2] + large[..., ::2, 1::2] + large[..., 1::2, 1::2]) / 4
    assert (small - means).abs().max() <= 0.5


def test_unknown_attribute(tmp_path: Path) -> None:
    np.savez(tmp_path / "celeba_64_some.npz", **PACKED)
    with pytest.raises(ValueError, match=r"unknown condition of celeba 'Moustache': .*did you mean 'Mustache'\?"):
        load("celeba", "train", data_dir=tmp_path, conditions=["Moustache"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"jpeg_offsets": PACKED["jpeg_offsets"][:-1]}, "do not fit together"),
        ({"jpeg_bytes": PACKED["jpeg_bytes"][:-9]}, "do not fit together"),
        ({"identity": PACKED["identity"][:-1]}, "do not fit together"),
        ({"identity": PACKED["identity"] / 2}, "do not fit together"),
        ({"attributes": PACKED["attributes"][:-1]}, "do not fit together"),
        ({"attributes": PACKED["attributes"][:, :-1]}, "must be -1 or 1, 12 for each image"),
        ({"attributes": PACKED["attributes"] * 0}, "must be -1 or 1, 12 for each image"),
        ({"identity": np.full(10, 5)}, "has 10 images, but none for the split 'test'"),
        ({"jpeg_bytes": PACKED["jpeg_bytes"] * 0}, "image 2 in .* is not an image that can be read"),
        (packed(COLOURS, (48, 60)), r"image 2 in .* must be 64 x 64 \(width x height\), got 60 x 48"),
    ],
)
def test_damaged_packed(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "celeba_64.npz", **PACKED | changed)
    with pytest.raises(DataError, match=message):
        load("celeba", "test", data_dir=tmp_path)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Six images in the official form, three of them for training. Their centred squares have one colour."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    attributes = [f"{len(COLOURS[:6])}", " ".join(NAMES)]
    for number, colour in enumerate(COLOURS[:6]):
        image = np.zeros((218, 178, 3), np.uint8)
        image[35:183, 15:163] = colour
        (folder / "img_align_celeba" / f"{number:06}.jpg").write_bytes(jpeg(image))
        attributes.append(f"{number:06}.jpg  " + " ".join(f"{a:2}" for a in PACKED["attributes"][number]))
    (folder / "list_attr_celeba.txt").write_text("\n".join(attributes) + "\n")
    partition = [f"{number:06}.jpg {part}\n" for number, part in enumerate([0, 0, 1, 2, 2, 0])]
    (folder / "list_eval_partition.txt").write_text("".join(partition))
    return folder


@pytest.mark.parametrize(("split", "rows"), [("train", [0, 1, 5]), ("valid", [2]), ("test", [3, 4])])
def test_official(official: Path, split: str, rows: list[int]) -> None:
    for _ in range(2):  # decoded, then as it was kept
        data = load("celeba", split, data_dir=official.parent)
        assert (data.exact, data.remark) == (True, "")
        middle = data.images[:, :, 2:-2, 2:-2].numpy().astype(int)
        assert np.abs(middle - COLOURS[rows][:, :, None, None]).max() <= 3
        np.testing.assert_array_equal(data.conditions, PACKED["attributes"][rows][:, :10] > 0)
    kept = np.load(official / f"celeba_64_{split}.npy")
    np.testing.assert_array_equal(kept, data.images)
    assert not list(official.glob("*.part"))


def test_official_that_cannot_be_kept(official: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any, array: np.ndarray) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.warns(UserWarning, match="cannot be kept, so it will be made again: No space left"):
        data = load("celeba", "train", data_dir=official)
    assert len(data) == 3
    assert not list(official.glob("celeba_64*"))


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        (
            "img_align_celeba/000003.jpg",
            jpeg(np.zeros((218, 178, 3), np.uint8))[:700],
            "000003.jpg is truncated",
        ),
        ("img_align_celeba/000003.jpg", b"", "000003.jpg is not an image"),
        (
            "img_align_celeba/000003.jpg",
            jpeg(np.zeros((64, 64, 3), np.uint8)),
            "000003.jpg must be 178 x 218 (width x height), got 64 x 64",
        ),
        (
            "list_eval_partition.txt",
            b"000009.jpg 2\n000003.jpg 2\n",
            "1 of 2 images of the split 'test' are not in",
        ),
        ("list_eval_partition.txt", b"000003.jpg 0\n", "has no image for the split 'test'"),
        ("list_eval_partition.txt", b"", "is damaged"),
        ("list_eval_partition.txt", b"000003.jpg\n", "is damaged"),
        ("list_attr_celeba.txt", b"6\nMale Smiling\n", "are not in img_align_celeba or not in list_attr"),
        ("list_attr_celeba.txt", b"6\n", "is damaged"),
        ("celeba_64_test.npy", b"\x93NUMPY", "celeba_64_test.npy is damaged: delete it"),
    ],
)
def test_damaged_official(official: Path, path: str, content: bytes, message: str) -> None:
    (official / path).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message)):
        load("celeba", "test", data_dir=official)
    assert (official / path).read_bytes() == content


def test_kept_of_other_images(official: Path) -> None:
    np.save(official / "celeba_64_test.npy", np.zeros((3, 3, 64, 64), np.uint8))
    with pytest.raises(DataError, match=r"celeba_64_test\.npy is of other images"):
        load("celeba", "test", data_dir=official)


def test_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"put the folder img_align_celeba and the files .* into .*/celeba") as caught:
        get("celeba", data_dir=tmp_path)
    assert "\n" not in str(caught.value)
