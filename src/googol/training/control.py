"""What surrounds the loop: seeds of everything random, signals that ask it to stop, several processes."""

from __future__ import annotations

import random
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def seed_everything(device: torch.device, *key: int) -> None:
    """Seeds Python, NumPy and PyTorch (the CPU and the device) with a function of the key.

    Example:
        >>> seed_everything(torch.device("cpu"), 0, 7)
        >>> first = torch.rand(3)
        >>> seed_everything(torch.device("cpu"), 0, 7)
        >>> torch.equal(first, torch.rand(3))
        True
    """
    state = np.random.SeedSequence(key).generate_state(4)
    random.seed(int(state[0]))
    np.random.seed(state[1])  # noqa: NPY002  (whoever still uses the global generator)
    seed = int(state[2]) << 32 | int(state[3])
    torch.default_generator.manual_seed(seed)  # torch.manual_seed looks for every kind of device: 0.1 ms
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


class TrainingInterrupted(KeyboardInterrupt):
    """Training was asked to stop, and wrote a checkpoint first."""


class StopSignal:
    """Within the context, SIGINT (Ctrl-C) and SIGTERM are remembered instead of ending the program.

    A second one acts as it would without this. Outside the main thread, where Python does not let
    signals be handled, nothing is changed.
    """

    def __init__(self) -> None:
        self.received = False
        self._former: dict[int, object] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._former.clear()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        self.__exit__()


def any_process(fabric: Fabric, decision: bool) -> bool:
    """Whether at least one process decided so; all of them call this together."""
    if fabric.world_size == 1:
        return decision
    decided = torch.tensor(float(decision), device=fabric.device)
    torch.distributed.all_reduce(decided, torch.distributed.ReduceOp.MAX)
    return bool(decided)
