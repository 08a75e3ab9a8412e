"""Small copies of published data sets, in every form of their files, and what should be found in them."""

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.io import savemat

from googol.data import SPLITS, binary_mnist, cifar10, frey_faces, histopathology, omniglot
from googol.data.caltech101 import CALTECH101
from googol.data.published import Published

RANDOM = np.random.default_rng(3)
COUNTS = {"train": 7, "valid": 3, "test": 4}
BITS = {split: RANDOM.integers(0, 2, (n, 28, 28), np.uint8) for split, n in COUNTS.items()}
GREY = {split: RANDOM.integers(0, 256, (n, 28, 28), np.uint8) for split, n in COUNTS.items()}
COLOUR = {split: RANDOM.integers(0, 256, (n, 3, 32, 32), np.uint8) for split, n in {**COUNTS, "test": 6}.items()}
LABELS = {split: RANDOM.integers(0, 10, len(images)).astype(np.uint8) for split, images in COLOUR.items()}
FRAMES = RANDOM.integers(0, 256, (14, 560), np.uint8)
ORDER = np.random.RandomState(123).permutation(14)

Parts = dict[str, np.ndarray]


def packed(parts: Parts) -> Parts:
    return {f"{split}_packed": np.packbits(bits.reshape(len(bits), -1), axis=1) for split, bits in parts.items()}


def columns(images: np.ndarray) -> np.ndarray:
    """As MATLAB has them: each image a row, its pixels first down and then to the right."""
    return images.transpose(0, 2, 1).reshape(len(images), -1)


def text(folder: Path) -> None:
    for split, bits in BITS.items():
        lines = (" ".join(map(str, image.ravel())) + "\n" for image in bits)
        (folder / f"binarized_mnist_{split}.amat").write_text("".join(lines))


def chardata(folder: Path) -> None:
    train = np.empty((10, 28, 28))
    train[np.random.RandomState(123).permutation(10)] = np.concatenate([GREY["train"], GREY["valid"]])
    savemat(folder / "chardata.mat", {"data": columns(train).T / 255, "testdata": columns(GREY["test"]).T / 255})


def silhouettes(folder: Path) -> None:
    names = dict(zip(SPLITS, ("train", "val", "test"), strict=True))
    images = {f"{name}_data": 1 - columns(BITS[split]) for split, name in names.items()}
    labels = {f"{name}_labels": LABELS[split][: COUNTS[split], None] + 1 for split, name in names.items()}
    savemat(folder / "caltech101_silhouettes_28_split1.mat", images | labels)


def patches() -> bytes:
    names = dict(zip(SPLITS, histopathology.SIZES, strict=True))
    images = {names[split]: list((grey.reshape(-1, 784) + 0.25) / 256) for split, grey in GREY.items()}
    return pickle.dumps(images, 2)


def archive(path: Path, contents: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as file:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def batches() -> dict[str, bytes]:
    """The ten images for training and validation in five files."""
    records = {
        split: np.concatenate([LABELS[split][:, None], images.reshape(len(images), -1)], 1)
        for split, images in COLOUR.items()
    }
    together = np.concatenate([records["train"], records["valid"]])
    contents = {f"data_batch_{number + 1}.bin": together[2 * number :][:2].tobytes() for number in range(5)}
    contents["test_batch.bin"] = records["test"].tobytes()
    return {f"cifar-10-batches-bin/{name}": content for name, content in contents.items()}


def bin_folder(folder: Path) -> None:
    (folder / "cifar-10-batches-bin").mkdir()
    for name, content in batches().items():
        (folder / name).write_bytes(content)


def strips(folder: Path) -> None:
    images = np.concatenate([COLOUR["train"], COLOUR["valid"], COLOUR["test"]])
    labels = np.concatenate([LABELS["train"], LABELS["valid"], LABELS["test"]])
    for name, part in zip(cifar10.PACKED, (slice(0, 4), slice(4, 10), slice(10, 16)), strict=True):
        files = []
        for strip in np.array_split(images[part], 2):
            file = io.BytesIO()
            pixels = strip.transpose(0, 2, 3, 1).reshape(-1, 32, 3)
            Image.fromarray(pixels).save(file, "WEBP", lossless=True, exact=True)
            files.append(file.getvalue())
        np.savez(
            folder / name,
            webp_bytes=np.frombuffer(b"".join(files), np.uint8),
            webp_offsets=np.cumsum([0, *map(len, files)]),
            labels=labels[part],
        )


class Case(NamedTuple):
    """A form of the files of a data set, and what should be found in them."""

    source: Published
    form: int
    write: Callable[[Path], Any]
    images: Parts
    labels: Parts | None = None
    exact: tuple[str, ...] = SPLITS
    binarizes: bool = False


CLASSES = {split: LABELS[split][:n] for split, n in COUNTS.items()}
SILHOUETTES = packed(BITS) | {f"y_{split}": labels for split, labels in CLASSES.items()}
WHITE = {split: 255 * bits for split, bits in BITS.items()}
FACES = {
    split: FRAMES[ORDER[part]].reshape(-1, 28, 20)
    for split, part in {"train": slice(7), "valid": slice(7, 10), "test": slice(10, 14)}.items()
}
CASES = {
    "static-mnist": Case(binary_mnist.STATIC_MNIST, 0, text, WHITE),
    "static-mnist.npz": Case(
        *(binary_mnist.STATIC_MNIST, 1, lambda f: np.savez(f / "mnist_static_binarized.npz", **packed(BITS)), WHITE)
    ),
    "omniglot": Case(omniglot.OMNIGLOT, 0, chardata, GREY, binarizes=True),
    "omniglot.npz": Case(
        *(omniglot.OMNIGLOT, 1, lambda f: np.savez(f / "omniglot_28.npz", **{f"x_{s}": GREY[s] for s in SPLITS}), GREY),
        exact=(),
        binarizes=True,
    ),
    "caltech101": Case(CALTECH101, 0, silhouettes, WHITE, CLASSES),
    "caltech101.npz": Case(
        *(CALTECH101, 1, lambda f: np.savez(f / "caltech101_silhouettes_28.npz", **SILHOUETTES), WHITE, CLASSES),
        exact=(),
    ),
    "frey-faces": Case(
        *(frey_faces.FREY_FACES, 0, lambda f: (f / "freyfaces.pkl").write_bytes(pickle.dumps([FRAMES], 0)), FACES)
    ),
    "frey-faces.npz": Case(
        *(frey_faces.FREY_FACES, 1, lambda f: np.savez(f / "frey_faces.npz", x=FRAMES.reshape(-1, 28, 20)), FACES)
    ),
    "histopathology": Case(
        histopathology.HISTOPATHOLOGY,
        0,
        lambda f: archive(
            f / "histopathology.pkl.tar.gz", {"._histopathology.pkl": b"", "histopathology.pkl": patches()}
        ),
        GREY,
    ),
    "histopathology.pkl": Case(
        histopathology.HISTOPATHOLOGY, 1, lambda f: (f / "histopathology.pkl").write_bytes(patches()), GREY
    ),
    "cifar10": Case(cifar10.CIFAR10, 0, lambda f: archive(f / "cifar-10-binary.tar.gz", batches()), COLOUR, LABELS),
    "cifar10-folder": Case(cifar10.CIFAR10, 1, bin_folder, COLOUR, LABELS),
    "cifar10.npz": Case(cifar10.CIFAR10, 2, strips, COLOUR, LABELS, exact=("train", "valid")),
}
DOWNLOADED = [name for name, case in CASES.items() if case.form == 0]
