import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from googol.data import batches, load, permutation

SIZES = {"n": st.integers(1, 300), "batch_size": st.integers(1, 70), "seed": st.integers(0, 2**40)}


def test_permutation_is_frozen() -> None:
    """Runs resume on other machines and versions, so these orders may never change."""
    assert permutation(8, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert permutation(8, 1, 2).tolist() == [5, 6, 3, 2, 1, 0, 4, 7]


def test_permutation_is_uniform() -> None:
    orders = torch.stack([permutation(4, 9, epoch) for epoch in range(2400)])
    counts = (orders @ torch.tensor([64, 16, 4, 1])).bincount()
    counts = counts[counts > 0]
    chi_square = ((counts - 100.0) ** 2 / 100).sum()
    assert len(counts) == 24
    assert chi_square < 49.7  # 0.999 quantile of χ² with 23 degrees of freedom


@given(**SIZES, epoch=st.integers(0, 1000))
def test_every_image_once_an_epoch(n: int, batch_size: int, seed: int, epoch: int) -> None:
    found = batches(n, batch_size, seed=seed, epoch=epoch)
    assert torch.cat(found).sort().values.tolist() == list(range(n))
    sizes = {len(batch) for batch in found}
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(found) == -(-n // batch_size)
    again = batches(n, batch_size, seed=seed, epoch=epoch)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


@given(**SIZES, world_size=st.integers(1, 7))
def test_processes_share_the_epoch(n: int, batch_size: int, seed: int, world_size: int) -> None:
    shares = [
        batches(n, batch_size, seed=seed, epoch=3, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    sizes = [[len(batch) for batch in share] for share in shares]
    assert all(size == sizes[0] for size in sizes)
    counts = torch.cat([torch.cat(share) for share in shares]).bincount(minlength=n)
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1
    assert counts.sum() - n < world_size


def test_processes_together_take_the_order_of_one() -> None:
    one = torch.cat(batches(12, 4, seed=5, epoch=0))
    first, second = (torch.cat(batches(12, 2, seed=5, epoch=0, rank=r, world_size=2)) for r in (0, 1))
    assert torch.equal(torch.stack([first, second], 1).flatten(), one)


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(torch.cat(batches(50, 8, seed=s, epoch=e)).tolist()) for s in range(3) for e in range(3)}
    assert len(orders) == 9


def test_without_shuffle_in_order() -> None:
    found = batches(10, 4, seed=1, epoch=7, shuffle=False)
    assert torch.cat(found).tolist() == list(range(10))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"world_size": 0}, "world_size must be at least 1, got 0"),
        ({"rank": 2, "world_size": 2}, "rank must be at least 0 and below world_size = 2, got 2"),
        ({"rank": -1}, "rank must be at least 0 and below world_size = 1, got -1"),
        ({"seed": -1}, "the seed must be at least 0"),
        ({"epoch": -1}, "the seed must be at least 0"),
    ],
)
def test_refusals(changed: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batches(**{"n": 9, "batch_size": 3, "seed": 0, "epoch": 0} | changed)


def test_hidden_labels_are_spread_over_the_batches_of_every_epoch() -> None:
    data = load("digits", "train").hide(0.7, seed=0)
    for epoch in range(3):
        shares = [
            (~data.conditions[index, 0].isnan()).float().mean()
            for index in batches(len(data), 128, seed=0, epoch=epoch)
        ]
        assert all(0.1 < share < 0.5 for share in shares), shares
