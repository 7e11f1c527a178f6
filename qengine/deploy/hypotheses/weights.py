"""Faults of weights: order of the axes, flipped kernels, filters in other places, other rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant
from qengine.kernels.reference.requantize import quantize
from qengine.model.steps import Linear
from qengine.qformat import Rounding, fraction_bits_of

Array = NDArray[Any]
_AXES = "OIHW"
_ORDERS = ("OHWI", "HWIO", "IOHW", "IHWO", "HWOI")


def _changed(change: Callable[[Variant, Array], Array | None], variant: Variant) -> Variant | None:
    step = variant.step
    if not isinstance(step, Linear) or step.w.value is None:
        return None
    w = variant.operands[1]
    other = change(variant, w)
    if other is None or other.shape != w.shape or np.array_equal(other, w):
        return None
    return variant.with_operand(1, other)


def _read_as(letters: str, variant: Variant, w: Array) -> Array | None:
    """Return weights whose buffer is in the order OIHW and is read in another one."""
    del variant
    if w.ndim != 4:
        return None
    order = [_AXES.index(letter) for letter in letters]
    return np.ascontiguousarray(w).reshape([w.shape[axis] for axis in order]).transpose(np.argsort(order))


def _stored_as(letters: str, variant: Variant, w: Array) -> Array | None:
    """Return weights whose buffer is in another order and is read as OIHW."""
    del variant
    if w.ndim != 4:
        return None
    return np.ascontiguousarray(w.transpose([_AXES.index(letter) for letter in letters])).reshape(w.shape)


def _flipped(axes: tuple[int, ...], variant: Variant, w: Array) -> Array | None:
    del variant
    return np.flip(w, axes) if w.ndim == 4 else np.flip(w, -1) if w.ndim == 3 and axes == (-1,) else None


def _turned(variant: Variant, w: Array) -> Array | None:
    """Return a matrix whose buffer is read with rows and columns exchanged, or a kernel that is transposed."""
    del variant
    if w.ndim == 2:
        return np.ascontiguousarray(w).reshape(w.shape[::-1]).T if w.shape[0] != w.shape[1] else w.T
    return w.swapaxes(-1, -2) if w.ndim == 4 and w.shape[-1] == w.shape[-2] else None


def _stored_turned(variant: Variant, w: Array) -> Array | None:
    del variant
    return np.ascontiguousarray(w.T).reshape(w.shape) if w.ndim == 2 and w.shape[0] != w.shape[1] else None


def _filters(variant: Variant) -> int:
    """Return the axis of the weights that counts filters."""
    step = variant.step
    assert isinstance(step, Linear)
    kept = [axis for axis in range(step.w.ndim) if axis not in step.summed and axis - step.w.ndim not in step.summed]
    return kept[0] if kept else 0


def _rolled(by: int, variant: Variant, w: Array) -> Array | None:
    return np.roll(w, by, _filters(variant))


def _unsigned(variant: Variant, w: Array) -> Array | None:
    step = variant.step
    assert isinstance(step, Linear)
    assert step.w.format is not None
    return np.asarray(w.astype(np.int32) & ((1 << step.w.format.word().bits) - 1))


def _bytes_swapped(variant: Variant, w: Array) -> Array | None:
    del variant
    return w.byteswap() if w.dtype.itemsize == 2 else None


def _negated(variant: Variant, w: Array) -> Array | None:
    del variant
    return -w.astype(np.int32)


def _element(by: int, variant: Variant, w: Array) -> Array | None:
    del variant
    return np.roll(w.reshape(-1), by).reshape(w.shape)


def _symmetric(variant: Variant, w: Array) -> Array | None:
    step = variant.step
    assert isinstance(step, Linear)
    assert step.w.format is not None
    return np.maximum(w, -step.w.format.word().most).astype(w.dtype)


def _rounded(rounding: Rounding, variant: Variant) -> Variant | None:
    step = variant.step
    if not isinstance(step, Linear) or step.w.value is None or step.w.format is None or step.w.stored is not None:
        return None
    codes = quantize(step.w.value, fraction_bits_of(step.w.format, step.w.ndim), step.w.format.word(rounding.value))
    return None if np.array_equal(codes, variant.operands[1]) else variant.with_operand(1, codes)


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""

    def one(name: str, sentence: str, rank: int, change: Callable[[Variant, Array], Array | None]) -> Hypothesis:
        return Hypothesis(f"weights:{name}", sentence, rank, partial(_changed, change), is_structural=True)

    for letters in _ORDERS:
        rank = 66 if letters in ("OHWI", "HWIO") else 84
        yield one(f"read_as_{letters}", f"weights in OIHW that are read as {letters}", rank, partial(_read_as, letters))
        yield one(
            f"stored_as_{letters}", f"weights in {letters} that are read as OIHW", rank, partial(_stored_as, letters)
        )
    flips = (((-1,), "columns", "left to right"), ((-2,), "rows", "upside down"), ((-2, -1), "both", "on both axes"))
    for axes, name, words in flips:
        yield one(f"flipped_{name}", f"kernels that are flipped {words}", 67, partial(_flipped, axes))
    yield one("transposed", "weights with rows and columns exchanged", 68, _turned)
    yield one("stored_transposed", "weights that are stored with rows and columns exchanged", 68, _stored_turned)
    yield one("unsigned", "weights that are read as unsigned", 69, _unsigned)
    yield one("byte_order", "weights whose bytes are swapped", 69, _bytes_swapped)
    yield one("negated", "weights of the other sign", 70, _negated)
    yield one("symmetric", "weights without their least code", 70, _symmetric)
    for by, words in ((-1, "the next filter"), (1, "the filter before")):
        yield one(f"filter{-by:+d}", f"{words} in place of each filter", 72, partial(_rolled, by))
        yield one(f"element{-by:+d}", "weights that are read one element off", 73, partial(_element, by))
    for rounding in Rounding:
        sentence = f"weights that are rounded {rounding}"
        yield Hypothesis(f"constants:{rounding}", sentence, 61, partial(_rounded, rounding), is_structural=True)
