"""The pictures of a view and their conditions as files."""

from __future__ import annotations

import base64
import csv
import io

from torch import Tensor

from googol.data import Condition, decoded
from googol.explorer.view import View
from googol.training import grid_png, image_grid

COLUMNS = 4


def grid_file(view: View) -> bytes:
    """The pictures side by side, as the content of a PNG file."""
    return grid_png(view.images, columns=COLUMNS)


def table_file(view: View, conditions: tuple[Condition, ...], *, numbered: bool = True) -> bytes:
    """The conditions of the pictures, with their numbers, or the rows of a table, as the content of a CSV file."""
    content = io.StringIO()
    columns = [[name, *texts] for name, texts in decoded(conditions, view.conditions).items()]
    numbers = [["picture", *range(1, len(view.conditions) + 1)]] if numbered else []
    csv.writer(content, lineterminator="\n").writerows(zip(*numbers, *columns, strict=True))
    return content.getvalue().encode()


def png_address(image: Tensor) -> str:
    """An image, ``(channels, height, width)``, as an address that holds it."""
    content = io.BytesIO()
    image_grid(image.unsqueeze(0), padding=0).save(content, "png")
    return data_address(content.getvalue(), "image/png")


def data_address(content: bytes, kind: str) -> str:
    """A file of a media type as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
