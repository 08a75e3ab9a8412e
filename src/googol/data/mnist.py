"""MNIST and the sets in its format: IDX files, or the same arrays in one ``.npz``."""

import gzip
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from googol.data.dataset import Condition, Dataset
from googol.data.files import DataError, check, download, read_arrays

__all__ = ["FASHION_MNIST", "MNIST", "FromMnist", "Mnist"]

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_idx(path: Path) -> np.ndarray:
    """The array of bytes in an IDX file, compressed (``.gz``) or not.

    The format is a magic number 0, 0, 8 (bytes), dimensions; then the sizes, big-endian; then the values.

    Raises:
        DataError: It is not such a file, or shorter or longer than it says.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or damaged ({error}); it was left as it is") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise DataError(f"{path} is not an IDX file of bytes")
    start = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    values = np.frombuffer(content, np.uint8, offset=start)
    if len(values) != np.prod(shape, dtype=object):
        raise DataError(f"{path} must have {shape} values after its head, but has {len(values)}; left as it is")
    return values.reshape(shape)


@dataclass(frozen=True)
class Mnist:
    """A data set in the format of MNIST.

    Its files are the four IDX files, compressed (then their checksums must agree) or not, in one of
    ``places``; or ``<name>.npz`` with the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test``, as
    Keras has it.

    The last ``valid`` images of the training set are the split "valid".

    Args:
        name: What :func:`googol.data.load` knows it by.
        description: In a few words.
        condition: The property that the labels are.
        places: The subfolders where the IDX files may lie, torchvision's among them; the first is where
            downloads go.
        mirrors: Addresses of folders that have the compressed files.
        md5: The checksums of the compressed files, in the order of ``FILES``.
        valid: How many images of the training set are for validation.
    """

    name: str
    description: str
    condition: Condition
    places: tuple[str, ...]
    mirrors: tuple[str, ...]
    md5: tuple[str, str, str, str]
    valid: int = 5000
    default_conditions: ClassVar[tuple[str, ...] | None] = None

    def locate(self, folders: Sequence[Path]) -> Path | None:
        """The ``.npz`` file, or the folder of the IDX files."""
        for folder in folders:
            for place in (folder / place for place in self.places):
                if all(self._file(place, name) for name in FILES):
                    return place
            if (folder / f"{self.name}.npz").is_file():
                return folder / f"{self.name}.npz"
        return None

    def remark(self, folders: Sequence[Path]) -> str:
        """Nothing: they are the published ones."""
        return ""

    def get(self, folders: Sequence[Path]) -> Path:
        """Download what is not there, and check what is."""
        place = self.locate(folders) or folders[0] / self.places[0]
        if place.suffix == ".npz":
            return place
        for name, md5 in zip(FILES, self.md5, strict=True):
            path = self._file(place, name) or place / f"{name}.gz"
            if path.suffix == ".gz":
                download([f"{mirror}{name}.gz" for mirror in self.mirrors], path, md5)
        return place

    def load(self, split: str, folders: Sequence[Path]) -> Dataset:
        """The images of one split."""
        place = self.locate(folders)
        if place is None:
            raise DataError(
                f"{self.name} is in none of {', '.join(map(str, folders))}: "
                f"`googol data get {self.name}` downloads it; or put {self.name}.npz or "
                f"{self.places[0]}/{FILES[0]}.gz and its three companions there"
            )
        part = "test" if split == "test" else "train"
        if place.suffix == ".npz":
            arrays = read_arrays(place, ("x_train", "y_train", "x_test", "y_test"))
            images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        else:
            images, labels = (self._read(place, index) for index in ((2, 3) if part == "test" else (0, 1)))
        if images.dtype != np.uint8 or images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(
                f"{place} must have uint8 images of shape (n, height, width) and (n,) labels, got "
                f"{images.dtype} of shape {images.shape} and {labels.shape}"
            )
        if part == "train" and len(images) <= self.valid:
            raise DataError(f"{place} must have over {self.valid} training images, got {len(images)}")
        kept = {
            "train": slice(len(images) - self.valid),
            "valid": slice(-self.valid, None),
            "test": slice(None),
        }
        return Dataset(
            self.name,
            torch.from_numpy(images[kept[split]].copy()).unsqueeze(1),
            torch.from_numpy(labels[kept[split]].astype(np.float32)).unsqueeze(1),
            (self.condition,),
        )

    @staticmethod
    def _file(place: Path, name: str) -> Path | None:
        return next((p for p in (place / f"{name}.gz", place / name) if p.is_file()), None)

    def _read(self, place: Path, index: int) -> np.ndarray:
        path = self._file(place, FILES[index])
        if path is None:
            raise DataError(f"{place / FILES[index]}.gz has disappeared")
        if path.suffix == ".gz":
            check(path, self.md5[index])
        return read_idx(path)


class FromMnist:
    """Data made of the files of a data set in the format of MNIST, where nothing else is to be had.

    Args:
        source: The grey images.
    """

    default_conditions: ClassVar[tuple[str, ...] | None] = None

    def __init__(self, source: Mnist) -> None:
        self.source = source

    def locate(self, folders: Sequence[Path]) -> Path | None:
        """Where the files of ``mnist`` are."""
        return self.source.locate(folders)

    def remark(self, folders: Sequence[Path]) -> str:
        """Nothing: they are the published ones."""
        return ""

    def get(self, folders: Sequence[Path]) -> Path:
        """Download what is not there, and check what is."""
        return self.source.get(folders)


#: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document recognition,
#: Proceedings of the IEEE 86(11), 1998. 55,000 / 5,000 / 10,000 images.
MNIST = Mnist(
    name="mnist",
    description="70,000 handwritten digits, 28 x 28 grey",
    condition=Condition("digit", tuple("0123456789")),
    places=("mnist", "MNIST/raw", "."),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    md5=(
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
)

#: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine learning
#: algorithms, https://arxiv.org/abs/1708.07747, 2017. 55,000 / 5,000 / 10,000 images.
FASHION_MNIST = Mnist(
    name="fashion-mnist",
    description="70,000 pieces of clothing, 28 x 28 grey",
    condition=Condition(
        "article",
        (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    ),
    places=("fashion-mnist", "FashionMNIST/raw"),  # not ".": its files have the names of MNIST's
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    md5=(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)
