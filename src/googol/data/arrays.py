"""The user's own images in an ``.npz`` file."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from googol.data.dataset import Condition, Dataset
from googol.data.files import DataError, read_arrays
from googol.data.splits import divide, members

__all__ = ["load_arrays", "packed"]


def packed(images: Tensor, conditions: Tensor, schema: Sequence[Condition], split: Sequence[str]) -> bytes:
    """An ``.npz`` file of images with their conditions, which :func:`load_arrays` reads.

    Args:
        images: (n, channels, height, width) uint8.
        conditions: (n, c).
        schema: What the c columns are.
        split: Which part each image belongs to, (n,).

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "two.npz"
        >>> images, labels = torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([[0.0], [1.0]])
        >>> _ = path.write_bytes(packed(images, labels, [Condition("side", ("heads", "tails"))], ["test", "test"]))
        >>> load_arrays(path, "test").schema
        (Condition(name='side', values=('heads', 'tails')),)
    """
    arrays: dict[str, Any] = {"images": images.permute(0, 2, 3, 1).numpy(), "split": np.array(split)}
    if schema:
        arrays |= {"conditions": conditions.numpy(), "condition_names": np.array([c.name for c in schema])}
        arrays |= {f"values_{c.name}": np.array(c.values) for c in schema if c.values is not None}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def load_arrays(path: Path, split: str) -> Dataset:
    """The images of one split of an ``.npz`` file, which holds these arrays:

    - ``images``: (n, height, width) or (n, height, width, channels), uint8 or floats in [0, 1] (which are
      rounded to 256 levels);
    - ``conditions``, if there are any: (n, c) numbers, NaN = missing;
    - ``condition_names``: their (c,) names;
    - ``values_NAME`` for each condition that is categorical: the names of its categories; its column in
      ``conditions`` has their indices. A condition without is continuous;
    - ``split``, if the division is not to be 80 / 10 / 10 at random: (n,) texts "train", "valid" or "test".

    Raises:
        DataError: The file is damaged, or its arrays are not of this form.

    Args:
        path: The file.
        split: "train", "valid" or "test".

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mine.npz"
        >>> np.savez(path, images=np.zeros((20, 8, 12)), conditions=np.ones((20, 1)), condition_names=["age"])
        >>> data = load_arrays(path, "train")
        >>> len(data), data.image_shape, data.names
        (16, (1, 8, 12), ('age',))
    """
    arrays = read_arrays(path, ["images"])
    images = arrays["images"]
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(
            f"{path}: images must have shape (n, height, width) or (n, height, width, channels), "
            f"none of them 0, got {images.shape}"
        )
    n = len(images)
    schema = _schema(path, arrays)
    conditions = arrays.get("conditions", np.empty((n, 0)))
    if conditions.shape != (n, len(schema)) or conditions.dtype.kind not in "fiub":
        raise DataError(
            f"{path}: conditions must be numbers of shape {(n, len(schema))}, a row for each image and a "
            f"column for each of condition_names, got {conditions.dtype} of shape {conditions.shape}"
        )
    parts = arrays.get("split", divide(n))
    if parts.shape != (n,) or parts.dtype.kind not in "US":
        raise DataError(f"{path}: split must have {n} texts, got {parts.dtype} of shape {parts.shape}")
    index = members(parts.astype(str), split, str(path))
    levels = _levels(path, images)[index]
    levels = levels[:, None] if levels.ndim == 3 else levels.transpose(0, 3, 1, 2)
    with np.errstate(over="ignore"):  # Dataset refuses the infinities
        known = torch.from_numpy(conditions[index].astype(np.float32))
    try:
        return Dataset(str(path), torch.from_numpy(np.ascontiguousarray(levels)), known, schema)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _levels(path: Path, images: np.ndarray) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise DataError(f"{path}: images must be uint8 or floats in [0, 1], got {images.dtype}")
    lowest, highest = images.min(), images.max()
    if not (lowest >= 0 and highest <= 1):  # false for NaN, too
        raise DataError(f"{path}: images of floats must be in [0, 1], got values from {lowest} to {highest}")
    return np.rint(images * 255).astype(np.uint8)


def _schema(path: Path, arrays: dict[str, np.ndarray]) -> tuple[Condition, ...]:
    if ("conditions" in arrays) != ("condition_names" in arrays):
        raise DataError(f"{path}: the arrays conditions and condition_names must come together")
    names = [str(name) for name in arrays.get("condition_names", np.empty(0, str)).astype(str).ravel()]
    values = {key.removeprefix("values_"): array for key, array in arrays.items() if key.startswith("values_")}
    for name in sorted(values.keys() - set(names)):
        raise DataError(f"{path}: values_{name} is for none of the conditions: {', '.join(names) or 'none'}")
    try:
        return tuple(
            Condition(name, tuple(values[name].astype(str).ravel().tolist()) if name in values else None)
            for name in names
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
