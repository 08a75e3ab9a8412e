"""The state in which everything is measured: no gradients, evaluation mode, random numbers from a seed."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from googol.data import Dataset


class Evaluable(Protocol):
    """What of an `nn.Module` a measurement needs, for protocols to build on."""

    def eval(self) -> Any: ...

    def modules(self) -> Iterator[nn.Module]: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def buffers(self) -> Iterator[Tensor]: ...


def device_of(module: Evaluable) -> torch.device:
    """Where the parameters and buffers of a module are; the CPU if it has none."""
    return next((tensor.device for tensor in chain(module.parameters(), module.buffers())), torch.device("cpu"))


@contextmanager
def evaluating(*modules: Evaluable, seed: int) -> Iterator[None]:
    """Switch to evaluation mode, without gradients, with PyTorch's random numbers started from a seed.

    Afterwards every part of the modules is in the mode that it was in, and the random numbers go on as if
    nothing had been drawn, so measuring during training does not change the training.

    Args:
        modules: The modules.
        seed: The seed.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.metrics import evaluating
        >>> layer = nn.Dropout()
        >>> with evaluating(layer, seed=0):
        ...     layer.training, torch.is_grad_enabled()
        (False, False)
        >>> layer.training, torch.is_grad_enabled()
        (True, True)
    """
    modes = {part: part.training for module in modules for part in module.modules()}
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.no_grad():
        torch.manual_seed(seed)
        try:
            for module in modules:
                module.eval()
            yield
        finally:
            for part, mode in modes.items():
                part.training = mode


def in_order(data: Dataset, batch_size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Pixels (B, channels, height, width) and conditions (B, c) of a data set, from first to last.

    Raises:
        ValueError: There are no images, or the batch size is below 1.
    """
    if len(data) == 0 or batch_size < 1:
        raise ValueError(f"Expected images and a batch_size of at least 1; got {len(data)} and {batch_size}.")
    for start in range(0, len(data), batch_size):
        part = slice(start, start + batch_size)
        yield data.pixels(part).to(device), data.conditions[part].to(device)
