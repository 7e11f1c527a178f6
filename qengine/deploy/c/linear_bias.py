"""The bias of a linear operator in C: what a register holds before the first product.

A constant bias is computed here, with the constant of a rounding inside of the register, and reduced to what the
register holds. A computed one is brought from its own codes to the units of the register by a kernel, once for each
element, before the sums: to the word of biases, where it saturates, then to the fraction bits of the products, then to
those of the register.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.epilogue import MOST_SHIFT, epilogue
from qengine.deploy.c.ir import Argument, Call, Scratch
from qengine.deploy.c.linear_nests import broadcast_strides
from qengine.deploy.c.linear_sums import Sums
from qengine.deploy.c.lowering import Context, NotExportable
from qengine.kernels.reference.register import moved
from qengine.kernels.reference.word import Word, wrap

Array = NDArray[Any]

_I32, _I64 = np.dtype(np.int32), np.dtype(np.int64)
_LOOPS = 3  # of the kernel
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
    step, rules, rule = sums.step, sums.rules, sums.rules.bias_rule
    assert step.b is not None
    b, product_bits = context.tensors[step.b.name], np.asarray(rules.product_bits)
    own = np.asarray(rule.fraction_bits if isinstance(rule.fraction_bits, int) else product_bits - rule.shift)
    cut = np.asarray(rules.cut if sums.in_order else 0)
    added = np.array([int(v).bit_length() for v in sums.half.ravel().tolist()]).reshape(sums.half.shape)
    stages = np.broadcast_arrays(step.b.fraction_bits - own, own - product_bits, cut, added)
    _check(sums, stages[0], stages[1], cut)
    table_shape = stages[0].shape
    table = np.stack([np.clip(s, -MOST_SHIFT, MOST_SHIFT) for s in stages], axis=-1).astype(np.int8)
    constant = context.constant("bias_shifts", table, "bits dropped, three times; 1 + the bit that is added")
    least, most = sums.bias_ends
    dtype = _I32 if max(-least, most) << max(0, -int(cut.min())) < 1 << 30 and not added.any() else _I64
    shape = np.broadcast_shapes(step.bias_shape, table_shape)
    scratch = Scratch(dtype, int(np.prod(shape)))
    own_strides = _in_shape(step.b.shape, b.strides, step.bias_shape)
    ndim = len(shape)
    own_strides = (*(0,) * (ndim - len(own_strides)), *own_strides)
    shifts = broadcast_strides(table_shape, ndim)
    numbers: dict[str, Any] = {
        "held": epilogue(Word(16, True, str(rule.rounding)), 0),
        "cut": epilogue(Word(16, True, str(rules.rule.rounding)), 0),
        "least": max(-(1 << (rule.bits - 1)), -(1 << 63)),
        "most": min((1 << (rule.bits - 1)) - 1, (1 << 63) - 1),
    }
    calls, types = [], {"b": b.dtype, "y": dtype}
    inner = max(0, ndim - _LOOPS)
    lengths = (*(1,) * (_LOOPS - ndim), *shape)[-_LOOPS:]
    moves_b = (*(0,) * (_LOOPS - ndim), *own_strides)[-_LOOPS:]
    moves_s = (*(0,) * (_LOOPS - ndim), *shifts)[-_LOOPS:]
    for axis, name in enumerate(("outer", "middle", "inner")):
        numbers |= {name: lengths[axis], f"{name}_b": moves_b[axis], f"{name}_shift": moves_s[axis]}
    size = int(np.prod(lengths))
    for count, place in enumerate(product(*(range(n) for n in shape[:inner]))):
        at = [sum(i * s for i, s in zip(place, strides, strict=False)) for strides in (own_strides, shifts)]
        part = Scratch(dtype, size, count * size * dtype.itemsize)
        calls.append(Call("bias", types, (b, constant, part), numbers, (at[0], 4 * at[1], 0)))
    return Bias(shape, dtype, scratch, tuple(calls))


def _in_shape(shape: tuple[int, ...], strides: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a tensor reshaped to a shape that has only axes of length 1 more or less."""
    given = [s for n, s in zip(shape, strides, strict=True) if n != 1]
    assert [n for n in shape if n != 1] == [n for n in wanted if n != 1], (shape, wanted)
    left = iter(given)
    return tuple(0 if n == 1 else next(left) for n in wanted)


def _check(sums: Sums, held: Array, brought: Array, cut: Array) -> None:
    """Refuse a bias that leaves 64 bits on its way to the units of the register."""
    step = sums.step
    assert step.b is not None
    ends = sums.context.tensors[step.b.name].ends
    code = max(1, *map(abs, ends)) << max(0, -int(held.min()))
    word = min(code, 1 << (sums.rules.bias_rule.bits - 1))
    product_units = word << max(0, -int(brought.min()))
    register = product_units << max(0, -int(cut.min()))
    if max(code, product_units, register) >= _MOST_MOVED:
        raise NotExportable(
            f"bias '{step.b.name}' needs more than 62 bits on its way to the sums: give it a format whose "
            "fraction bits are closer to theirs"
        )
