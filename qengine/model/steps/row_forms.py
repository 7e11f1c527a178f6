"""Computations over rows as frozen data, like those of `forms`: Softmax, normalizations, the place of an extreme."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.kernels.reference import functions as f
from qengine.kernels.reference.normalization import norm, softmax, standardize
from qengine.kernels.reference.normalization_fixed import (
    Z_BITS,
    RowScale,
    offset_of_codes,
    offset_of_reals,
    reciprocal_bits,
    scaled_fixed,
    split_epsilon,
    standardize_fixed,
)
from qengine.kernels.reference.requantize import Tally
from qengine.kernels.reference.softmax_fixed import log_softmax_fixed, power_table, softmax_fixed
from qengine.model.rules import Arithmetic, Kind
from qengine.model.steps.step import Tensor

Array = NDArray[Any]


class RowForm(ABC):
    """A function of rows, on real numbers and on codes.

    Attributes
    ----------
    family : name by which an option of the run names the operators that it computes.
    """

    family: ClassVar[Kind]

    @abstractmethod
    def __call__(self, x: Array, *parameters: Array) -> Array:
        """Return the results of real numbers."""

    def has_rule(self, x: Tensor) -> bool:  # noqa: ARG002
        """Whether integers of 64 bits hold what the rule in fixed point computes of an input."""
        return True

    @abstractmethod
    def on_codes(self, operands: Sequence[Tensor], out: Tensor, arithmetic: Arithmetic) -> Callable[..., Array]:
        """Return the function of codes, which also takes a tally."""


@dataclass(frozen=True)
class SoftmaxOver(RowForm):
    """e^x / sum(e^x), or its logarithm.

    Attributes
    ----------
    axis : axis that is summed over, 0 or more.
    coerced : whether all axes from that one on are summed over (before opset 13).
    logarithm : whether the result is the logarithm.
    """

    family: ClassVar[Kind] = "softmax"
    axis: int
    coerced: bool
    logarithm: bool

    def __call__(self, x: Array, *parameters: Array) -> Array:
        """Return the quotients."""
        del parameters
        rows = self._rows(x)
        is_body = x.dtype.itemsize < 4 and not self.coerced and not self.logarithm
        y = _rounded_softmax(rows) if is_body else softmax(rows, logarithm=self.logarithm)
        return self._placed(y, x).astype(x.dtype)

    def on_codes(self, operands: Sequence[Tensor], out: Tensor, arithmetic: Arithmetic) -> Callable[..., Array]:
        """Return the function of codes."""
        (source,) = operands
        n, word = source.fraction_bits, arithmetic.word(out.one_format)
        powers = power_table(n, source.one_format.bits)
        if self.logarithm:
            compute = partial(log_softmax_fixed, in_fraction_bits=n, fraction_bits=out.fraction_bits, word=word)
        else:
            compute = partial(softmax_fixed, fraction_bits=out.fraction_bits, word=word)

        def run(x: Array, *, tally: Tally | None = None) -> Array:
            return self._placed(compute(self._rows(x), powers, tally=tally), x)

        return run

    def _rows(self, x: Array) -> Array:
        """Return the elements with those of a row along the last axis."""
        axis = self.axis
        return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:])) if self.coerced else np.moveaxis(x, axis, -1)

    def _placed(self, y: Array, x: Array) -> Array:
        """Return results of `_rows` in the order of x."""
        return np.ascontiguousarray(y.reshape(x.shape) if self.coerced else np.moveaxis(y, -1, self.axis))


def _rounded_softmax(rows: Array) -> Array:
    """Return softmax over the last axis with every step of ONNX's function body rounded to the type of the rows."""
    dtype = rows.dtype
    shifted = (rows - rows.max(axis=-1, keepdims=True, initial=-np.inf)).astype(dtype)
    powers = f.exp(shifted.astype(np.float64)).astype(dtype)
    total = powers.astype(np.float64).cumsum(axis=-1)[..., -1:].astype(dtype)
    return np.asarray(powers / total)


Measure = Literal["variance", "deviation", "squares", "norm"]


