"""CIFAR-10: photographs of things of ten classes."""

import io
from itertools import pairwise
from pathlib import Path

import numpy as np

from googol.data.containers import read_archive
from googol.data.dataset import Condition
from googol.data.files import DataError, read, read_arrays
from googol.data.images import channels_first, opened
from googol.data.published import File, Form, Published, Split

__all__ = ["CIFAR10"]

SIDE, VALID = 32, 5000
TRAINING = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TESTING = ("test_batch.bin",)
PACKED = ("cifar10_train_00000_24999.npz", "cifar10_train_25000_49999.npz", "cifar10_test_0000_0999.npz")
FEWER = "of the 10,000 test images only the first 1,000"


def _archive(place: Path, split: str) -> Split:
    path = place / "cifar-10-binary.tar.gz"
    return _records(read_archive(path, TESTING if split == "test" else TRAINING), path, split)


def _folder(place: Path, split: str) -> Split:
    folder = place / "cifar-10-batches-bin"
    return _records([read(folder / name) for name in (TESTING if split == "test" else TRAINING)], folder, split)


def _records(contents: list[bytes], path: Path, split: str) -> Split:
    """Records of one byte for the label and 3,072 for the pixels: red, green, blue, each line by line."""
    size = 1 + 3 * SIDE**2
    wrong = [len(content) for content in contents if len(content) % size]
    if wrong:
        raise DataError(f"{path} must have records of {size} bytes, but a file has {wrong[0]} bytes")
    records = np.concatenate([np.frombuffer(content, np.uint8).reshape(-1, size) for content in contents])
    return _divided(records[:, 1:].reshape(-1, 3, SIDE, SIDE), records[:, 0], split)


def _packed(place: Path, split: str) -> Split:
    """Strips of 500 images in lossless WebP files, end to end; the training images are the published ones."""
    parts = [_strips(place / name) for name in (PACKED[2:] if split == "test" else PACKED[:2])]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    found = _divided(images, labels, split)
    return found._replace(exact=False, remark=FEWER) if split == "test" else found


def _strips(path: Path) -> tuple[np.ndarray, np.ndarray]:
    arrays = read_arrays(path, ("webp_bytes", "webp_offsets", "labels"))
    content, bounds, labels = arrays["webp_bytes"].tobytes(), arrays["webp_offsets"], arrays["labels"]
    if bounds.dtype.kind not in "iu" or bounds.ndim != 1 or len(bounds) < 2 or bounds[-1] != len(content):
        raise DataError(f"{path}: webp_offsets and webp_bytes do not fit together")
    strips = []
    for number, (start, stop) in enumerate(pairwise(bounds)):
        with opened(io.BytesIO(content[start:stop]), f"strip {number} in {path}") as image:
            strip = channels_first(image.convert("RGB"))
        if strip.shape[2] != SIDE or strip.shape[1] % SIDE:
            raise DataError(f"strip {number} in {path} must be {SIDE} pixels wide, got {strip.shape[2]}")
        strips.append(strip.reshape(3, -1, SIDE, SIDE).swapaxes(0, 1))
    return np.concatenate(strips), labels


def _divided(images: np.ndarray, labels: np.ndarray, split: str) -> Split:
    """The last 5,000 training images are for validation."""
    part = {"train": slice(-VALID), "valid": slice(-VALID, None), "test": slice(None)}[split]
    return Split(images[part], labels[part])


#: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009. 45,000 / 5,000 / 10,000 images. The
#: unpacked files are known by their names in a Git repository.
CIFAR10 = Published(
    name="cifar10",
    description="60,000 photographs of ten classes of things, 32 x 32 RGB",
    shape=(3, SIDE, SIDE),
    condition=Condition(
        "class", ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    ),
    forms=(
        Form(
            (
                File(
                    "cifar-10-binary.tar.gz",
                    "c32a1d4ab5d03f1284b67883e8d87530",
                    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                ),
            ),
            _archive,
        ),
        Form(
            (
                File("cifar-10-batches-bin/data_batch_1.bin", "git:da09f891072747be90e69e4f00ba7cba870dc87e"),
                File("cifar-10-batches-bin/data_batch_2.bin", "git:7e958840b7a55df3353574298ebc9ca0e4bba48e"),
                File("cifar-10-batches-bin/data_batch_3.bin", "git:5259a3e9674ffdf2d5c33a1067f7192ff06c9e2f"),
                File("cifar-10-batches-bin/data_batch_4.bin", "git:301e7d16d78428f13262e87a5bc78ed45b8224aa"),
                File("cifar-10-batches-bin/data_batch_5.bin", "git:51fe428dfbdd065852912743ae8b7b63bb1e9d8d"),
                File("cifar-10-batches-bin/test_batch.bin", "git:e3f3b4653f18f27ada1558cabc3352a3ed1b25cc"),
            ),
            _folder,
        ),
        Form(tuple(File(name) for name in PACKED), _packed, FEWER),
    ),
)
