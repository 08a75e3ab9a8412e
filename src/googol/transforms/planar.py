"""The planar flow: space contracts or expands around a hyperplane."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from googol.transforms.vector import MINIMUM_SLOPE, VectorTransform, check_shape, solve_tanh

# 1 - exp(-(1 - MINIMUM_SLOPE)), the slope of `invertible_product` at zero.
SLOPE_AT_ZERO = -math.expm1(MINIMUM_SLOPE - 1)


class Planar(VectorTransform):
    r"""A shift along one direction that depends on the position along another.

    .. math:: y = x + \hat u \tanh(w \cdot x + b), \qquad
        \hat u = u + \frac{m(w \cdot u) - w \cdot u}{\|w\|^2} w, \qquad
        \log \left| \det \frac{\partial y}{\partial x} \right|
        = \log \left(1 + w \cdot \hat u \, (1 - \tanh^2(w \cdot x + b))\right)

    With :math:`m(a) = \log(1 + e^{a + c}) - 0.999` the product :math:`w \cdot \hat u = m(w \cdot u)` is above -0.999,
    so any u, w and b give an invertible map. The paper has c = 0 and 1; here c is such that m(0) = 0, so
    that u = 0 is the identity.

    The inverse is found by Newton's method on one number a vector, to the precision of the tensors, and is
    differentiable in y and in the parameters.

    Args:
        u: The direction of the shift, shape ``(…, d)``.
        w: The direction that the shift depends on, shape ``(…, d)``.
        b: The offset, shape ``(…)``.

    Raises:
        ValueError: If u and w are not vectors of one length.

    References:
        Rezende & Mohamed, Variational Inference with Normalizing Flows, 2015, https://arxiv.org/abs/1505.05770,
        equations 10 to 12 and appendix A.1.

    Example:
        >>> import torch
        >>> from googol.transforms import Planar
        >>> flow = Planar(torch.randn(5, 3), torch.randn(5, 3), torch.zeros(5))
        >>> x = torch.randn(7, 5, 3)
        >>> torch.allclose(flow.inv(flow(x)), x, atol=1e-3)
        True
    """

    def __init__(self, u: Tensor, w: Tensor, b: Tensor) -> None:
        if u.ndim == 0:
            raise ValueError("Expected vectors (…, d) for u; got a number.")
        check_shape("w", w, u.shape[-1])
        super().__init__(u.shape[-1])
        given = (u * w).sum(-1)
        correction = invertible_product(given) - given
        # Where w vanishes so does the correction, and faster than the norm.
        norm = torch.linalg.vector_norm(w, dim=-1).clamp_min(1e-12)
        self.w, self.b = w, b
        self.product = given + correction
        self.u = u + (correction / norm).unsqueeze(-1) * (w / norm.unsqueeze(-1))

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image of x and log |det|."""
        self._check(x)
        tanh = torch.tanh((self.w * x).sum(-1) + self.b)
        return x + self.u * tanh.unsqueeze(-1), torch.log1p(self.product * (1 - tanh.square()))

    def _inverse(self, y: Tensor) -> Tensor:
        self._check(y)
        # s = w · x + b solves s + (w · û) tanh s = w · y + b.
        s = solve_tanh(self.product, (self.w * y).sum(-1) + self.b)
        return y - self.u * torch.tanh(s).unsqueeze(-1)


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