@dataclass(frozen=True)
class Standardized(RowForm):
    """(x - mean) / deviation * gain + offset over rows.

    Attributes
    ----------
    view : shape in which the input is taken.
    axes : axes of the view that make a row, in ascending order.
    parameter_shape : shape, of as many axes as the view, in which gain and offset broadcast against it; None to take
        them unchanged.
    measure : "variance" for the root of variance + epsilon as deviation; "deviation" for the root of the variance, plus
        epsilon; "squares" for the root of the mean of the squares + epsilon, without a mean; "norm" for the root of the
        sum of the squares, where a quotient by 0 is 0.
    epsilon : number that is added.
    """

    family: ClassVar[Kind] = "norm"
    view: tuple[int, ...]
    axes: tuple[int, ...]
    parameter_shape: tuple[int, ...] | None
    measure: Measure
    epsilon: float = 0.0

    @property
    def length(self) -> int:
        """The number of elements of a row."""
        return prod(self.view[axis] for axis in self.axes)

    def __call__(self, x: Array, *parameters: Array) -> Array:
        """Return the normalized elements."""
        rows = self._rows(x)
        y = norm(rows) if self.measure == "norm" else standardize(rows, self.epsilon, self.measure)
        y = self._placed(y)
        for place, one in enumerate(parameters):
            y = y + self._broadcast(one) if place else y * self._broadcast(one)
        return np.asarray(y).reshape(x.shape)

    def has_rule(self, x: Tensor) -> bool:
        """Whether products of 64 bits hold the elements about their mean times the reciprocal."""
        fits = x.format is None or reciprocal_bits(x.one_format.bits, max(self.length, 1)) is not None
        return fits and self.epsilon >= 0.0

    def scale(self, x: Tensor) -> RowScale:
        """Return the numbers of the rule for codes of a tensor."""
        count, n = self._count(), x.fraction_bits
        exact = Fraction(0)
        if self.measure in ("variance", "squares"):
            exact = Fraction(self.epsilon) * count * count * Fraction(2) ** (2 * n)
        bits = reciprocal_bits(x.one_format.bits, max(self.length, 1))
        assert bits is not None
        return RowScale(count, self.measure in ("variance", "deviation"), *split_epsilon(round(exact)), bits)

    def on_codes(self, operands: Sequence[Tensor], out: Tensor, arithmetic: Arithmetic) -> Callable[..., Array]:
        """Return the function of codes."""
        source, *parameters = operands
        scale, word = self.scale(source), arithmetic.word(out.one_format)
        gain_bits = parameters[0].fraction_bits if parameters else 0
        bits = Z_BITS + gain_bits
        known = None
        if parameters[1:] and parameters[1].value is not None:
            known = self._broadcast(offset_of_constant(parameters[1], bits))

        def run(x: Array, *given: Array, tally: Tally | None = None) -> Array:
            z = self._placed(standardize_fixed(self._rows(x), scale))
            gain, offset = np.ones((), np.int64), np.zeros((), np.int64)
            if given:
                gain = self._broadcast(given[0].astype(np.int64))
            if known is not None:
                offset = known
            elif given[1:]:
                offset = self._broadcast(offset_of_codes(given[1], parameters[1].fraction_bits - bits))
            return scaled_fixed(z, gain, offset, bits - out.fraction_bits, word, tally=tally).reshape(x.shape)

        return run

    def _broadcast(self, parameter: Array) -> Array:
        """Return a parameter in the shape in which it broadcasts against the view."""
        return parameter if self.parameter_shape is None else parameter.reshape(self.parameter_shape)

    def _count(self) -> int:
        return 1 if self.measure == "norm" else max(self.length, 1)

    def _order(self) -> list[int]:
        return [*(axis for axis in range(len(self.view)) if axis not in self.axes), *self.axes]

    def _rows(self, x: Array) -> Array:
        """Return the elements with those of a row along the last axis."""
        moved = x.reshape(self.view).transpose(self._order())
        return moved.reshape(*moved.shape[: len(self.view) - len(self.axes)], self.length)

    def _placed(self, rows: Array) -> Array:
        """Return results of `_rows` in the shape of the view."""
        order = self._order()
        return rows.reshape([self.view[axis] for axis in order]).transpose(np.argsort(order))


def offset_of_constant(t: Tensor, fraction_bits: int) -> NDArray[np.int64]:
    """Return a constant offset as whole numbers with some fraction bits."""
    assert t.value is not None
    if np.isnan(t.value).any():
        raise FormatError(f"constant '{t.name}' holds NaN: fixed point has no code for it")
    return offset_of_reals(t.value.astype(np.float64), fraction_bits)


@dataclass(frozen=True)
class AxisIndex:
    """The place of the largest or smallest element along an axis.

    Attributes
    ----------
    axis : axis, 0 or more.
    keepdims : whether the axis stays, with length 1.
    last : whether of equal elements the last is meant.
    largest : whether the largest is meant.
    """

    axis: int
    keepdims: bool
    last: bool
    largest: bool

    def __call__(self, x: Array) -> Array:
        """Return int64."""
        v = np.flip(x, self.axis) if self.last else x
        pick = np.argmax if self.largest else np.argmin
        indices = np.asarray(pick(v, axis=self.axis, keepdims=self.keepdims), np.int64)
        return x.shape[self.axis] - 1 - indices if self.last else indices
