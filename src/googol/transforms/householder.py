"""Rotations as products of reflections."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from googol.transforms.vector import VolumePreservingTransform, product


class Householder(VolumePreservingTransform):
    r"""The product of K reflections, an orthogonal map; any orthogonal map is one of d reflections.

    .. math:: y = H_K \cdots H_2 H_1 x, \qquad H_k = I - 2 \frac{v_k v_k^\top}{\|v_k\|^2}, \qquad
        \log \left| \det \frac{\partial y}{\partial x} \right| = 0

    The product is never formed. It is :math:`I - V^\top T^\top V` with the unit vectors as the rows of V and a small
    triangular matrix T, so that all reflections take two thin matrix products. The entries of T
    are at most 4, whatever the vectors, so float32 is enough. A vector of zeros reflects nothing.

    Args:
        v: The vectors that are reflected, in the order in which this is done, shape ``(…, K, d)``.

    Raises:
        ValueError: If v has less than two dimensions.

    References:
        Tomczak & Welling, Improving Variational Auto-Encoders using Householder Flow, 2016,
        https://arxiv.org/abs/1611.09630, equation 6; the small matrix is that of Sun & Bischof, A basis-kernel
        representation of orthogonal matrices, 1995.

    Example:
        >>> import torch
        >>> from googol.transforms import Householder
        >>> x = torch.randn(7, 5, 3)
        >>> y = Householder(torch.randn(5, 2, 3))(x)
        >>> torch.allclose(y.norm(dim=-1), x.norm(dim=-1))
        True
    """

    def __init__(self, v: Tensor) -> None:
        if v.ndim < 2:
            raise ValueError(f"Expected vectors (…, K, d) for v; got shape {tuple(v.shape)}.")
        super().__init__(v.shape[-1])
        self.v = normalize(v, dim=-1)
        identity = torch.eye(v.shape[-2], dtype=v.dtype, device=v.device)
        with torch.autocast(v.device.type, enabled=False):  # which would make them products of half precision
            # H_1 ⋯ H_K = I - Vᵀ T V, where T⁻¹ is half of the diagonal of V Vᵀ, and what is above it.
            inverse = torch.triu(self.v @ self.v.mT, 1) + 0.5 * identity
            small = torch.linalg.solve_triangular(inverse, identity.expand_as(inverse), upper=True)
            self.weighted = small @ self.v

    def _call(self, x: Tensor) -> Tensor:
        self._check(x)
        return x - product(self.weighted.mT, product(self.v, x))

    def _inverse(self, y: Tensor) -> Tensor:
        self._check(y)
        return y - product(self.v.mT, product(self.weighted, y))
