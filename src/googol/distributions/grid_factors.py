"""Factors of precision matrices whose variables lie on a grid: what a sparse normal computes with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from googol.distributions.grid_solve import grid_solve
from googol.distributions.precision import every_digit


class GridFactor(ABC):
    r"""A matrix L with :math:`P = L L^\top` for variables on a grid; vectors hold its rows one after the other.

    Inside, the grid stands on its shorter side: were there more columns than rows, they change places. L is lower
    triangular in that order.

    Args:
        diagonal: Shape ``(…, rows, columns)``, one number a variable.
        right: Shape ``(…, rows, columns - 1)``, one number a link to the right neighbour.
        below: Shape ``(…, rows - 1, columns)``, one number a link to the neighbour below.

    Raises:
        ValueError: If the shapes do not fit.
    """

    _diagonal: Tensor

    def __init__(self, diagonal: Tensor, right: Tensor, below: Tensor, *, name: str = "diagonal") -> None:
        if diagonal.dim() < 2 or 0 in diagonal.shape[-2:]:
            raise ValueError(f"Expected {name} of shape (…, rows, columns); got {tuple(diagonal.shape)}.")
        rows, columns = diagonal.shape[-2:]
        for link, tensor, shape in (("right", right, (rows, columns - 1)), ("below", below, (rows - 1, columns))):
            if tensor.shape[-2:] != shape:
                raise ValueError(f"Expected {link} of shape (…, {shape[0]}, {shape[1]}); got {tuple(tensor.shape)}.")
        self.rows, self.columns = rows, columns
        self.batch_shape = torch.broadcast_shapes(diagonal.shape[:-2], right.shape[:-2], below.shape[:-2])

    def _grid(self, v: Tensor) -> Tensor:
        """Vectors (…, d) as grids with at least as many rows as columns."""
        grid = v.unflatten(-1, (self.rows, self.columns))
        return grid.mT if self.columns > self.rows else grid

    def _vector(self, grid: Tensor) -> Tensor:
        return (grid.mT if self.columns > self.rows else grid).flatten(-2)

    def solve(self, y: Tensor) -> Tensor:
        r"""The solution u of :math:`L^\top u = y`, for vectors (…, d)."""
        with every_digit(y):
            return self._vector(self._solve(self._grid(y)))

    def multiply(self, v: Tensor) -> Tensor:
        r""":math:`L^\top v`, for vectors (…, d)."""
        with every_digit(v):
            return self._vector(self._multiply(self._grid(v)))

    def variance(self) -> Tensor:
        r"""The diagonal of :math:`P^{-1}`, shape batch_shape + (d,)."""
        with every_digit(self._diagonal):
            return self._vector(self._variance())

    def _variance(self) -> Tensor:
        r"""Of one row at a time: :math:`G_r^\top u_r + E_r u_{r+1} = y_r` gives the covariance of u_r from the next."""
        rows: list[Tensor] = []
        covariance = None
        for diagonal, upper in self._blocks():
            identity = torch.eye(diagonal.shape[-1], dtype=diagonal.dtype, device=diagonal.device)
            inverse = torch.linalg.solve_triangular(diagonal, identity.expand_as(diagonal), upper=False).mT
            own = inverse @ inverse.mT
            if covariance is None or upper is None:
                covariance = own
            else:
                slope = inverse @ upper
                covariance = own + slope @ covariance @ slope.mT
            rows.append(covariance.diagonal(dim1=-2, dim2=-1))
        return torch.stack(rows[::-1], -2)

    @property
    @abstractmethod
    def half_log_det(self) -> Tensor:
        """log det L, half of log det P, shape batch_shape."""

    @abstractmethod
    def _solve(self, y: Tensor) -> Tensor: ...

    @abstractmethod
    def _multiply(self, v: Tensor) -> Tensor: ...

    @abstractmethod
    def _blocks(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """From the last row to the first: its block G_r of L and the transpose E_r of the block below that."""


class BidiagonalFactor(GridFactor):
    r"""The factor that itself has an entry for each variable and for its links to the right and below, none else.

    A chain is a grid of one row. All but the variance on a grid takes linear time and memory.
    """

    def __init__(self, diagonal: Tensor, right: Tensor, below: Tensor) -> None:
        super().__init__(diagonal, right, below)
        if self.columns > self.rows:
            diagonal, right, below = diagonal.mT, below.mT, right.mT
        self._diagonal, self._right, self._below = diagonal, right, below

    @property
    def half_log_det(self) -> Tensor:
        return self._diagonal.log().sum((-2, -1)).expand(self.batch_shape)

    def _solve(self, y: Tensor) -> Tensor:
        return grid_solve(self._diagonal, self._right, self._below, y)

    def _multiply(self, v: Tensor) -> Tensor:
        right = pad(self._right * v[..., 1:], (0, 1))
        return self._diagonal * v + right + pad(self._below * v[..., 1:, :], (0, 0, 0, 1))

    def _variance(self) -> Tensor:
        if self._diagonal.shape[-1] > 1:
            return super()._variance()
        # On a chain, u_i = (y_i − w_i u_{i+1}) / a_i with independent terms: variances obey the same recurrence.
        slope = self._below / self._diagonal[..., :-1, :]
        variance = grid_solve(
            torch.ones_like(self._diagonal), self._right, -slope.square(), self._diagonal.square().reciprocal()
        )
        return variance.expand(*self.batch_shape, -1, 1)

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        rows = zip(*(t.unbind(-2)[::-1] for t in (self._diagonal, self._right)), strict=True)
        for (diagonal, right), below in zip(rows, [None, *self._below.unbind(-2)[::-1]], strict=True):
            block = torch.diag_embed(diagonal) + torch.diag_embed(right, -1)
            yield block.expand(*self.batch_shape, -1, -1), None if below is None else torch.diag_embed(below)


class BlockFactor(GridFactor):
    r"""The block Cholesky factor of a precision on the grid of four neighbours, its blocks the rows of the grid.

    .. math:: P_{ij} = p_{ij} \text{ for neighbours}, \qquad P_{ii} = e_i + \sum_{j \ne i} |p_{ij}|, \quad e_i > 0

    By Gershgorin's theorem no eigenvalue is below the least excess e, and :math:`P^{-1} \le \text{diag}(1 / e)`.
    With c the shorter side, everything takes d · c² operations and d · c memory: linear in d for a given width.
    """

    def __init__(self, excess: Tensor, right: Tensor, below: Tensor) -> None:
        super().__init__(excess, right, below, name="excess")
        if self.columns > self.rows:
            excess, right, below = excess.mT, below.mT, right.mT
        links = pad(right.abs(), (0, 1)) + pad(right.abs(), (1, 0))
        diagonal = excess + links + pad(below.abs(), (0, 0, 0, 1)) + pad(below.abs(), (0, 0, 1, 0))
        rows = torch.diag_embed(diagonal) + torch.diag_embed(right, 1) + torch.diag_embed(right, -1)
        # Unbound rather than indexed: the gradient of each index would be as large as all rows.
        first, *others = rows.unbind(-3)
        blocks, uppers = [torch.linalg.cholesky(first)], list[Tensor]()
        with every_digit(excess):
            for row, link in zip(others, torch.diag_embed(below).unbind(-3), strict=True):
                uppers.append(torch.linalg.solve_triangular(blocks[-1], link, upper=False))
                blocks.append(torch.linalg.cholesky(row - uppers[-1].mT @ uppers[-1]))
        self._diagonal = torch.stack(blocks, -3)
        self._upper = torch.stack(uppers, -3) if uppers else self._diagonal[..., :0, :, :]

    @property
    def half_log_det(self) -> Tensor:
        return self._diagonal.diagonal(dim1=-2, dim2=-1).log().sum((-2, -1))

    def _as_columns(self, v: Tensor) -> tuple[Tensor, torch.Size]:
        """Leading dimensions that the factor lacks become columns, so that its blocks need not be repeated."""
        extra = v.shape[: max(0, v.dim() - 2 - len(self.batch_shape))]
        return v.reshape(extra.numel(), *v.shape[len(extra) :]).movedim(0, -1), extra

    def _as_vectors(self, columns: Tensor, extra: torch.Size) -> Tensor:
        return columns.movedim(-1, 0).reshape(*extra, *columns.shape[:-1])

    def _solve(self, y: Tensor) -> Tensor:
        columns, extra = self._as_columns(y)
        u: list[Tensor] = []
        for (diagonal, upper), row in zip(self._blocks(), columns.unbind(-3)[::-1], strict=True):
            rhs = row if upper is None else row - upper @ u[-1]
            u.append(torch.linalg.solve_triangular(diagonal.mT, rhs, upper=True))
        return self._as_vectors(torch.stack(u[::-1], -3), extra)

    def _multiply(self, v: Tensor) -> Tensor:
        columns, extra = self._as_columns(v)
        product = self._diagonal.mT @ columns + pad(self._upper @ columns[..., 1:, :, :], (0, 0, 0, 0, 0, 1))
        return self._as_vectors(product, extra)

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        yield from zip(self._diagonal.unbind(-3)[::-1], [None, *self._upper.unbind(-3)[::-1]], strict=True)
