"""CelebA: faces of celebrities with 40 attributes, brought to 64 × 64."""

import io
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import nn

from googol.data.dataset import Condition, Dataset
from googol.data.files import DataError, read_arrays, replaced
from googol.data.images import channels_first, opened
from googol.data.splits import SPLITS, members

__all__ = ["CelebA"]

SIZE = 64
IMAGES, ATTRIBUTES, PARTITION = "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"
PACKED = "not the official files, nor all of their images; divided by person"
ARRAYS = ("jpeg_bytes", "jpeg_offsets", "attributes", "attribute_names", "identity")


class CelebA:
    """Faces, 64 × 64 RGB, with 40 binary attributes (values "0" and "1"), ten of them by default.

    Two forms are read, in a folder that :func:`googol.data.folders` names or its subfolder ``celeba``:

    - the official files: the folder ``img_align_celeba`` of 178 × 218 JPEGs, ``list_attr_celeba.txt`` and
      ``list_eval_partition.txt``. The centred 148 × 148 square of each image is reduced (Lanczos), and the
      result, which takes minutes for all 202,599, is kept beside them as ``celeba_64_<split>.npy``. The split
      is the official one;
    - ``celeba_64*.npz``, images that are 64 × 64 already: ``jpeg_bytes``, the JPEG files end to end,
      ``jpeg_offsets`` (n + 1), ``attributes`` (n, 40) in {-1, 1}, ``attribute_names`` (40,) and ``identity``
      (n,), the person. Persons whose number ends with 0 are for testing, with 1 for validation, so that
      nobody is on two sides.

    Z. Liu, P. Luo, X. Wang and X. Tang, `Deep learning face attributes in the wild
    <https://arxiv.org/abs/1411.7766>`_, ICCV 2015.

    Args:
        size: The sides of the images: 64, or 32, where each pixel is the mean of four.
    """

    default_conditions = (
        *("Male", "Smiling", "Eyeglasses", "Wearing_Hat", "Young"),
        *("No_Beard", "Black_Hair", "Blond_Hair", "Brown_Hair", "Attractive"),
    )

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.name = "celeba" if size == SIZE else f"celeba-{size}"
        self.description = (
            f"202,599 faces of celebrities, {size} x {size} RGB, 40 attributes (to be downloaded by hand)"
        )

    def locate(self, folders: Sequence[Path]) -> Path | None:
        """The ``.npz`` file, or the folder of the official files."""
        for place in (place for folder in folders for place in (folder / "celeba", folder)):
            if all((place / name).exists() for name in (IMAGES, ATTRIBUTES, PARTITION)):
                return place
            for packed in sorted(place.glob("celeba_64*.npz")):
                return packed
        return None

    def remark(self, folders: Sequence[Path]) -> str:
        """What sets the images of an ``.npz`` file apart from the official ones."""
        place = self.locate(folders)
        return PACKED if place is not None and place.suffix == ".npz" else ""

    def get(self, folders: Sequence[Path]) -> Path:
        """Where it is: it cannot be downloaded without a browser."""
        place = self.locate(folders)
        if place is None:
            raise DataError(
                f"celeba is in none of {', '.join(map(str, folders))}, and its owners let only browsers "
                f"download it: from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html put the folder "
                f"{IMAGES} and the files {ATTRIBUTES} and {PARTITION} into {folders[0] / 'celeba'}"
            )
        return place

    def load(self, split: str, folders: Sequence[Path]) -> Dataset:
        """The images of one split, with all attributes."""
        place = self.get(folders)
        images, attributes, names = (_packed if place.suffix == ".npz" else _official)(place, split)
        if attributes.shape != (len(images), len(names)) or not np.isin(attributes, (-1, 1)).all():
            raise DataError(f"the attributes in {place} must be -1 or 1, {len(names)} for each image")
        pixels = torch.from_numpy(images)
        if self.size < SIZE:
            pixels = nn.functional.avg_pool2d(pixels.float(), SIZE // self.size).round().byte()
        return Dataset(
            self.name,
            pixels,
            torch.from_numpy((attributes > 0).astype(np.float32)),
            tuple(Condition(name, ("0", "1")) for name in names),
            exact=place.suffix != ".npz",
            remark=PACKED if place.suffix == ".npz" else "",
        )


def _packed(path: Path, split: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    arrays = read_arrays(path, ARRAYS)
    content, bounds, identity = arrays["jpeg_bytes"].tobytes(), arrays["jpeg_offsets"], arrays["identity"]
    n = len(arrays["attributes"])
    whole = all(array.dtype.kind in "iu" for array in (bounds, identity))
    if not whole or bounds.shape != (n + 1,) or bounds[-1] != len(content) or identity.shape != (n,):
        raise DataError(f"{path}: jpeg_offsets, jpeg_bytes, attributes and identity do not fit together")
    parts = np.array(["test", "valid", *["train"] * 8])
    index = members(parts[identity % 10], split, str(path))
    files = ((io.BytesIO(content[bounds[i] : bounds[i + 1]]), f"image {i} in {path}") for i in index)
    images = _decode(files, len(index), (SIZE, SIZE), (0, 0, SIZE, SIZE))
    return images, arrays["attributes"][index], arrays["attribute_names"].astype(str).tolist()


def _official(place: Path, split: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    import pandas

    try:
        partition = pandas.read_csv(place / PARTITION, sep=r"\s+", header=None, index_col=0)[1]
        # Its first line is the number of rows; the second has no name for the first column.
        table = pandas.read_csv(place / ATTRIBUTES, sep=r"\s+", skiprows=1, index_col=0)
    except (ValueError, KeyError) as error:
        raise DataError(f"{place / PARTITION} or {place / ATTRIBUTES} is damaged: {error}") from error
    names = partition.index[partition == SPLITS.index(split)]
    if len(names) == 0:
        raise DataError(f"{place / PARTITION} has no image for the split {split!r}")
    present = set(os.listdir(place / IMAGES)) & set(table.index)
    missing = [name for name in names if name not in present]
    if missing:
        raise DataError(
            f"{place}: {len(missing)} of {len(names)} images of the split {split!r} are not in {IMAGES} or "
            f"not in {ATTRIBUTES}, such as {missing[0]}"
        )
    kept = place / f"celeba_64_{split}.npy"
    if not kept.exists():
        files = ((place / IMAGES / name, str(place / IMAGES / name)) for name in names)
        images = _decode(files, len(names), (178, 218), (15, 35, 163, 183))
        _keep(kept, images)
    else:
        images = _kept(kept, len(names))
    return images, table.loc[names].to_numpy(), table.columns.tolist()


def _decode(
    files: Iterable[tuple[Path | BinaryIO, str]],
    n: int,
    size: tuple[int, int],
    box: tuple[int, int, int, int],
) -> np.ndarray:
    """The square ``box`` (left, upper, right, lower) of each of ``n`` images, reduced."""
    from PIL.Image import Resampling
    from tqdm import tqdm

    images = np.empty((n, 3, SIZE, SIZE), np.uint8)
    for row, (source, what) in enumerate(tqdm(files, "celeba", n, delay=2, leave=False)):
        with opened(source, what) as image:
            if image.size != size:
                expected, got = (f"{width} x {height}" for width, height in (size, image.size))
                raise DataError(f"{what} must be {expected} (width x height), got {got}")
            images[row] = channels_first(image.convert("RGB").resize((SIZE, SIZE), Resampling.LANCZOS, box))
    return images


def _keep(path: Path, images: np.ndarray) -> None:
    """Write an array beside and move it into place; no harm is done where that is not possible."""
    try:
        with replaced(path) as part, part.open("wb") as file:
            np.save(file, images)
    except OSError as error:
        warnings.warn(f"{path} cannot be kept, so it will be made again: {error.strerror}", stacklevel=2)


def _kept(path: Path, n: int) -> np.ndarray:
    try:
        images = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is damaged: delete it, and it will be made again") from error
    if images.shape != (n, 3, SIZE, SIZE) or images.dtype != np.uint8:
        raise DataError(f"{path} is of other images than {IMAGES}: delete it, and it will be made again")
    return images
