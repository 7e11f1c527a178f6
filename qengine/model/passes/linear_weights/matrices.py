"""Weights of products of matrices: the right factor, which Gemm and most MatMuls have, or the left one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qengine.model.ops.operator import find
from qengine.model.passes.linear_weights.layout import LinearWeights, NoFold, Reals, Shape


def _broadcasts(shape: Shape, against: Shape) -> bool:
    """Whether an array broadcasts against another and makes it no larger."""
    try:
        return np.broadcast_shapes(shape, against) == against
    except ValueError:
        return False


@dataclass(frozen=True)
class MatrixWeights(LinearWeights):
    """A matrix, or a stack of them: the right factor of a product.

    The weights are seen as (..., inner, columns); a Gemm may store them transposed, and may read its input transposed.
    """

    @property
    def is_whole(self) -> bool:
        """Whether the weights are a matrix, or a vector or stack and the number of axes of the input is known."""
        if self.node.operator != "MatMul":
            return len(self.shape) == 2
        return 0 < len(self.shape) < 3 or (len(self.shape) > 2 and self.x is not None and len(self.x) > 1)

    @property
    def is_transposed(self) -> bool:
        """Whether the weights are stored as (columns, inner)."""
        filters = find(self.node).facts.filters
        return len(self.shape) == 2 and filters is not None and filters.channel_axis(self.node, 2) == 0

    @property
    def matrix(self) -> Shape:
        """The shape of the weights as they are multiplied; a vector is one column."""
        shape = self.shape[::-1] if self.is_transposed else self.shape
        return (*shape, 1) if len(shape) == 1 else shape

    @property
    def summed(self) -> tuple[int, ...]:
        """The inner axis."""
        return (-1 if self.is_transposed or len(self.shape) == 1 else -2,)

    def takes_bias(self, shape: Shape) -> bool:
        """Whether the last axis counts columns, or is broadcast over them."""
        return len(shape) <= 2 and shape[-1:] in ((), (1,), self.matrix[-1:])

    def _stored(self, factors: Reals) -> Reals:
        """Return factors that broadcast against `matrix` so that they broadcast against the weights."""
        if len(self.shape) == 1:
            return np.broadcast_to(factors, self.matrix)[:, 0]
        return factors.T if self.is_transposed else factors

    def _output(self, k: Reals, *, by_channel: bool) -> Reals:
        """Return a constant of the shape of the output so that it broadcasts against `matrix`: (..., 1, columns)."""
        if by_channel:
            # A BatchNormalization counts axis 1, which are the columns where there are two axes.
            if self.node.operator != "Gemm" and (self.x is None or len(self.x) != 2 or len(self.shape) != 2):
                raise NoFold
            k = k.reshape(1, -1)
        if k.ndim > self._rank():
            raise NoFold
        if len(self.shape) == 1:  # the output has no axis of columns
            if k.size != 1:
                raise NoFold
            return k.reshape(1, 1)
        return self._aligned(k, -2)

    def _rank(self) -> int:
        """Return the number of axes of the output, as far as it is known: the least that it may be."""
        if self.node.operator == "Gemm":
            return 2
        own, x = len(self.shape), 1 if self.x is None else len(self.x)
        if own == 1:
            return x - 1
        return max(own, x) if x > 1 else own - 1

    def _aligned(self, k: Reals, single: int) -> Reals:
        """Return k so that it broadcasts against `matrix`, with one element along the axis `single`."""
        while k.ndim > len(self.matrix) and k.shape[0] == 1:
            k = k[0]
        k = k.reshape((1,) * (2 - k.ndim) + k.shape)
        if k.shape[single] != 1:
            raise NoFold
        if not _broadcasts(k.shape, self.matrix):
            raise NoFold
        return k

    def after(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return one factor for each column of each matrix."""
        return self._stored(self._output(k, by_channel=by_channel))

    def added(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return a row; what differs between the matrices of a stack is none."""
        row = self._output(k, by_channel=by_channel)
        if row.size not in (1, self.matrix[-1]):
            raise NoFold
        return np.broadcast_to(row.reshape(-1), self.matrix[-1:]).reshape(self._bias_shape)

    @property
    def _bias_shape(self) -> Shape:
        return () if len(self.shape) == 1 else self.matrix[-1:]

    def before(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return one factor for each place of the inner axis."""
        return self._stored(np.swapaxes(self._inner(k, by_channel=by_channel), -1, -2))

    def _inner(self, k: Reals, *, by_channel: bool) -> Reals:
        """Return a constant of the shape of the input as (..., 1, inner)."""
        if self.x is None or (by_channel and len(self.x) != 2):
            raise NoFold
        if k.ndim > len(self.x) or (self.node.number("transA", 0) and (by_channel or k.size != 1)):
            raise NoFold
        if k.size != 1 and self.x[-1] != self.matrix[-2]:
            raise NoFold
        row = k.reshape(1, -1) if by_channel or len(self.x) == 1 else k.reshape((1,) * (2 - k.ndim) + k.shape)
        while row.ndim > len(self.matrix) and row.shape[0] == 1:
            row = row[0]
        turned = self._aligned(np.swapaxes(row, -1, -2), -1)
        return np.swapaxes(turned, -1, -2)

    def response(self, k: Reals, weights: Reals, *, by_channel: bool = False) -> Reals:
        """Return the product of a row of constants and the matrix."""
        row = self._inner(k, by_channel=by_channel)
        if len(self.matrix) > 2 or row.ndim > 2:
            raise NoFold
        matrix = weights.T if self.is_transposed else weights.reshape(self.matrix)
        return np.asarray((row.reshape(-1, 1) * matrix).sum(axis=0).reshape(self._bias_shape))


@dataclass(frozen=True)
class LeftMatrixWeights(LinearWeights):
    """A matrix, or a stack of them: the left factor (..., rows, inner) of a product with matrices."""

    @property
    def summed(self) -> tuple[int, ...]:
        """The last axis."""
        return (-1,)

    def takes_bias(self, shape: Shape) -> bool:
        """Whether it is a column with a number for each row."""
        return shape in ((self.shape[-2], 1), ())

    @property
    def is_whole(self) -> bool:
        """Whether both factors are matrices, or stacks of them."""
        return len(self.shape) > 1 and self.x is not None and len(self.x) > 1

    def _column(self, k: Reals, axis: int) -> Reals:
        """Return a constant that may differ along axis -2 of a tensor so that it is a row or column of the weights."""
        assert self.x is not None
        if k.ndim > max(len(self.x), len(self.shape)) or (k.ndim and k.shape[-1] != 1):
            raise NoFold
        while k.ndim > len(self.shape) and k.shape[0] == 1:
            k = k[0]
        k = k.reshape((1,) * (2 - k.ndim) + k.shape)
        k = k if axis == -2 else np.swapaxes(k, -1, -2)
        if not _broadcasts(k.shape, self.shape):
            raise NoFold
        return k

    def after(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return one factor for each row."""
        if by_channel:
            raise NoFold
        return self._column(k, -2)

    def added(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return a column; what differs between the matrices of a stack is none."""
        column = self.after(k, by_channel=by_channel)
        if column.size not in (1, self.shape[-2]):
            raise NoFold
        return np.broadcast_to(column.reshape(-1, 1), (self.shape[-2], 1))

    def before(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return one factor for each place of the inner axis."""
        assert self.x is not None
        if by_channel or k.ndim > len(self.x) or (k.size != 1 and self.x[-2] != self.shape[-1]):
            raise NoFold
        return self._column(k, -1)

    def response(self, k: Reals, weights: Reals, *, by_channel: bool = False) -> Reals:
        """Return the product of the matrix and a column of constants."""
        row = self.before(k, by_channel=by_channel)
        if row.ndim > 2 or len(self.shape) > 2:
            raise NoFold
        return np.asarray((weights * row).sum(axis=1, keepdims=True))
