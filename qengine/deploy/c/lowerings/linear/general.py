"""Linear operators of every form, word, register and order in memory, by general loops.

See `linear_loops` for the loops, `linear_sums` for types and registers, and `linear_bias` for the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.epilogue import epilogue
from qengine.deploy.c.ir import Argument, Call, Constant, CTensor, Operation
from qengine.deploy.c.lowering import Context, NotExportable, lowers
from qengine.deploy.c.lowerings.linear.bias import Bias, bias_of
from qengine.deploy.c.lowerings.linear.loop_nests import Operands, broadcast_strides, nests_of, too_many_windows
from qengine.deploy.c.lowerings.linear.loops import MOST_LANES, WINDOWS, Nest, PlacedNest
from qengine.deploy.c.lowerings.linear.overlaps import nest_overlap
from qengine.deploy.c.lowerings.linear.sums import Sums, table_of
from qengine.model.graph import NO_ACTIVATION
from qengine.model.steps import Linear, Tensor

Array = NDArray[Any]

_NO_BIAS = np.dtype(np.int32)


@lowers(Linear, first=200)
def lower_linear(context: Context) -> Operation:
    """Return the calls of a general kernel."""
    step: Linear = context.step
    if too_many_windows(step):
        raise NotExportable(
            f"it is a convolution over {len(step.x.shape) - 2} axes, and C has kernels for up to {WINDOWS}: split it"
        )
    if 0 in step.shape:
        return context.operation()
    if context.bound_step.arithmetic is None:
        return _of_integers(context)
    sums = Sums(context)
    lowering = _Lowering(context, sums, bias_of(context, sums))
    nests = _nests(context, lowering.bias.shape, sums.shifts.shape)
    calls = [
        call
        for i, nest in enumerate(nests)
        for call in lowering.calls(nest, f"phase{i}" if len(nests) > 1 else "weights")
    ]
    return context.operation(
        *lowering.bias.calls,
        *calls,
        overlap=_overlap(context, calls),
        macs=sum(nest.macs for nest in nests),
        comments=sums.comments,
    )


def _nests(context: Context, bias: tuple[int, ...], shifts: tuple[int, ...]) -> list[Nest]:
    """Return the loops of a step, simplified."""
    step: Linear = context.step
    x, w, ndim = context.operand(step.x), context.operand(step.w), len(step.shape)
    at = Operands(
        broadcast_strides(step.x.shape, step.x.ndim) if x is None else x.strides,
        context.y.strides,
        () if w is None else w.strides,
        None if step.w.value is None else step.w.elements,
        broadcast_strides(bias, ndim),
        broadcast_strides(shifts, ndim),
    )
    return [nest.simplified() for nest in nests_of(step, at)]


def _overlap(context: Context, calls: Sequence[Call]) -> tuple[int | None, ...]:
    """Return how far the output may be written onto the input, which only the sums read."""
    step = context.step
    x = context.operand(step.x)
    others = [t.name for t in step.operands[1:]]
    return tuple(nest_overlap(calls) if t is x and t.name not in others else None for t in context.reads)


def _input(context: Context) -> CTensor | Constant:
    x: Tensor = context.step.x
    return context.operand(x) or context.constant("input", x.elements, f"'{x.name}', {x.format}")


def _weights(context: Context, array: Array | None, role: str) -> CTensor | Constant:
    w: Tensor = context.step.w
    if array is None:
        return context.tensors[w.name]
    array = array if array.size else np.zeros(1, array.dtype)
    return context.constant(role, array, f"'{w.name}', {w.format or w.dtype}")


def _dtype(argument: CTensor | Constant) -> np.dtype[Any]:
    return argument.dtype if isinstance(argument, CTensor) else argument.array.dtype


@dataclass(frozen=True)
class _Lowering:
    context: Context
    sums: Sums
    bias: Bias

    def calls(self, nest: Nest, role: str) -> list[Call]:
        """Return the calls that compute a part of the output."""
        sums, context = self.sums, self.context
        side_by_side = sums.in_order or nest.is_side_by_side
        array, strides = nest.w.ordered(nest.weights_order(side_by_side))
        placed = PlacedNest(nest, strides, side_by_side)
        x, w, (shifts, cuts) = self._x, _weights(context, array, role), self._tables
        types = {
            "x": _dtype(x),
            "w": _dtype(w),
            "b": self.bias.dtype,
            "s": sums.dtype,
            "a": sums.wide,
            "y": context.y.dtype,
        }
        struct: dict[str, Any] = {
            "epilogue": self._epilogue,
            "kept": sums.wrapped_bits or 0,
            "has_bias": self.bias.argument is not None,
            "has_shifts": shifts is not None,
            "block": min(placed.lane.count, MOST_LANES),
        }
        kernel = "linear_rows" if side_by_side else "linear_dot"
        more: dict[str, Any] = {}
        tables: tuple[Constant | None, ...] = (shifts,)
        if sums.in_order:
            kernel, tables = "linear_register", (shifts, cuts)
            more = {"accumulator": sums.register | {"has_cuts": cuts is not None}}
        found = []
        for numbers, (x_at, w_at, y_at, bias_at, shift_at) in placed.calls():
            arguments = (x, w, self.bias.argument, *tables, context.y)
            starts = (x_at, w_at, bias_at, *(shift_at if table is not None else 0 for table in tables), y_at)
            found.append(Call(kernel, types, arguments, {"sums": struct | {"nest": numbers}} | more, starts))
        return found

    @cached_property
    def _x(self) -> CTensor | Constant:
        return _input(self.context)

    @cached_property
    def _tables(self) -> tuple[Constant | None, Constant | None]:
        sums = self.sums
        return (
            table_of(self.context, "shifts", sums.shifts, "bits that the sums of each channel drop"),
            table_of(self.context, "cuts", sums.cuts, "bits that the products of each channel drop"),
        )

    @cached_property
    def _epilogue(self) -> Any:
        out, activation = self.context.out, self.context.step.activation or NO_ACTIVATION
        bounds = out.encode_bound(activation.low), out.encode_bound(activation.high)
        return epilogue(self.sums.word, int(self.sums.shifts.flat[0]), *bounds)


def _of_integers(context: Context) -> Operation:
    """Return the product of integers without formats: the low bits of its sums."""
    step: Linear = context.step
    if step.activation is not None:
        raise NotExportable("it bounds a product of integers: give its tensors formats")
    bias: Argument = None
    if step.b is not None:
        bias = context.operand(step.b) or context.constant("bias", step.b.elements, f"'{step.b.name}'")
    y = context.y
    dtype = np.dtype(f"u{y.dtype.itemsize}") if y.dtype.itemsize >= 4 else np.dtype(np.uint32)
    calls = []
    shape = () if step.b is None else step.bias_shape
    (nest,) = _nests(context, shape, ())
    array, strides = nest.w.ordered(nest.weights_order(False))
    x, w = _input(context), _weights(context, array, "weights")
    types = {"x": _dtype(x), "w": _dtype(w), "b": _NO_BIAS if bias is None else _dtype(bias), "s": dtype, "y": y.dtype}  # type: ignore[arg-type]
    for numbers, (x_at, w_at, y_at, bias_at, _) in PlacedNest(nest, strides, False).calls():
        bits = 8 * y.dtype.itemsize if y.dtype.kind == "i" else 0
        given: dict[str, Any] = {"nest": numbers, "has_bias": bias is not None, "bits": bits}
        calls.append(Call("integer_product", types, (x, w, bias, y), given, (x_at, w_at, bias_at, y_at)))
    return context.operation(*calls, macs=nest.macs)
