"""Products of many matrices need every digit there is: what PyTorch would shorten is kept away from them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Where matrix products of single precision may be told to be made of fewer digits, as by
# `torch.set_float32_matmul_precision("high")`.
_BACKENDS: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
_FULL = ("ieee", "none")  # of all digits, and not said


def every_digit(like: Tensor) -> AbstractContextManager[Any]:
    """Turns off autocast, and products of fewer digits than the numbers have, on the device of a tensor."""
    autocast = torch.autocast(like.device.type, enabled=False)
    return autocast if torch.compiler.is_compiling() else _EveryDigit(autocast)  # a graph cannot change settings


class _EveryDigit(AbstractContextManager[None]):
    def __init__(self, autocast: torch.autocast) -> None:
        self.autocast = autocast
        self.counted = False

    def __enter__(self) -> None:
        self.autocast.__enter__()
        self.counted = _settings.enter()

    def __exit__(self, *error: Any) -> None:
        if self.counted:
            _settings.leave()
        self.autocast.__exit__(*error)


def full_precision(function: Callable[Concatenate[Any, _P], _R]) -> Callable[Concatenate[Any, _P], _R]:
    """A function of a chain with :func:`every_digit`."""

    @functools.wraps(function)
    def wrapped(chain: Any, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with every_digit(chain.cores):
            return function(chain, *args, **kwargs)

    return wrapped


class _Settings:
    """The settings of the process, which all threads share: the first that needs others sets them, the last resets."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.before: list[str] = []

    def enter(self) -> bool:
        """Whether settings had to be changed, and :meth:`leave` has to follow."""
        with self.lock:
            if self.inside == 0:
                self.before = [backend.fp32_precision for backend in _BACKENDS]
                if all(before in _FULL for before in self.before):
                    return False
                self._set(["ieee"] * len(_BACKENDS))
            self.inside += 1
            return True

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self._set(self.before)

    def _set(self, wanted: list[str]) -> None:
        for backend, before, value in zip(_BACKENDS, self.before, wanted, strict=True):
            if before not in _FULL:
                backend.fp32_precision = value


_settings = _Settings()
