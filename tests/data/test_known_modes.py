"""Data whose modes are known: normals on a grid, and stacked digits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from test_mnist import ARRAYS, SMALL

from googol.data import load
from googol.data.gaussian_grid import COUNTS
from googol.data.stacked_mnist import StackedMnist


def test_points_lie_around_their_own_of_25_centres() -> None:
    for split, count in COUNTS.items():
        data = load("gaussian-grid", split)
        assert (len(data), data.image_shape) == (count, (1, 1, 2))
        points, modes = data.images.flatten(1).double(), data.conditions[:, 0].long()
        assert modes.bincount(minlength=25).min() > 0.8 * count / 25
        for mode in range(25):
            mine = points[modes == mode]
            centre = torch.tensor([28.0 + 50 * (mode % 5), 28.0 + 50 * (mode // 5)], dtype=torch.float64)
            torch.testing.assert_close(mine.mean(0), centre, atol=0.6, rtol=0)
            torch.testing.assert_close(mine.std(0), torch.full((2,), 2.5, dtype=torch.float64), atol=0.5, rtol=0)


def test_points_are_spread_over_their_level_and_the_same_each_time() -> None:
    data = load("gaussian-grid", "valid")
    assert torch.equal(data.images, load("gaussian-grid", "valid").images)
    x = data.pixels()
    assert torch.equal((x * 256).floor().to(torch.uint8), data.images)
    assert not torch.equal(x, data.pixels())
    assert not torch.equal(data.images[:100], load("gaussian-grid", "test").images[:100])


def test_stacked_digits_are_each_digit_once_in_each_colour(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", **ARRAYS)
    source = StackedMnist(replace(SMALL))
    for split, part in (("train", slice(9)), ("valid", slice(9, 12)), ("test", None)):
        digits, labels = ("x_test", "y_test") if part is None else ("x_train", "y_train")
        images, numbers = (ARRAYS[name][part or slice(None)] for name in (digits, labels))
        data = source.load(split, [tmp_path])
        assert data.image_shape == (3, 5, 4)
        assert data.names == ("red", "green", "blue")
        for colour in range(3):
            found = {(image.tobytes(), int(label)) for image, label in zip(data.images[:, colour].numpy(),
                     data.conditions[:, colour], strict=True)}  # fmt: skip
            assert found == {(image.tobytes(), int(label)) for image, label in zip(images, numbers, strict=True)}
    train = source.load("train", [tmp_path])
    assert not torch.equal(train.images[:, 0], train.images[:, 1])
    assert torch.equal(train.images, source.load("train", [tmp_path]).images)
