"""Image files of any size, and files that only look like images."""

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from googol.data import DataError, load_image

COLOUR = np.random.default_rng(4).integers(0, 256, (30, 20, 3), np.uint8)


def stored(image: Image.Image, kind: str = "PNG", **options) -> io.BytesIO:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_camera_says(orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = stored(Image.fromarray(COLOUR).convert(mode), exif=exif)
    upright = ImageOps.exif_transpose(Image.open(content))
    expected = np.asarray(ImageOps.fit(upright.convert("RGB"), (8, 12)), np.float32).transpose(2, 0, 1) / 255
    found = load_image(content, (3, 12, 8))
    assert found.shape == (1, 3, 12, 8)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=2 / 255)


def test_an_orientation_that_is_no_number_is_none() -> None:
    entry = struct.pack("<HHI4s", 0x0112, 2, 4, b"six")  # the orientation, as four characters
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    assert load_image(stored(Image.fromarray(COLOUR), exif=exif), (3, 12, 8)).shape == (1, 3, 12, 8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_images_of_every_mode_are_made_grey_or_coloured(mode: str) -> None:
    content = stored(Image.new(mode, (9, 7), 0), "TIFF")
    for channels in (1, 3):
        found = load_image(content, (channels, 5, 5))
        assert found.shape == (1, channels, 5, 5)
        assert found.dtype == torch.float32
        assert found.unique().tolist() == [1.0 if mode in ("CMYK", "LA", "RGBA") else 0.0]


@pytest.mark.parametrize("mode", ["P", "LA", "RGBA"])
def test_what_is_transparent_is_seen_on_white(mode: str) -> None:
    """A black square on nothing, whose hidden colour is black too."""
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (2, 2, 6, 6))
    found = load_image(stored(image.convert(mode)), (1, 8, 8))
    expected = torch.ones(1, 1, 8, 8)
    expected[..., 2:6, 2:6] = 0
    assert torch.equal(found, expected)


def test_of_sixteen_bits_the_upper_eight_are_seen() -> None:
    levels = (np.arange(64, dtype=np.uint16).reshape(8, 8) << 10) + 5
    found = load_image(stored(Image.fromarray(levels)), (1, 8, 8))
    np.testing.assert_array_equal((found[0, 0] * 255).numpy().round(), levels >> 8)


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    found = load_image(stored(Image.fromarray(COLOUR)), (3, 30, 20))
    np.testing.assert_array_equal((found[0] * 255).numpy().round(), COLOUR.transpose(2, 0, 1))


def test_few_bytes_that_would_fill_the_memory_are_refused_undecoded() -> None:
    bomb = stored(Image.new("1", (10_000, 10_000)))
    assert len(bomb.getvalue()) < 100_000
    with pytest.raises(DataError, match=r"^the file is too large for an image: it has more than 89\.5 million pixels$"):
        load_image(bomb, (1, 8, 8))


def test_kinds_of_files_that_other_programs_would_have_to_decode_are_refused() -> None:
    with pytest.raises(DataError, match="is not an image that can be read"):
        load_image(stored(Image.fromarray(COLOUR), "EPS"), (1, 8, 8))
