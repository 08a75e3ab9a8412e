"""The map that turns vectors around."""

from __future__ import annotations

from torch import Tensor

from googol.transforms.vector import VolumePreservingTransform


class Reversal(VolumePreservingTransform):
    r"""The order of the entries reversed, :math:`y_i = x_{d + 1 - i}`; its own inverse.

    Args:
        length: The length d of the vectors.

    Example:
        >>> import torch
        >>> from googol.transforms import Reversal
        >>> Reversal(3)(torch.tensor([1.0, 2.0, 3.0]))
        tensor([3., 2., 1.])
    """

    def _call(self, x: Tensor) -> Tensor:
        self._check(x)
        return x.flip(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return self._call(y)
