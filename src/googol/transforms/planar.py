"""Planar flows: space contracts or expands around a hyperplane."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from googol.transforms.vector import MINIMUM_SLOPE, VectorTransform, check_shape, product, solve_tanh

# 1 - exp(-(1 - MINIMUM_SLOPE)), the slope of `invertible_product` at zero.
SLOPE_AT_ZERO = -math.expm1(MINIMUM_SLOPE - 1)


class Planar(VectorTransform):
    r"""A chain of F planar flows: shifts along one direction that depend on the position along another.

    .. math:: x_k = x_{k-1} + \hat u_k \tanh(w_k \cdot x_{k-1} + b_k), \qquad
        \hat u = u + \frac{m(w \cdot u) - w \cdot u}{\|w\|^2} w, \qquad
        \log \left| \det \frac{\partial x_F}{\partial x_0} \right|
        = \sum_k \log \left(1 + w_k \cdot \hat u_k \tanh'(\cdot)_k\right)

    With :math:`m(a) = \log(1 + e^{a + c}) - 0.999` the product :math:`w \cdot \hat u = m(w \cdot u)` is above -0.999,
    so any u, w and b give an invertible map. The paper has c = 0 and 1; here c is such that m(0) = 0, so
    that u = 0 is the identity.

    As :math:`w_k \cdot x_{k-1} = w_k \cdot x_0 + \sum_{j<k} w_k \cdot \hat u_j \tanh(\cdot)_j`, only numbers go from
    flow to flow: vectors are met twice, in thin matrix products. The inverse finds the same numbers from the last to
    the first, each by Newton's method to the precision of the tensors; it is differentiable in y and in the parameters.

    Args:
        u: The directions of the shifts, shape ``(…, F, d)``.
        w: The directions that the shifts depend on, shape ``(…, F, d)``.
        b: The offsets, shape ``(…, F)``.

    Raises:
        ValueError: If the shapes do not go together.

    References:
        Rezende & Mohamed, Variational Inference with Normalizing Flows, 2015, https://arxiv.org/abs/1505.05770,
        equations 10 to 12 and appendix A.1.

    Example:
        >>> import torch
        >>> from googol.transforms import Planar
        >>> flow = Planar(torch.randn(5, 2, 3), torch.randn(5, 2, 3), torch.zeros(5, 2))
        >>> x = torch.randn(7, 5, 3)
        >>> torch.allclose(flow.inv(flow(x)), x, atol=1e-3)
        True
    """

    def __init__(self, u: Tensor, w: Tensor, b: Tensor) -> None:
        if u.ndim < 2:
            raise ValueError(f"Expected vectors (…, F, d) for u; got shape {tuple(u.shape)}.")
        check_shape("w", w, *u.shape[-2:])
        check_shape("b", b, u.shape[-2])
        super().__init__(u.shape[-1])
        given = (u * w).sum(-1)
        correction = invertible_product(given) - given
        # Where w vanishes so does the correction, and as fast as the norm.
        norm = torch.linalg.vector_norm(w, dim=-1).clamp_min(1e-12)
        self.w, self.b = w, b
        self.product = given + correction
        self.u = u + (correction / norm).unsqueeze(-1) * (w / norm.unsqueeze(-1))
        self.products = w @ self.u.mT

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image y of x, and the logarithm of the absolute determinant of dy/dx."""
        self._check(x)
        arguments = product(self.w, x) + self.b
        shifts = []
        for k, later in enumerate(self.products.tril(-1).unbind(-1)):
            shifts.append(torch.tanh(arguments[..., k]))
            arguments = arguments + later * shifts[-1].unsqueeze(-1)
        tanh = torch.stack(shifts, -1)
        return x + product(self.u.mT, tanh), torch.log1p(self.product * (1 - tanh.square())).sum(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        self._check(y)
        arguments = product(self.w, y) + self.b
        shifts = []
        for k, earlier in reversed(list(enumerate(self.products.triu(1).unbind(-1)))):
            # s = w · x + b solves s + (w · û) tanh s = w · y + b.
            shifts.append(torch.tanh(solve_tanh(self.product[..., k], arguments[..., k])))
            arguments = arguments - earlier * shifts[-1].unsqueeze(-1)
        return y - product(self.u.mT, torch.stack(shifts[::-1], -1))


def invertible_product(a: Tensor) -> Tensor:
    r"""The m(a) above -0.999 with m(0) = 0: :math:`\log(1 + \sigma (e^a - 1))`, which is near a for large a.

    Written so that it has full relative precision near zero, where it is divided by what is small.
    """
    positive = a.clamp_min(0)
    return torch.where(
        a >= 0,
        positive + torch.log1p((1 - SLOPE_AT_ZERO) * torch.expm1(-positive)),
        torch.log1p(SLOPE_AT_ZERO * torch.expm1(a.clamp_max(0))),
    )
