"""Data sets of publications: where their files come from, and in which other forms they may be at hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from googol.data.dataset import Condition, Dataset, Noise
from googol.data.files import DataError, check, download

__all__ = ["File", "Form", "Published", "Split", "binarized", "unpacked"]

#: The seed by which the VampPrior's code binarises what is not trained on.
BINARIZATION_SEED = 777


class File(NamedTuple):
    """One file of a data set."""

    name: str
    checksum: str | None = None  # see googol.data.files.check; None for a file that only its content can tell
    address: str | None = None


class Split(NamedTuple):
    """What a file has of one split."""

    images: np.ndarray  # (n, height, width) or (n, channels, height, width) uint8
    labels: np.ndarray | None = None  # (n,) indices of categories
    noise: Noise = "none"
    exact: bool = True
    remark: str = ""


@dataclass(frozen=True)
class Form:
    """One form in which a data set may be at hand.

    Args:
        files: All of them must be there, in one folder.
        read: Gives the split of a name from the files in a folder.
        remark: What sets it apart from the published data.
    """

    files: tuple[File, ...]
    read: Callable[[Path, str], Split]
    remark: str = ""


@dataclass(frozen=True)
class Published:
    """A data set of publications.

    Its files are in a folder that :func:`googol.data.folders` names, or in its subfolder ``<name>``.

    Args:
        name: What :func:`googol.data.load` knows it by.
        description: In a few words.
        shape: (channels, height, width).
        forms: Those that can be read; the first, whose files have addresses, is the one that is downloaded.
        condition: The property that the labels are, if there are any.
    """

    name: str
    description: str
    shape: tuple[int, int, int]
    forms: tuple[Form, ...]
    condition: Condition | None = None
    default_conditions: ClassVar[tuple[str, ...] | None] = None

    def locate(self, folders: Sequence[Path]) -> Path | None:
        """The file, or the folder of the files if they are several."""
        found = self._find(folders)
        if found is None:
            return None
        form, place = found
        return place if len(form.files) > 1 else place / form.files[0].name

    def remark(self, folders: Sequence[Path]) -> str:
        """What sets the files that are there apart from the published ones."""
        found = self._find(folders)
        return "" if found is None else found[0].remark

    def get(self, folders: Sequence[Path]) -> Path:
        """Download what is not there, and check what is."""
        form, place = self._find(folders) or (self.forms[0], folders[0] / self.name)
        for file in form.files:
            if file.address is not None and file.checksum is not None:
                download([file.address], place / file.name, file.checksum)
            elif file.checksum is not None:
                check(place / file.name, file.checksum)
        return place if len(form.files) > 1 else place / form.files[0].name

    def load(self, split: str, folders: Sequence[Path]) -> Dataset:
        """The images of one split."""
        found = self._find(folders)
        if found is None:
            forms = "; or ".join(" and ".join(file.name for file in form.files) for form in self.forms)
            raise DataError(
                f"{self.name} is in none of {', '.join(map(str, folders))}: "
                f"`googol data get {self.name}` downloads it; or put there {forms}"
            )
        form, place = found
        for file in form.files:
            if file.checksum is not None:
                check(place / file.name, file.checksum)
        images, labels, noise, exact, remark = form.read(place, split)
        count, channels = len(images), self.shape[0]
        expected = (count, *self.shape[channels == 1 :])
        if images.dtype != np.uint8 or images.shape != expected or count == 0:
            raise DataError(
                f"the {split} images of {self.name} in {place} must be uint8 of shape (n, "
                f"{', '.join(map(str, expected[1:]))}), got {images.dtype} of shape {images.shape}"
            )
        conditions = np.empty((count, 0), np.float32)
        if self.condition is not None and labels is not None:
            if labels.shape != (count,) or labels.dtype.kind not in "iu":
                raise DataError(
                    f"the {split} labels of {self.name} in {place} must be {count} integers, "
                    f"got {labels.dtype} of shape {labels.shape}"
                )
            conditions = labels.astype(np.float32)[:, None]
        try:
            return Dataset(
                self.name,
                torch.from_numpy(np.ascontiguousarray(images)).reshape(count, *self.shape),
                torch.from_numpy(conditions),
                () if self.condition is None else (self.condition,),
                noise,
                exact,
                remark,
            )
        except ValueError as error:
            raise DataError(f"{place}: {error}") from error

    def _find(self, folders: Sequence[Path]) -> tuple[Form, Path] | None:
        """The form that is there, and the folder of its files: the first folder counts most, then the first form."""
        for place in (place for folder in folders for place in (folder / self.name, folder)):
            for form in self.forms:
                if all((place / file.name).is_file() for file in form.files):
                    return form, place
        return None


def binarized(levels: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Black and white images, each pixel white with a probability that is its grey value.

    NumPy keeps the numbers of ``RandomState`` the same for ever, so with the seed and the order of the VampPrior's
    code these are its images, bit for bit.

    Example:
        >>> levels = np.array([0, 64, 128, 192, 255], np.uint8)
        >>> binarized(levels, np.random.RandomState(0))
        array([  0,   0,   0, 255, 255], dtype=uint8)
    """
    return (255 * random.binomial(1, levels.astype(np.float32) / np.float32(255))).astype(np.uint8)


def unpacked(packed: np.ndarray, shape: tuple[int, int], path: Path) -> np.ndarray:
    """Images of bits, (n, height, width), of which eight are packed in a byte.

    Raises:
        DataError: The array is not of this form.
    """
    expected = -(-shape[0] * shape[1] // 8)
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != expected:
        raise DataError(
            f"{path} must have packed bits, uint8 of shape (n, {expected}), got {packed.dtype} of shape {packed.shape}"
        )
    return np.unpackbits(packed, axis=1, count=shape[0] * shape[1]).reshape(-1, *shape)
