"""The user's own images in a folder, with an optional CSV file of conditions."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch

from googol.data.dataset import Condition, Dataset
from googol.data.files import DataError
from googol.data.images import channels_first, flattened, on_its_side, opened
from googol.data.splits import divide_by_name, members
from googol.data.table import Table, read_conditions

__all__ = ["load_folder"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm"}
EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}


def load_folder(
    path: Path, split: str, conditions: Collection[str] | None = None, *, schema: Sequence[Condition] = ()
) -> Dataset:
    """The images of one split of a folder and its subfolders.

    All images must have the same size, turned as the camera noted. They are grey if every one is, else RGB; what is
    transparent is seen on white. Files and folders whose names start with a point are left alone.
    ``conditions.csv`` in the folder, if it is there, has a row for each image, and ``conditions.yaml`` can declare
    its columns, see :func:`googol.data.table.read_conditions`; the column ``split`` divides them, else the name of each
    does, of about 80 / 10 / 10 %: images that are added later leave the others where they were.

    Raises:
        DataError: There are no images, they differ in size, one is damaged, the CSV file does not fit, or has no such
            condition.

    Args:
        path: The folder.
        split: "train", "valid" or "test".
        conditions: The conditions that are asked for; by default all that there are.
        schema: What some of them are known to be.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> for number in range(20):
        ...     Image.new("RGB", (12, 8)).save(folder / f"{number}.png")
        >>> data = load_folder(folder, "train")
        >>> len(data), data.image_shape
        (15, (3, 8, 12))
    """
    from PIL import ImageOps

    files = sorted(
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.suffix.lower() in SUFFIXES and file.is_file() and not _is_hidden(file.relative_to(path))
    )
    if not files:
        raise DataError(f"{path} has no images ({', '.join(sorted(s.strip('.') for s in SUFFIXES))})")
    size, mode = _common(path, files)
    if (path / "conditions.csv").exists():
        table = read_conditions(path / "conditions.csv", files, conditions, schema=schema)
    elif (path / "conditions.yaml").exists():
        raise DataError(f"{path} has a conditions.yaml, but no conditions.csv that it could be about")
    else:
        table = Table((), np.empty((len(files), 0), np.float32), None, {})
    index = members(divide_by_name(files) if table.parts is None else table.parts, split, str(path))
    images = np.empty((len(index), 1 if mode == "L" else 3, size[1], size[0]), np.uint8)
    for row, file in enumerate(index):
        with opened(path / files[file], str(path / files[file])) as image:
            images[row] = channels_first(flattened(ImageOps.exif_transpose(image), mode))
    return Dataset(
        str(path),
        torch.from_numpy(images),
        torch.from_numpy(table.conditions[index]),
        table.schema,
        files=tuple(files[file] for file in index),
        texts={name: column[index] for name, column in table.texts.items()},
    )


def _is_hidden(file: Path) -> bool:
    """Whether a file or a folder that it is in has a name that starts with a point."""
    return any(part.startswith(".") for part in file.parts)


def _common(path: Path, files: list[str]) -> tuple[tuple[int, int], str]:
    """The size (width, height) of all images, and the mode that suits them all."""
    mode, size = "L", (0, 0)
    for file in files:
        with opened(path / file, str(path / file)) as image:
            if image.mode not in EIGHT_BIT:
                raise DataError(f"{path / file} must have 8 bits a channel, got mode {image.mode!r}")
            width, height = image.size[::-1] if on_its_side(image) else image.size
            if size not in ((width, height), (0, 0)):
                raise DataError(
                    f"all images in {path} must have one size, but {files[0]} is {size[0]} x {size[1]} "
                    f"and {file} is {width} x {height} (width x height)"
                )
            size = width, height
            if image.mode not in ("1", "L", "LA"):
                mode = "RGB"
    return size, mode
