"""The Sylvester flow: a planar flow in many directions at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from googol.transforms.vector import MINIMUM_SLOPE, VectorTransform, check_shape, product, solve_tanh

# The square of this bounds the product of two diagonal entries.
LARGEST_DIAGONAL = math.sqrt(1 - MINIMUM_SLOPE)


class Sylvester(VectorTransform):
    r"""A layer of m tanh units on m orthonormal directions, with the inputs left in.

    .. math:: y = x + Q R_1 \tanh(R_2 Q^\top x + b), \qquad
        \log \left| \det \frac{\partial y}{\partial x} \right| = \sum_{i=1}^m
        \log \left(1 + \tanh'(\cdot)_i \, (R_1)_{ii} (R_2)_{ii}\right)

    The upper triangular R₁ and R₂ share a matrix: R₁ is what it has above its diagonal, R₂ is, transposed, what it has
    below. Both have diagonals :math:`0.9995 \tanh(\cdot)` of what is given for them, so that
    :math:`(R_1)_{ii} (R_2)_{ii} > -0.999`: any numbers give an invertible map.

    The inverse is found entry by entry, from the last of :math:`Q^\top x` to the first, each by Newton's
    method to the precision of the tensors; it is differentiable in y and in the parameters.

    Args:
        triangles: What R₁ and R₂ have off their diagonals, and, on its own, what gives the diagonal of R₁; shape
            ``(…, m, m)``.
        diagonal: What gives the diagonal of R₂, shape ``(…, m)``.
        b: The offsets, shape ``(…, m)``.
        q: Orthonormal columns, shape ``(…, d, m)`` with d ≥ m, for instance from `orthonormal`; the identity where not
            given. With a `Householder` rotation T as Q, compose T.inv, this map without q, and T.

    Raises:
        ValueError: If the shapes do not go together.

    References:
        van den Berg et al., Sylvester Normalizing Flows for Variational Inference, 2018,
        https://arxiv.org/abs/1803.05649, equations 8, 13 and 14.

    Example:
        >>> import torch
        >>> from googol.transforms import Sylvester, orthonormal
        >>> q = orthonormal(torch.randn(5, 3, 2))
        >>> flow = Sylvester(torch.randn(5, 2, 2), torch.randn(5, 2), torch.zeros(5, 2), q)
        >>> x = torch.randn(7, 5, 3)
        >>> torch.allclose(flow.inv(flow(x)), x, atol=1e-3)
        True
    """

    def __init__(self, triangles: Tensor, diagonal: Tensor, b: Tensor, q: Tensor | None = None) -> None:
        if b.ndim == 0:
            raise ValueError("Expected vectors (…, m) for b; got a number.")
        m = b.shape[-1]
        check_shape("triangles", triangles, m, m)
        check_shape("diagonal", diagonal, m)
        if q is not None and (q.ndim < 2 or q.shape[-1] != m or q.shape[-2] < m):
            raise ValueError(f"Expected orthonormal columns (…, d, {m}) for q, d ≥ {m}; got shape {tuple(q.shape)}.")
        super().__init__(m if q is None else q.shape[-2])
        self.b, self.q = b, q
        self.diagonal1 = LARGEST_DIAGONAL * triangles.diagonal(dim1=-2, dim2=-1).tanh()
        self.diagonal2 = LARGEST_DIAGONAL * diagonal.tanh()
        # Products with a mask take a fraction of the time of triu and tril.
        above = torch.ones(m, m, dtype=b.dtype, device=b.device).triu(1)
        self.above1, self.above2 = triangles * above, (triangles * above.mT).mT

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image y of x, and the logarithm of the absolute determinant of dy/dx."""
        self._check(x)
        inner = self._down(x)
        tanh = torch.tanh(product(self.above2, inner) + self.diagonal2 * inner + self.b)
        y = x + self._up(product(self.above1, tanh) + self.diagonal1 * tanh)
        return y, torch.log1p(self.diagonal1 * self.diagonal2 * (1 - tanh.square())).sum(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        self._check(y)
        image = self._down(y)
        p = self.diagonal1 * self.diagonal2
        # What is left of the image, and of the arguments of tanh, without the entries of x found so far.
        rest, argument = torch.broadcast_tensors(image, self.b)
        found = []
        for i in reversed(range(rest.shape[-1])):
            tanh = torch.tanh(solve_tanh(p[..., i], self.diagonal2[..., i] * rest[..., i] + argument[..., i]))
            found.append(rest[..., i] - self.diagonal1[..., i] * tanh)
            rest = rest[..., :i] - self.above1[..., :i, i] * tanh.unsqueeze(-1)
            argument = argument[..., :i] + self.above2[..., :i, i] * found[-1].unsqueeze(-1)
        # What lies outside the span of the columns has not moved.
        return y + self._up(torch.stack(found[::-1], -1) - image)

    def _down(self, x: Tensor) -> Tensor:
        """Qᵀ x."""
        return x if self.q is None else product(self.q.mT, x)

    def _up(self, inner: Tensor) -> Tensor:
        """Q times a vector."""
        return inner if self.q is None else product(self.q, inner)
