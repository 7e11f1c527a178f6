"""Faults of what an operator reads: sign, byte order, channels, position, layout, or the frame before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant
from qengine.model.steps import Combine, Rounded

Array = NDArray[Any]
_ORDINALS = ("first", "second", "third")


def is_code(variant: Variant, index: int) -> bool:
    """Whether an operand is a tensor of codes that a run computes, or the real numbers of an input."""
    operands = variant.step.operands
    if index >= len(operands) or operands[index].value is not None:
        return False
    return operands[index].format is not None or isinstance(variant.step, Rounded)


def _changed(index: int, change: Callable[[Variant, Array], Array | None], variant: Variant) -> Variant | None:
    if not is_code(variant, index):
        return None
    array = variant.operands[index]
    other = change(variant, array)
    if other is None or other.shape != array.shape or np.array_equal(other, array):
        return None
    return variant.with_operand(index, other)


def _other_sign(index: int, variant: Variant, x: Array) -> Array | None:
    bits = variant.step.operands[index].one_format.bits
    if x.dtype.kind == "i":
        return np.asarray(x.astype(np.int32) & ((1 << bits) - 1))
    return np.asarray(x.astype(np.int32) - ((x.astype(np.int32) >> (bits - 1)) << bits))


def _offset_binary(index: int, variant: Variant, x: Array) -> Array | None:
    bits = variant.step.operands[index].one_format.bits
    return x.astype(np.int32) + (1 << (bits - 1)) if x.dtype.kind == "i" else x.astype(np.int32) - (1 << (bits - 1))


def _other_bytes(variant: Variant, x: Array) -> Array | None:
    del variant
    return x.byteswap() if x.dtype.itemsize == 2 else None


def _reversed_channels(variant: Variant, x: Array) -> Array | None:
    del variant
    return np.flip(x, 1) if x.ndim > 1 and x.shape[1] > 1 else None


def _mirrored(axis: int, variant: Variant, x: Array) -> Array | None:
    del variant
    return np.flip(x, axis) if x.ndim > 2 else None


def _moved(axis: int, by: int, fill: str, variant: Variant, x: Array) -> Array | None:
    del variant
    return moved(axis, by, fill, x)


def moved(axis: int, by: int, fill: str, x: Array) -> Array | None:
    """Return an array moved along an axis, with zeros or the other end where nothing was; None for too few axes."""
    if x.ndim < -axis + (axis > -3) or x.shape[axis] < 2 or (axis == -3 and x.ndim < 4):
        return None
    found = np.roll(x, by, axis)
    if fill == "wrap":
        return found
    edge = [slice(None)] * x.ndim
    edge[axis] = slice(0, by) if by > 0 else slice(by, None)
    found[tuple(edge)] = 0
    return found


def _flat_moved(by: int, variant: Variant, x: Array) -> Array | None:
    del variant
    flat = np.roll(x.reshape(-1), by)
    flat[slice(0, by) if by > 0 else slice(by, None)] = 0
    return flat.reshape(x.shape)


def _in_order(order: tuple[int, ...], stored: bool, variant: Variant, x: Array) -> Array | None:
    """Return a tensor whose buffer is read in another order of its axes than it is stored in."""
    del variant
    if x.ndim != len(order) or x.shape.count(1) > x.ndim - 2:
        return None
    if stored:
        return np.ascontiguousarray(x.transpose(order)).reshape(x.shape)
    read = np.ascontiguousarray(x).reshape([x.shape[axis] for axis in order])
    return read.transpose(np.argsort(order))


def _plane_turned(variant: Variant, x: Array) -> Array | None:
    del variant
    return x.swapaxes(-1, -2) if x.ndim == 4 and x.shape[-1] == x.shape[-2] else None


def stale(index: int, variant: Variant) -> Variant | None:
    """Return the variant that reads an operand of the frame before; None where that is not known, or the same."""
    previous = variant.operation.previous
    if index >= len(previous) or not is_code(variant, index):
        return None
    array = previous[index]
    if array is None or array.shape != variant.operands[index].shape:
        return None
    return None if np.array_equal(array, variant.operands[index]) else variant.with_operand(index, array)


def _swapped(variant: Variant) -> Variant | None:
    step = variant.step
    if not isinstance(step, Combine) or step.operation not in ("subtract", "divide", "prelu") or len(step.terms) != 2:
        return None
    return replace(variant, step=replace(step, terms=step.terms[::-1]), operands=variant.operands[::-1])


def _letters(order: tuple[int, ...], names: str) -> str:
    return "".join(names[axis] for axis in order)


def _of_one_operand(index: int) -> Iterator[Hypothesis]:
    key = "input" if index == 0 else f"input{index + 1}"
    what = "an input" if index == 0 else f"a {_ORDINALS[index]} input"
    later = 20 * index

    def one(name: str, sentence: str, rank: int, change: Callable[[Variant, Array], Array | None]) -> Hypothesis:
        whole = f"{what} {sentence}"
        return Hypothesis(f"{key}:{name}", whole, rank + later, partial(_changed, index, change), is_structural=True)

    yield one("sign", "that is read with the other sign", 62, partial(_other_sign, index))
    yield one("offset_binary", "whose codes have half of their range added", 66, partial(_offset_binary, index))
    yield one("byte_order", "whose bytes are swapped", 63, _other_bytes)
    yield one("channels_reversed", "with its channels in reverse order (BGR for RGB)", 64, _reversed_channels)
    yield one("mirrored_rows", "that is upside down", 75, partial(_mirrored, -2))
    yield one("mirrored_columns", "that is mirrored left to right", 75, partial(_mirrored, -1))
    for axis, name in ((-1, "column"), (-2, "row"), (-3, "channel")):
        for by in (1, -1, 2, -2):
            where = f"{abs(by)} {name}{'s' * (abs(by) > 1)} too {'late' if by > 0 else 'early'}"
            for fill, words in (("zero", ""), ("wrap", ", around its end")):
                rank = 70 + 2 * abs(by) + (fill == "wrap") + 4 * (name == "channel")
                change = partial(_moved, axis, by, fill)
                yield one(f"{name}{by:+d}{'_wrapped' * (fill == 'wrap')}", f"that is read {where}{words}", rank, change)
    for by in (1, -1):
        side = "late" if by > 0 else "early"
        yield one(f"element{by:+d}", f"that is read one element too {side}", 80, partial(_flat_moved, by))
    for order in permutations(range(4)):
        if order == (0, 1, 2, 3) or order[0] != 0:
            continue
        letters = _letters(order, "NCHW")
        rank = 74 if letters == "NHWC" else 82
        read, stored = partial(_in_order, order, False), partial(_in_order, order, True)
        yield one(f"read_as_{letters}", f"in NCHW that is read as {letters}", rank, read)
        yield one(f"stored_as_{letters}", f"in {letters} that is read as NCHW", rank, stored)
    for order in permutations(range(3)):
        if order != (0, 1, 2):
            letters = _letters(order, "ABC")
            yield one(
                f"read_as_{letters}", f"whose axes ABC are read as {letters}", 83, partial(_in_order, order, False)
            )
    yield one("turned", "with rows and columns exchanged", 81, _plane_turned)
    sentence = f"{what} of the frame before (a stale buffer)"
    yield Hypothesis(f"{key}:stale", sentence, 65 + later, partial(stale, index), is_structural=True)


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    for index in range(3):
        yield from _of_one_operand(index)
    yield Hypothesis("inputs:swapped", "inputs in the wrong order", 66, _swapped, is_structural=True)
