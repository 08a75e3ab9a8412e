"""What the transforms of vectors share: shapes, products with a batch of matrices, and the root of one equation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Transform, constraints

# The smallest slope that a map has in any direction: it bounds log |det| from below, and how much the inverse
# magnifies rounding from above.
MINIMUM_SLOPE = 1e-3

# Twice what was needed over p from -0.999 to 1e4 and q up to 1e6, in both precisions; Newton stops by itself.
STEPS = 20


class VectorTransform(Transform):
    """An invertible map of vectors; a subclass has `call_and_ladj` and `_inverse`.

    Args:
        length: The length of the vectors.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    @property
    def inv(self) -> Transform:
        """The inverse, which keeps this map but is not kept by it: tensors of things that keep each other would stay in
        memory until Python's collector comes by.
        """
        inverse = super().inv
        self._inv = None
        return inverse

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image y of x, and the logarithm of the absolute determinant of dy/dx, which share most of their work.

        Args:
            x: Shape ``(…, d)``; broadcasts against the batch of the map's own parameters.

        Returns:
            Shapes ``(…, d)`` and ``(…)``.
        """
        raise NotImplementedError

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """The logarithm of the absolute determinant of dy/dx at x, shape ``(…)``."""
        return self.call_and_ladj(x)[1]

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def _check(self, x: Tensor) -> None:
        if x.shape[-1:] != (self.length,):
            raise ValueError(f"Expected trailing dimension {self.length} for x; got {tuple(x.shape)}.")


class VolumePreservingTransform(VectorTransform):
    """An invertible map that preserves volume; a subclass has `_call` and `_inverse`."""

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image of x, and zeros."""
        y = self._call(x)
        return y, self.log_abs_det_jacobian(x, y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Zeros, shape ``(…)``."""
        return y.new_zeros(torch.broadcast_shapes(x.shape, y.shape)[:-1])

    def _call(self, x: Tensor) -> Tensor:
        raise NotImplementedError


def check_shape(name: str, value: Tensor, *trailing: int) -> None:
    """Refuses a tensor that does not end in such dimensions.

    Raises:
        ValueError: If it does not.
    """
    if value.shape[value.ndim - len(trailing) :] != trailing:
        raise ValueError(f"Expected trailing dimensions {trailing} for {name}; got {tuple(value.shape)}.")


def product(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrices ``(…, i, j)`` times vectors ``(…, j)``, which broadcast.

    Unlike a matmul this copies no matrix for every one of several draws, but makes columns of them; and where each
    matrix has but one vector, it spares the overhead of a library's product.
    """
    if vector.shape[:-1] == matrix.shape[:-2]:
        return (matrix * vector.unsqueeze(-2)).sum(-1)
    return torch.einsum("...ij,...j->...i", matrix, vector)


def solve_tanh(p: Tensor, q: Tensor) -> Tensor:
    r"""The root s of :math:`s + p \tanh s = q` for p > -1, to the precision of the tensors.

    The left side is odd and rises; for s > 0 it is concave if p > 0 and convex if p < 0. Newton's method therefore
    approaches the root from one side, from below or from above, if it starts there, and needs no bracket.
    It is differentiable in p and q, as an implicit function is.

    Args:
        p: Any shape.
        q: Any shape that broadcasts against p's.
    """
    with torch.no_grad():
        sign, target = q.sign(), q.abs()
        # Both are bounds, for tanh s is less than s and than 1: lower ones if p > 0, upper ones if p < 0.
        bounds = target / (1 + p), target - p
        s = torch.where(p > 0, torch.maximum(*bounds), torch.minimum(*bounds))
        for _ in range(STEPS):
            error, slope = _error_and_slope(s, p, target)
            s = s - error / slope
            if (error.abs() <= 4 * torch.finfo(s.dtype).eps * (s + target)).all():
                break
        s = sign * s
    if not (p.requires_grad or q.requires_grad):
        return s
    # Further steps move s no further, but the first gives it the gradient of the root, and the next what follows.
    for _ in range(2):
        error, slope = _error_and_slope(s, p, q)
        s = s - error / slope
    return s


def _error_and_slope(s: Tensor, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    tanh = s.tanh()
    return s + p * tanh - q, 1 + p * (1 - tanh.square())
