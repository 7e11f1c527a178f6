"""The bias of a linear operator in C: what a register holds before the first product.

A constant bias is computed here, with the constant of a rounding inside of the register, and reduced to what the
register holds. A computed one is brought from its own codes to the units of the register by a kernel, once for each
element, before the sums: to the word of biases, where it saturates, then to the fraction bits of the products, then to
those of the register.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.epilogue import MOST_SHIFT, epilogue
from qengine.deploy.c.ir import Argument, Call, Scratch
from qengine.deploy.c.lowering import Context, NotExportable
from qengine.deploy.c.lowerings.linear.loop_nests import broadcast_strides
from qengine.deploy.c.lowerings.linear.sums import Sums
from qengine.kernels.reference.register import moved
from qengine.kernels.reference.word import Word, wrap

Array = NDArray[Any]

_I32, _I64 = np.dtype(np.int32), np.dtype(np.int64)
_LOOPS = ("outer", "middle", "inner")
_MOST_MOVED = 1 << 62


@dataclass(frozen=True)
class Bias:
    """The array that sums begin with.

    Attributes
    ----------
    shape : shape that broadcasts against the output.
    dtype : element type.
    argument : array that the kernel of the sums gets; None where sums begin with 0.
    calls : calls that compute it.
    """

    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = _I32
    argument: Argument = None
    calls: tuple[Call, ...] = ()


def bias_of(context: Context, sums: Sums) -> Bias:
    """Return the bias of a step.

    Raises
    ------
    NotExportable
        If 64 bits do not hold it.
    """
    b = sums.step.b
    return _constant(context, sums) if b is None or b.value is not None else _computed(context, sums)


def _constant(context: Context, sums: Sums) -> Bias:
    bias = sums.rules.bias
    start = np.asarray(0 if bias is None else bias).astype(object)
    if sums.in_order:
        start = moved(start, sums.rules.cut, sums.rules.rule.rounding)
    start = np.asarray(start + sums.half.astype(object), object)
    if sums.stops is not None:
        start = np.asarray(np.clip(start, *sums.stops), object)
    if sums.wrapped_bits is not None:
        start = wrap(start, sums.wrapped_bits, signed=True)
    if not start.size or not start.any():
        return Bias()
    dtype = _dtype_of(int(start.min()), int(start.max()))
    name = "" if sums.step.b is None else f"'{sums.step.b.name}' in units of the sums"
    return Bias(start.shape, dtype, context.constant("bias", start.astype(dtype), name or "constant of the rounding"))


def _dtype_of(least: int, most: int) -> np.dtype[Any]:
    if max(-least - 1, most) >= 1 << 63:
        raise NotExportable("its bias needs more than 64 bits: give it a format with fewer fraction bits")
    return _I32 if max(-least - 1, most) < 1 << 31 else _I64


def _computed(context: Context, sums: Sums) -> Bias:
    b = sums.step.b
    assert b is not None
    tensor, table = context.tensors[b.name], _Stages.of(sums)
    table.check(b.name, tensor.ends)
    shape = np.broadcast_shapes(sums.step.bias_shape, table.shape)
    axes = [axis for axis, n in enumerate(shape) if n != 1]
    own = _in_shape(tensor.shape, tensor.strides, sums.step.bias_shape)
    strides = [
        [(*(0,) * (len(shape) - len(one)), *one)[axis] for axis in axes]
        for one in (own, broadcast_strides(table.shape, len(shape)))
    ]
    lengths = [shape[axis] for axis in axes]
    apart = max(0, len(axes) - len(_LOOPS))
    numbers: dict[str, Any] = table.numbers(sums)
    inside = [(1, 0, 0)] * len(_LOOPS) + list(zip(lengths, *strides, strict=True))
    for name, (length, step, shift_step) in zip(_LOOPS, inside[-len(_LOOPS) :], strict=True):
        numbers |= {name: length, f"{name}_b": step, f"{name}_shift": shift_step}
    dtype = _start_dtype(sums)
    scratch = Scratch(dtype, prod(shape))
    constant = context.constant("bias_shifts", table.codes, "bits dropped, three times; 1 + the bit that is added")
    size, calls = prod(lengths[apart:]), []
    for count, place in enumerate(product(*map(range, lengths[:apart]))):
        at, shift_at = (sum(i * n for i, n in zip(place, one, strict=False)) for one in strides)
        arguments = (tensor, constant, scratch)
        calls.append(
            Call("bias", {"b": tensor.dtype, "y": dtype}, arguments, numbers, (at, 4 * shift_at, count * size))
        )
    return Bias(shape, dtype, scratch, tuple(calls))


def _start_dtype(sums: Sums) -> np.dtype[Any]:
    """Return the type of a computed bias in units of the sums."""
    least, most = sums.start_ends
    return _I32 if max(-least - 1, most) < 1 << 31 else _I64


@dataclass(frozen=True)
class _Stages:
    """Shifts of a computed bias on its way to the sums.

    Attributes
    ----------
    held : bits dropped from its own word to that of biases.
    brought : bits dropped to the units of the products: none, or fewer than none.
    cut : bits dropped to the units of the register.
    added : 1 + the bit that is added for a rounding; 0 for none.
    """

    held: Array
    brought: Array
    cut: Array
    added: Array

    @classmethod
    def of(cls, sums: Sums) -> _Stages:
        """Return those of a step."""
        assert sums.step.b is not None
        rule, product_bits = sums.rules.bias_rule, np.asarray(sums.rules.product_bits)
        own = np.asarray(rule.fraction_bits if isinstance(rule.fraction_bits, int) else product_bits - rule.shift)
        cut = np.asarray(sums.rules.cut if sums.in_order else 0)
        added = np.array([int(v).bit_length() for v in sums.half.ravel().tolist()]).reshape(sums.half.shape)
        return cls(*np.broadcast_arrays(sums.step.b.fraction_bits - own, own - product_bits, cut, added))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the table."""
        return self.held.shape

    @property
    def codes(self) -> Array:
        """The table: four numbers for each channel."""
        stages = (self.held, self.brought, self.cut, self.added)
        return np.stack([np.clip(s, -MOST_SHIFT, MOST_SHIFT) for s in stages], axis=-1).astype(np.int8)

    def numbers(self, sums: Sums) -> dict[str, Any]:
        """Return the numbers of the roundings and of the ends of the words."""
        rule, least, most = sums.rules.bias_rule, -(1 << 63), (1 << 63) - 1
        low, high = sums.stops or (least, most)
        return {
            "held": epilogue(Word(16, True, str(rule.rounding)), 0),
            "cut": epilogue(Word(16, True, str(sums.rules.rule.rounding)), 0),
            "least": max(-(1 << (rule.bits - 1)), least),
            "most": min((1 << (rule.bits - 1)) - 1, most),
            "low": max(low, least),
            "high": min(high, most),
        }

    def check(self, name: str, ends: tuple[int, int]) -> None:
        """Refuse a bias that leaves 62 bits on its way."""
        largest, size = 0, max(1, *map(abs, ends))
        for stage in (self.held, self.brought, self.cut):
            size <<= max(0, -int(stage.min()))
            largest = max(largest, size)
        if max(largest, 1 << int(self.added.max())) >= _MOST_MOVED:
            raise NotExportable(
                f"bias '{name}' needs more than 62 bits on its way to the sums: give it a format whose fraction bits "
                "are closer to theirs"
            )


def _in_shape(shape: tuple[int, ...], strides: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a tensor reshaped to a shape that has only axes of length 1 more or less."""
    given = [s for n, s in zip(shape, strides, strict=True) if n != 1]
    assert [n for n in shape if n != 1] == [n for n in wanted if n != 1], (shape, wanted)
    left = iter(given)
    return tuple(0 if n == 1 else next(left) for n in wanted)
