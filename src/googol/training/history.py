"""What a run measures: running means on the device, rows of `metrics.csv`, TensorBoard's events."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from googol.training.checkpoints import write_file

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class NonFiniteLossError(ValueError):
    """A term of the loss, or the gradient's norm, became infinite or NaN."""


class RunningMeans:
    """The means of each step's terms since they were last read.

    The terms stay on the device, so that adding a step never waits for it. All processes read them together.

    Arguments:
        fabric: The devices.
        split: What the steps are of: "train" or "valid".

    Example:
        >>> from lightning_fabric import Fabric
        >>> means = RunningMeans(Fabric(accelerator="cpu", devices=1))
        >>> means.add(0, {"loss": torch.tensor(1.0)})
        >>> means.add(1, {"loss": torch.tensor(2.0)})
        >>> means.pop()
        {'loss': 1.5}
        >>> means.add(2, {"loss": torch.tensor(float("nan"))})
        >>> means.pop()
        Traceback (most recent call last):
            ...
        googol.training.history.NonFiniteLossError: not finite at step 2 (train): loss
    """

    def __init__(self, fabric: Fabric, split: str = "train") -> None:
        self.fabric, self.split = fabric, split
        self.names: list[str] = []
        self._values: list[Tensor] = []
        self._weights: list[float] = []
        self._unchecked: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._values)

    def add(self, step: int, terms: Mapping[str, Tensor], *, weight: float = 1.0) -> None:
        """Adds the terms of a step.

        Raises:
            ValueError: If the steps since the means were read had other terms.
        """
        if self._values and list(terms) != self.names:
            raise ValueError(f"expected the terms {self.names} as in the steps before, got {list(terms)}")
        self.names = list(terms)
        self._values.append(torch.stack([value.detach().float() for value in terms.values()]))
        self._weights.append(weight)
        self._unchecked.append(step)

    def check(self) -> None:
        """Waits for the device, and raises `NonFiniteLossError` with the first step and its terms, if any."""
        if not self._unchecked:
            return
        values = torch.stack(self._values[-len(self._unchecked) :])
        finite = values.isfinite()
        if self.fabric.world_size > 1 or not finite.all():
            steps = torch.tensor(self._unchecked, device=values.device).unsqueeze(1)
            never = torch.iinfo(steps.dtype).max
            bad_steps = self._reduce(torch.where(finite, never, steps).amin(0), torch.distributed.ReduceOp.MIN)
            first = int(bad_steps.min())
            if first < never:
                bad = [name for name, step in zip(self.names, bad_steps, strict=True) if step == first]
                raise NonFiniteLossError(f"not finite at step {first} ({self.split}): {', '.join(bad)}")
        self._unchecked.clear()

    def pop(self) -> dict[str, float]:
        """The means, checked to be finite; the next step starts new ones."""
        self.check()
        values, weights = torch.stack(self._values), torch.tensor(self._weights)
        sums = torch.cat([weights.to(values) @ values, weights.sum(0, keepdim=True).to(values)])
        *totals, weight = self._reduce(sums, torch.distributed.ReduceOp.SUM).tolist()
        self._values, self._weights = [], []
        return {name: total / weight for name, total in zip(self.names, totals, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on; the steps are checked."""
        self.check()
        return {"names": self.names, "values": self._values, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken."""
        self.names, self._weights = list(state["names"]), list(state["weights"])
        self._values = [value.to(self.fabric.device) for value in state["values"]]

    def _reduce(self, values: Tensor, operation: Any) -> Tensor:
        if self.fabric.world_size > 1:
            torch.distributed.all_reduce(values := values.clone(), operation)
        return values


class History:
    """The rows of `metrics.csv` and the same numbers as TensorBoard events.

    A row is a step, an epoch (from 1), a split and one column for each term; a row without a term leaves its
    column empty. A term that comes later, as when a model enters another stage, gets a column at the end.

    Arguments:
        folder: The folder of the run.
        rows: Number of rows to keep of a `metrics.csv` that is there; those behind were written after the
            checkpoint from which the run goes on, and will be written again.
        step: The step from which the run goes on.
    """

    def __init__(self, folder: Path, *, rows: int, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._path = folder / "metrics.csv"
        self._events = SummaryWriter(str(folder), purge_step=step + 1)
        kept: list[list[str]] = []
        if rows and self._path.is_file():
            with self._path.open(newline="", encoding="utf-8") as stream:
                kept = list(csv.reader(stream))[: rows + 1]
        self._columns, *self._rows = kept or [["step", "epoch", "split"]]
        self._rewrite()

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self._rows)

    def write(self, step: int, epoch: int, split: str, values: Mapping[str, float]) -> None:
        """Writes a row."""
        row = {"step": step, "epoch": epoch, "split": split, **values}
        new = [name for name in row if name not in self._columns]
        self._columns += new
        self._rows.append([str(row.get(name, "")) for name in self._columns])
        if new:
            self._stream.close()
            self._rewrite()
        else:
            self._writer.writerow(self._rows[-1])
            self._stream.flush()
        for name, value in values.items():
            self._events.add_scalar(f"{split}/{name}", value, step)

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        rows = [row + [""] * (len(self._columns) - len(row)) for row in self._rows]
        csv.writer(text, lineterminator="\n").writerows([self._columns, *rows])
        write_file(self._path, text.getvalue().encode())
        self._stream = self._path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._stream, lineterminator="\n")

    def sync(self) -> None:
        """Brings everything to the disk."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._events.flush()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._events.close()
