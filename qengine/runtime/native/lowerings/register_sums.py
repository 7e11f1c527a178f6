"""Lowering of linear steps whose sums are computed in order, in a register that saturates or cuts products.

The taps of a sum are at fixed distances from its first one in a copy of the input that has the padding, and for a
transposed convolution the zeros between elements. These distances and the matrix of the filters are all that a kernel
needs, so that every kind of linear step is lowered alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.epilogue import LANES
from qengine.kernels.reference.linear import spread_out
from qengine.kernels.reference.register import RegisterSums
from qengine.kernels.reference.window import pad_spatial
from qengine.kernels.register_dot import NUMBERS, RegisterDot, Spread
from qengine.model.graph import NO_ACTIVATION
from qengine.model.steps import Linear
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.forms import ChannelScale, Convolution, MatrixProduct, TransposedConvolution
from qengine.runtime.native.broadcast_op import ExactNumbers
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.broadcast import exact_op
from qengine.runtime.native.op import Op
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, constant_buffer

_MAX_TILE = 4
_NARROW = 1 << 30
_NARROW_SHIFT, _MAX_SHIFT = 30, 60
_MAX_SUM = 1 << 60
_ANY_SUM = (1 << 31) - 1
_SHIFT_ROUNDINGS = ("tflite", "ruy")
"""Roundings that look at the number of bits that are dropped, which bringing channels to one shift would change."""

Table = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Geometry:
    """Places of the factors of all sums.

    Attributes
    ----------
    planes, table : number of planes of the input, and the source of each element of a plane's copy, -1 for a 0.
    places : (places, 3) distances in the copy of x, in the weights and in y of each place of the output.
    groups : (groups, 3) distances that a group of channels adds to them.
    offsets : (taps,) distances of the taps in the copy of x.
    channels : number of channels of a group.
    y_step : distance of two channels in y.
    """

    planes: int
    table: Table
    places: Table
    groups: Table
    offsets: Table
    channels: int
    y_step: int


@lowers_plain(Linear)
def lower_in_order(context: PlainContext[Linear]) -> Lowered:
    """Lower sums in order; all others have lowerings of their own."""
    step, out = context.step, context.out
    if out.format is None or step.x.format is None:
        raise NotLowered("a linear step on plain buffers")
    rules = Accumulation(step, out, context.arithmetic)
    if not rules.in_order:
        raise NotLowered("sums that need no order, on plain buffers")
    if step.b is not None and step.b.value is None:
        raise NotLowered("sums in order with a computed bias")
    return _lowered(context, rules)


def _lowered(context: PlainContext[Linear], rules: Accumulation) -> Lowered:
    step, out, word = context.step, context.out, context.arithmetic.word(context.out.one_format)
    sums, half = rules.register_sums(rules.bias, rules.bound), np.asarray(rules.register_half)
    shift, finest = np.ravel(rules.shift), int(np.max(rules.shift))
    if shift.size > 1 and shift.min() != shift.max() and word.rounding in _SHIFT_ROUNDINGS:
        raise NotLowered(f"sums in order with shifts of each channel, rounded {word.rounding}")
    limit = (_largest_sum(sums) + int(np.max(half, initial=0))) << int(finest - shift.min())
    if sums.dtype == object or limit >= _MAX_SUM:
        raise NotLowered("sums in order of more than 60 bits")
    geometry = _GEOMETRIES[type(step.product)](step)
    ops: list[Op] = []
    weights, count = _packed_weights(context, rules, geometry, ops)
    numbers, groups = _numbers(sums, half, finest - shift, rules, geometry, count)
    is_wide = _is_wide(rules, sums, numbers)
    offsets, pairs = _in_order(geometry.offsets, sums), not is_wide and _has_pairs(step, sums)
    if pairs:
        weights, offsets = _paired(weights, offsets)
    source = context.request(step.x)
    copy = TensorBuffer.flat(f"{step.x.name} spread", geometry.planes * len(geometry.table), "i32")
    ops.append(_spread_op(context, source, copy, geometry.planes, prod(step.x.shape), geometry.table))
    target = TensorBuffer.flat(f"{out.name} (sums)", prod(out.shape), "i64")
    tile = _tile(geometry.channels)
    register = sums.register
    spec = RegisterDot(
        tile,
        1 if is_wide else max(context.isa.registers // (3 * tile), 1),
        is_wide,
        register.saturates and register.bits is not None,
        register.is_cast and register.saturates and register.bits is not None,
        register.rounding if np.any(np.asarray(sums.shift) > 0) else "",
        bool(np.any(np.asarray(sums.shift) < 0)),
        pairs,
    )
    size = 64 if is_wide else 32
    scalars = {
        "least": register.least if spec.saturates else 0,
        "most": register.most if spec.saturates else 0,
        "dropped": size - register.bits if register.bits is not None and register.bits < size else 0,
    }
    tables = [_of_words(t, geometry, offsets, pairs) for t in (geometry.places, groups)] + [offsets]
    at_places, at_groups, at_offsets = (int(t.ctypes.data) for t in tables)
    given = constant_buffer(numbers.astype(np.int64 if is_wide else np.int32), "numbers")

    def arguments(part: Part) -> dict[str, Address]:
        x, w, n = part.inputs
        return {
            **{"x": x, "w": w, "y": part.outputs[0], "numbers": n, "at_places": at_places, "groups": at_groups},
            **{"group_count": len(groups), "vectors": count // tile, "taps": len(offsets)},
            **{"offsets": at_offsets, "first": part.first, "end": part.end},
            **{"channels": geometry.channels, "y_step": geometry.y_step, **scalars},
        }

    macs = len(geometry.places) * len(groups) * count * LANES * len(geometry.offsets)
    work = macs / (2.0 if is_wide else 16.0 if pairs else 8.0)
    op = PlainOp(context.isa, (copy, weights, given), target, spec, arguments, len(geometry.places), work)
    for table in tables:
        op.address_of(table)
    activation = step.activation or NO_ACTIVATION
    bounds = {"low": out.encode_bound(activation.low), "high": out.encode_bound(activation.high)}
    end = exact_op(context, "add", [(target, out)], out, ExactNumbers(word, finest, (0,), **bounds), limit)
    return Lowered.by(*ops, op, end)


def _largest_sum(sums: RegisterSums) -> int:
    bits = sums.register.bits
    return sums.magnitude if bits is None else min(sums.magnitude, 1 << (bits - 1))


def _is_wide(rules: Accumulation, sums: RegisterSums, numbers: NDArray[Any]) -> bool:
    """Whether 32 bits may not hold a sum, a product, or a sum of both, before it stops at a rail or wraps."""
    register = sums.register
    left, right = (int(np.max(sign * np.asarray(sums.shift), initial=0)) for sign in (-1, 1))
    product = max(rules.largest_product, 1) << left
    start, half = (int(np.abs(numbers[..., NUMBERS.index(name), :]).max(initial=0)) for name in ("start", "half"))
    if right > _MAX_SHIFT:
        raise NotLowered(f"products that are cut by {right} bits")
    if right > _NARROW_SHIFT or half >= _NARROW:
        return True
    if register.bits is None:
        return sums.magnitude >= _NARROW
    if not register.saturates:  # arithmetic is modulo 2^32
        return register.bits > 32 or product >= 2 * _NARROW or (bool(np.any(sums.shift)) and product >= _NARROW)
    return max(product, start) >= _NARROW or register.bits > 31


def _has_pairs(step: Linear, sums: RegisterSums) -> bool:
    """Whether sums may be computed without order where their magnitudes leave room, by products of 16 bits."""
    word, register = step.x.one_format.word(), sums.register
    return bool(
        register.saturates
        and register.bits is not None
        and step.w.value is not None
        and step.taps > 0
        and not np.any(sums.shift)
        and sums.magnitude < 1 << 31
        and max(word.most, -word.least, int(np.abs(step.w.codes.astype(np.int64)).max(initial=0))) < 1 << 15
    )


def _paired(weights: TensorBuffer, offsets: Table) -> tuple[TensorBuffer, Table]:
    """Return weights (..., taps, 16) of an even number of taps, two taps in a word, and the offsets of these taps."""
    assert weights.elements is not None
    odd = len(offsets) % 2
    w = weights.elements.view(np.int32).astype(np.int16).reshape(-1, len(offsets), LANES)
    w = np.pad(w, [(0, 0), (0, odd), (0, 0)])
    pairs = np.stack([w[:, 0::2], w[:, 1::2]], axis=-1)
    return constant_buffer(pairs.view(np.int32), "weights"), np.append(offsets, offsets[:odd])


def _of_words(table: Table, geometry: Geometry, offsets: Table, pairs: bool) -> Table:
    """Return a table of distances with those of the weights in words of one or two taps."""
    table, taps = np.array(table, np.int64), max(len(geometry.offsets), 1)
    if pairs:
        table[:, 1] = table[:, 1] // taps * (len(offsets) // 2)
    return table


def _tile(channels: int) -> int:
    vectors = -(-channels // LANES)
    return _MAX_TILE if vectors > 2 else vectors


def _in_order(offsets: Table, sums: RegisterSums) -> Table:
    return np.ascontiguousarray(offsets if sums.order is None else offsets[sums.order])


def _packing_table(channels: int, taps: int, order: NDArray[np.intp] | None, *, by_rows: bool) -> tuple[Table, int]:
    """Return the place of each element of packed weights in (channels, taps), or else (taps, channels), or -1.

    Packed weights are (vectors, taps in order, 16); also returns the number of vectors.
    """
    tile = _tile(channels)
    vectors = -(-channels // (LANES * tile)) * tile
    k = np.arange(taps) if order is None else order
    m = np.arange(vectors * LANES).reshape(vectors, 1, LANES)
    at = m * taps + k[:, None] if by_rows else k[:, None] * channels + m
    return np.where(m < channels, at, -1).astype(np.int64).ravel(), vectors


def _packed_weights(
    context: PlainContext[Linear], rules: Accumulation, geometry: Geometry, ops: list[Op]
) -> tuple[TensorBuffer, int]:
    """Return the weights (group, vectors, taps, 16) as int32, packed when a plan is made or by an op of each run."""
    step, taps = context.step, len(geometry.offsets)
    form: Any = step.product
    order = form.channels_last(step.w.shape) if rules.rule.order == "channels_last" else None
    if step.w.value is not None:
        filters = form.filters(step.w.codes).astype(np.int64)
        if filters.size and max(-int(filters.min()), int(filters.max())) >= 1 << 31:
            raise NotLowered("weights of more than 32 bits")
        table, vectors = _packing_table(geometry.channels, taps, order, by_rows=True)
        planes = filters.reshape(-1, geometry.channels * taps)
        packed = np.where(table < 0, 0, planes[:, table.clip(0)]).astype(np.int32)
        return constant_buffer(packed, "weights"), vectors
    if not isinstance(form, MatrixProduct):
        raise NotLowered("sums in order with computed weights, but those of matrices")
    table, vectors = _packing_table(geometry.channels, taps, order, by_rows=form.transposed_w or step.w.ndim == 1)
    source = context.request(step.w)
    planes = prod(step.w.shape) // max(geometry.channels * taps, 1)
    buffer = TensorBuffer.flat(f"{step.w.name} packed", planes * len(table), "i32")
    ops.append(_spread_op(context, source, buffer, planes, prod(step.w.shape), table))
    return buffer, vectors


def _spread_op(
    context: PlainContext[Linear], x: TensorBuffer, out: TensorBuffer, planes: int, size: int, table: Table
) -> PlainOp:
    """Return the op that copies planes by a table."""
    at, plane = int(table.ctypes.data), size // max(planes, 1)

    def arguments(part: Part) -> dict[str, Address]:
        places = {"x": part.inputs[0], "y": part.outputs[0], "first": part.first, "end": part.end}
        return {**places, "size": plane, "count": len(table), "table": at}

    op = PlainOp(context.isa, (x,), out, Spread(x.stored), arguments, planes, 2.0 * planes * len(table))
    op.address_of(table)
    return op


def _numbers(
    sums: RegisterSums,
    half: NDArray[Any],
    align: NDArray[np.int64],
    rules: Accumulation,
    geometry: Geometry,
    vectors: int,
) -> tuple[NDArray[np.int64], Table]:
    """Return the numbers (groups, vectors, 6, 16) of the channels, and the table of the groups with their places."""
    shift = np.asarray(sums.shift)
    rooms = _rooms(sums, rules, len(geometry.groups) * geometry.channels)
    each = (sums.start, np.maximum(shift, 0), np.maximum(-shift, 0), half, align, rooms)
    groups, channels = len(geometry.groups), geometry.channels
    numbers = np.zeros((groups, vectors * LANES, len(each)), np.int64)
    for i, row in enumerate(each):
        flat = np.ravel(row)
        if flat.size not in (1, groups * channels, channels):
            raise NotLowered("sums in order with a bias that differs from row to row")
        shape = (groups, channels) if flat.size == groups * channels else (1, flat.size)
        numbers[:, :channels, i] = flat.reshape(shape)
    packed = numbers.reshape(groups, vectors, LANES, len(each)).swapaxes(2, 3)
    places = np.arange(groups) * (vectors * len(each) * LANES)
    return packed, np.ascontiguousarray(np.column_stack([geometry.groups, places]).astype(np.int64))


def _rooms(sums: RegisterSums, rules: Accumulation, channels: int) -> NDArray[np.int64]:
    """Return the largest sum of magnitudes of each channel with which its sums stay within the rails."""
    register, start = sums.register, np.ravel(sums.start)
    if register.bits is None or not register.saturates:
        return np.zeros(1, np.int64)
    may_overflow: NDArray[np.bool_] = np.ravel(rules.may_overflow)
    if may_overflow.size != channels or start.size not in (1, channels):  # filters of several matrices
        may_overflow = np.array([may_overflow.any()])
    room = np.where(may_overflow, np.maximum(register.most - np.abs(start), -1), _ANY_SUM)
    return np.minimum(room, _ANY_SUM).astype(np.int64)


def _strides(shape: tuple[int, ...]) -> list[int]:
    return [prod(shape[i + 1 :]) for i in range(len(shape))]


def _grid(sizes: tuple[int, ...], steps: list[int]) -> Table:
    """Return the distances of all places of some axes."""
    found = np.zeros((), np.int64)
    for n, step in zip(sizes, steps, strict=True):
        found = found[..., None] + np.arange(n, dtype=np.int64) * step
    return found.ravel()


def _of_windows(
    step: Linear, table: NDArray[Any], kernel: tuple[int, ...], *, strides: Any, dilations: Any
) -> Geometry:
    """Return the geometry of windows over planes whose copy a table describes."""
    form: Any = step.product
    (batch, channels, *_), (_, filters, *out), plane = step.x.shape, step.shape, table.size
    own, group = _strides(table.shape), form.group
    inputs, outputs, pixels = channels // group, filters // group, prod(out)
    x = _grid((batch, *out), [channels * plane, *(s * t for s, t in zip(own, strides, strict=True))])
    y = _grid((batch, pixels), [filters * pixels, 1])
    offsets = _grid((inputs, *kernel), [plane, *(s * d for s, d in zip(own, dilations, strict=True))])
    vectors = _packing_table(outputs, 0, None, by_rows=True)[1]
    g = np.arange(group)[:, None] * np.array([inputs * plane, vectors * len(offsets) * LANES, outputs * pixels])
    places = np.column_stack([x, np.zeros_like(x), y])
    return Geometry(batch * channels, table.ravel().astype(np.int64), places, g, offsets, outputs, pixels)


def _of_convolution(step: Linear) -> Geometry:
    form: Any = step.product
    size = step.x.shape[2:]
    numbered = np.arange(1, prod(size) + 1).reshape(1, 1, *size)
    table = pad_spatial(numbered, form.pads, 0)[0, 0] - 1
    return _of_windows(step, table, step.w.shape[2:], strides=form.strides, dilations=form.dilations)


def _of_transposed(step: Linear) -> Geometry:
    form: Any = step.product
    size, kernel = step.x.shape[2:], step.w.shape[2:]
    numbered = np.arange(1, prod(size) + 1).reshape(1, 1, *size)
    spread, around = spread_out(numbered, kernel, form.strides, form.dilations, form.pads, form.output_padding)
    table = pad_spatial(spread, around, 0)[0, 0] - 1
    return _of_windows(step, table, kernel, strides=(1,) * len(size), dilations=form.dilations)


def _of_scale(step: Linear) -> Geometry:
    form: Any = step.product
    axis = form.axis % step.x.ndim
    outer, channels, inner = prod(step.x.shape[:axis]), step.x.shape[axis], prod(step.x.shape[axis + 1 :])
    x = _grid((outer, inner), [channels * inner, 1])
    vectors = _packing_table(1, 1, None, by_rows=True)[1]
    groups = np.arange(channels)[:, None] * np.array([inner, vectors * LANES, inner])
    places = np.column_stack([x, np.zeros_like(x), x])
    return Geometry(1, np.arange(outer * channels * inner), places, groups, np.zeros(1, np.int64), 1, 1)


def _of_matrices(step: Linear) -> Geometry:
    form: Any = step.product
    x_shape = step.x.shape[::-1] if form.transposed_x else step.x.shape
    w_shape = step.w.shape[::-1] if form.transposed_w else step.w.shape
    x_shape = (1, *x_shape) if len(x_shape) == 1 else x_shape
    w_shape = (*w_shape, 1) if len(w_shape) == 1 else w_shape
    stack = np.broadcast_shapes(x_shape[:-2], w_shape[:-2])
    rows, taps = x_shape[-2:]
    columns = w_shape[-1]
    row, tap = (1, rows) if form.transposed_x else (taps, 1)
    vectors = _packing_table(columns, 0, None, by_rows=True)[1]
    x = _stacked(x_shape[:-2], stack, rows * taps)[:, None] + np.arange(rows) * row
    w = np.repeat(_stacked(w_shape[:-2], stack, vectors * taps * LANES)[:, None], rows, axis=1)
    y = np.arange(prod(stack) * rows).reshape(-1, rows) * columns
    places = np.column_stack([a.ravel() for a in (x, w, y)]).astype(np.int64)
    offsets = np.arange(taps, dtype=np.int64) * tap
    table = np.arange(prod(step.x.shape))
    return Geometry(1, table, places, np.zeros((1, 3), np.int64), offsets, columns, 1)


def _stacked(own: tuple[int, ...], stack: tuple[int, ...], size: int) -> Table:
    """Return the distance of each matrix of a stack that a smaller one is broadcast to."""
    at = np.arange(prod(own), dtype=np.int64).reshape(own) * size
    return np.broadcast_to(at, stack).ravel()


_GEOMETRIES: dict[type, Callable[[Linear], Geometry]] = {
    Convolution: _of_convolution,
    TransposedConvolution: _of_transposed,
    ChannelScale: _of_scale,
    MatrixProduct: _of_matrices,
}
