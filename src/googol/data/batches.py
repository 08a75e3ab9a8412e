"""Which images come when: permutations and batches that are functions of the seed alone."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["batches", "permutation"]

# Part of the seed: the order of an epoch is to have nothing to do with other choices, such as whose labels are hidden.
_ORDER = 1


def permutation(n: int, *seed: int) -> Tensor:
    r"""A pseudo-random order of :math:`0, \dots, n - 1`, the same on every machine and for ever.

    NumPy and PyTorch promise the same raw random bits in every version, but not the same shuffles; so this
    ranks :math:`n` raw 64-bit integers of PCG64.

    Args:
        n: How many, at least 0.
        seed: One or more integers, at least 0. Different tuples give unrelated orders; zeros at the end make no
            difference.

    Returns:
        (n,) int64.

    Raises:
        ValueError: ``n`` or an entry of ``seed`` is negative.

    Example:
        >>> permutation(5, 0)
        tensor([3, 2, 1, 0, 4])
    """
    if n < 0 or any(s < 0 for s in seed):
        raise ValueError(f"n and the seed must be at least 0, but n is {n} and the seed {seed}")
    return torch.from_numpy(np.random.PCG64(list(seed)).random_raw(n).argsort(kind="stable"))


def batches(
    n: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    rank: int = 0,
    world_size: int = 1,
    shuffle: bool = True,
) -> list[Tensor]:
    """The batches of one epoch for one process, as tensors of indices.

    The order is a function of ``(seed, epoch)`` alone, so training that stopped after batch ``b`` goes on
    exactly with ``batches(...)[b:]``. Every image comes once an epoch; where ``world_size`` does not divide
    ``n``, the first ``world_size - n % world_size`` of the order come once more at its end, so that all
    processes get the same number of batches of the same sizes. The sizes differ by at most one: there is no
    small last batch, whose gradient would be noisier and which batch normalisation could not use.

    Args:
        n: How many images there are.
        batch_size: The largest size of a batch, for each process.
        seed: At least 0; ignored without ``shuffle``.
        epoch: At least 0; ignored without ``shuffle``.
        rank: Which of the processes this is.
        world_size: How many processes share the epoch.
        shuffle: False keeps the order 0, 1, 2, …

    Returns:
        A list of int64 tensors of shape (at most ``batch_size``,).

    Raises:
        ValueError: A number is out of its range.

    Example:
        >>> batches(7, 3, seed=0, epoch=0, shuffle=False)
        [tensor([0, 1, 2]), tensor([3, 4]), tensor([5, 6])]
        >>> batches(7, 3, seed=0, epoch=0, shuffle=False, rank=1, world_size=2)
        [tensor([1, 3]), tensor([5, 0])]
    """
    for what, value in {"n": n, "batch_size": batch_size, "world_size": world_size}.items():
        if value < 1:
            raise ValueError(f"{what} must be at least 1, got {value}")
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be at least 0 and below world_size = {world_size}, got {rank}")
    order = permutation(n, seed, epoch, _ORDER) if shuffle else torch.arange(n)
    share = -(-n // world_size)
    mine = order[(rank + world_size * torch.arange(share)) % n]
    return list(mine.tensor_split(-(-share // batch_size)))
