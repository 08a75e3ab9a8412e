"""Conditions as networks see them: categories as one-hot vectors, numbers standardised, all of the same size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal
from torch.nn.functional import softplus

from googol.distributions import IndependentVariables

# In units of the standard deviation of the data: a number that is not known better than this need not be.
_MINIMUM_SCALE = 1e-2


class ConditionCoding(nn.Module):
    r"""The c conditions of an object, written for networks and read from them.

    Written, a category with N values is :math:`\sqrt{N}` times a one-hot vector, so that its entries are as large as
    those of a code, and a number :math:`(y_j - m_j) / s_j`, with the mean and the standard deviation of the training
    data; what is missing is zeros. Read, a category has logits, and a number a location and a scale in these units.

    Args:
        sizes: The number of values of each categorical condition, None for a number.

    Raises:
        ValueError: There are no conditions, or one with fewer than two values.

    Example:
        >>> import torch
        >>> coding = ConditionCoding([3, None])
        >>> coding.write(torch.tensor([[2.0, -0.5], [float("nan"), 1.0]]))
        tensor([[ 0.0000,  0.0000,  1.7321, -0.5000],
                [ 0.0000,  0.0000,  0.0000,  1.0000]])
        >>> coding.read(torch.zeros(coding.outputs)).sample().shape
        torch.Size([2])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, sizes: Sequence[int | None]) -> None:
        super().__init__()
        if not sizes or any(size is not None and size < 2 for size in sizes):
            raise ValueError(f"sizes must be at least one, each None or at least 2, got {list(sizes)}")
        self.sizes = tuple(sizes)
        self.register_buffer("loc", torch.zeros(len(self)))
        self.register_buffer("scale", torch.ones(len(self)))

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def widths(self) -> list[int]:
        """The numbers that each condition is written as."""
        return [size or 1 for size in self.sizes]

    @property
    def inputs(self) -> int:
        """The numbers that all conditions are written as."""
        return sum(self.widths)

    @property
    def outputs(self) -> int:
        """The numbers from which all conditions are read."""
        return sum(size or 2 for size in self.sizes)

    @torch.no_grad()
    def learn(self, batches: Iterable[Tensor]) -> None:
        """Takes the mean and the standard deviation of numbers from data, in batches ``(B, c)``; NaN is skipped."""
        y = torch.cat(list(batches)).double()
        for j, size in enumerate(self.sizes):
            known = y[~y[:, j].isnan(), j]
            if size is None and len(known):
                self.loc[j] = known.mean()
                deviation = known.std(correction=0)
                self.scale[j] = deviation if deviation > 0 else 1.0

    def write(self, y: Tensor) -> Tensor:
        """Conditions ``(…, c)`` as vectors ``(…, inputs)``.

        Raises:
            ValueError: The last dimension is not c, or an entry is no value of its condition.
        """
        if y.shape[-1:] != (len(self),):
            raise ValueError(f"conditions must have the shape (…, {len(self)}), got {tuple(y.shape)}")
        parts = []
        for j, (size, column) in enumerate(zip(self.sizes, y.unsqueeze(-1).unbind(-2), strict=True)):
            if size is None:
                part = (column - self.loc[j]) / self.scale[j]
                wrong = column.isinf()
            else:
                is_value = column == torch.arange(size, device=y.device)
                part = is_value.to(self.loc.dtype) * math.sqrt(size)
                wrong = ~(column.isnan() | is_value.any(-1, keepdim=True))
            if bool(wrong.any()):
                allowed = "finite" if size is None else f"one of 0 … {size - 1}"
                raise ValueError(
                    f"conditions[…, {j}] must be {allowed}, or NaN (not observed), got {column[wrong][0].item():g}"
                )
            parts.append(part)
        return torch.cat(parts, -1).nan_to_num(0.0)

    def read(self, outputs: Tensor) -> IndependentVariables:
        """What a network says of the conditions, by vectors ``(…, outputs)``."""
        # Half precision does not tell one number from the next.
        outputs = outputs.to(torch.promote_types(outputs.dtype, self.loc.dtype))
        parts: list[Categorical | Normal] = []
        pieces = outputs.split([size or 2 for size in self.sizes], -1)
        for j, (size, piece) in enumerate(zip(self.sizes, pieces, strict=True)):
            if size is None:
                loc, raw = piece.unbind(-1)
                scale = softplus(raw) + _MINIMUM_SCALE
                parts.append(Normal(self.loc[j] + self.scale[j] * loc, self.scale[j] * scale, validate_args=False))
            else:
                parts.append(Categorical(logits=piece, validate_args=False))
        return IndependentVariables(parts)

    def answers(self, y: Tensor) -> list[Tensor]:
        """Conditions in the form of answers: one-hot vectors ``(…, N_j)``, and numbers ``(…, 1)``; NaN stays NaN."""
        columns = zip(self.sizes, y.unsqueeze(-1).unbind(-2), strict=True)
        return [
            column
            if size is None
            else (column == torch.arange(size, device=y.device)).to(y.dtype).masked_fill(column.isnan(), math.nan)
            for size, column in columns
        ]
