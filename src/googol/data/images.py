"""Decoding of image files, with one error for all that can be wrong in them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from googol.data.files import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["channels_first", "opened"]


@contextmanager
def opened(source: Path | BinaryIO, what: str) -> "Iterator[Image]":
    """An open image file. Only its head has been read; the block decodes the rest.

    Raises:
        DataError: It is no image, truncated, damaged, or so large (Pillow's limit, 89 megapixels) that it may
            be made to exhaust the memory.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source) as image:
                yield image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{what} is not an image that can be read") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{what} is too large for an image: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{what} is truncated or damaged: {error}") from error


def channels_first(image: "Image") -> np.ndarray:
    """The values of a grey or RGB image, (channels, height, width) uint8."""
    values = np.asarray(image)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
