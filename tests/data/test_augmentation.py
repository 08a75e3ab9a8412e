"""Images that are mirrored and shifted at random."""

import pytest
import torch

from googol.data import augmented


def test_shifts_move_each_image_by_its_own_few_pixels():
    torch.manual_seed(0)
    x = torch.zeros(200, 2, 28, 30)
    x[:, :, 10, 15] = 1
    moved = augmented(x, shift=2)
    assert torch.equal(moved[:, 0], moved[:, 1])
    places = moved[:, 0].nonzero()
    assert len(places) == 200
    rows, columns = places[:, 1] - 10, places[:, 2] - 15
    assert set(rows.tolist()) == set(columns.tolist()) == {-2, -1, 0, 1, 2}


def test_shifts_repeat_the_edges():
    x = torch.ones(50, 1, 8, 8)
    assert torch.equal(augmented(x, shift=3), x)


def test_half_of_the_images_are_mirrored_whole():
    torch.manual_seed(0)
    x = torch.rand(400, 3, 4, 5)
    changed = augmented(x, mirror=True)
    same = (changed == x).flatten(1).all(1)
    assert 150 < same.sum() < 250
    assert torch.equal(changed[~same], x[~same].flip(-1))


def test_nothing_asked_for_changes_and_draws_nothing():
    x, before = torch.rand(3, 1, 4, 4), torch.get_rng_state()
    assert augmented(x) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_a_negative_shift_is_refused():
    with pytest.raises(ValueError, match="shift must be at least 0, got -1"):
        augmented(torch.rand(1, 1, 4, 4), shift=-1)
