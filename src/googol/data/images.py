"""Decoding of image files, with one error for all that can be wrong in them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import torch

from googol.data.files import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["channels_first", "flattened", "load_image", "opened"]

# Pillow reads many more, some of them by calling other programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


@contextmanager
def opened(source: Path | BinaryIO, what: str) -> "Iterator[Image]":
    """An open image file of one of `FORMATS`. Only its head has been read; the block decodes the rest.

    Raises:
        DataError: It does not exist, is no image, truncated, damaged, or so large (Pillow's limit, 89 megapixels)
            that it may be made to exhaust the memory.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as image:
                yield image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{what} does not exist") from error
    except IsADirectoryError as error:
        raise DataError(f"{what} is a folder; expected an image") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{what} is not an image that can be read") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        most = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise DataError(f"{what} is too large for an image: it has more than {most:.3g} million pixels") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{what} is truncated or damaged: {error}") from error


def channels_first(image: "Image") -> np.ndarray:
    """The values of a grey or RGB image, (channels, height, width) uint8."""
    values = np.asarray(image)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def flattened(image: "Image", mode: str) -> "Image":
    """An image in the mode L or RGB: what is transparent is seen on white, and of 16 bits the upper eight are kept."""
    from PIL import Image

    if image.mode.startswith("I"):  # Pillow would cut all that is above 255
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image if image.mode == mode else image.convert(mode)
    layered = image.convert("RGBA")
    flat = Image.new(mode, image.size, "white")
    flat.paste(layered.convert(mode), mask=layered.getchannel("A"))
    return flat


def on_its_side(image: "Image") -> bool:
    """Whether a camera has noted that the rows of an image are its columns."""
    from PIL.ExifTags import Base

    return image.getexif().get(Base.Orientation) in (5, 6, 7, 8)


def load_image(source: Path | BinaryIO, image_shape: tuple[int, int, int]) -> torch.Tensor:
    """An image of any size as a model of a certain size can take it.

    It is turned as its camera says, made grey or RGB (what is transparent is seen on white), cropped to the
    proportions of the size from its middle, and scaled.

    Args:
        source: A file, or an open one.
        image_shape: (channels, height, width), with 1 or 3 channels.

    Returns:
        (1, channels, height, width) float32 in [0, 1].

    Raises:
        DataError: The file is no image, damaged, or too large; or does not exist.
        ValueError: The channels are neither 1 nor 3.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (300, 200), "white").save(file, "png")
        >>> x = load_image(file, (1, 28, 28))
        >>> x.shape, x.mean()
        (torch.Size([1, 1, 28, 28]), tensor(1.))
    """
    from PIL import ImageOps

    channels, height, width = image_shape
    if channels not in (1, 3):
        raise ValueError(f"image_shape must have 1 or 3 channels, got {channels}")
    with opened(source, str(source) if isinstance(source, Path) else "the file") as image:
        mode = "L" if channels == 1 else "RGB"
        # Scaled first and turned then, and converted only if need be: a copy of a large image takes 350 MB.
        lies = on_its_side(image)
        if image.has_transparency_data:
            plain = image if image.mode == "RGBA" else image.convert("RGBA")
        else:
            plain = flattened(image, mode)
        fitted = ImageOps.fit(plain, (height, width) if lies else (width, height))
        upright = flattened(ImageOps.exif_transpose(fitted), mode)
        return torch.from_numpy(channels_first(upright).copy()).unsqueeze(0).float() / 255
