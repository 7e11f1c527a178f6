"""Functions of rows: Softmax, LogSoftmax and normalizations, by the exact integers of the runtime."""

from __future__ import annotations

from math import isqrt, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.epilogue import epilogue
from qengine.deploy.c.ir import Argument, Call, Constant, CTensor, Operation, Parameters
from qengine.deploy.c.lowering import Context, NotExportable, accumulator, lowers
from qengine.deploy.c.lowerings.rows.powers import power_numbers, power_words
from qengine.deploy.c.lowerings.rows.row_axes import RowAxes, row_axes
from qengine.kernels.reference.normalization_fixed import MAX_OFFSET, Z_BITS
from qengine.kernels.reference.softmax_fixed import LOG_BITS, POWER_BITS, log_of_sum, log_table, power_table
from qengine.model.steps import Rows, Tensor
from qengine.model.steps.row_forms import SoftmaxOver, Standardized, offset_of_constant

Array = NDArray[Any]

_MOST_UP = 30
_MOST_QUOTIENT = 60
_INT32 = 1 << 31


def _of(form: type) -> Any:
    return lambda context: isinstance(context.step.function, form)


@lowers(Rows, _of(SoftmaxOver))
def lower_softmax(context: Context) -> Operation:
    """Return Softmax or LogSoftmax: powers from a table, their sum, and a quotient or a difference."""
    step, y = context.step, context.y
    form, x = step.function, context.tensors[step.x.name]
    if not x.size:
        return context.operation()
    rank = len(x.shape)
    in_row = range(form.axis, rank) if form.coerced else (form.axis,) if rank else ()
    axes = row_axes(x.shape, in_row, ((x.shape, x.strides), (y.shape, y.strides)))
    length = prod(x.shape[axis] for axis in in_row)
    n = step.x.fraction_bits
    powers = power_table(n, step.x.one_format.bits)
    furthest = x.ends[1] - x.ends[0]
    powers = powers[: furthest + 1]
    table = context.constant(
        "powers", power_words(powers, n), f"e^-(d 2^-{n}) 2^30 for distances d up to {len(powers) - 1}"
    )
    numbers: dict[str, Any] = {
        "rows": axes.counts(),
        "x": axes.strides(0),
        "y": axes.strides(1),
        "power": power_numbers(powers, n),
    }
    types = {"x": x.dtype, "y": y.dtype}
    comment = f"{length} powers of up to 2^{POWER_BITS} are summed in 64 bits"
    if form.logarithm:
        numbers |= _logarithm(context, n, furthest, length)
        logarithms = context.constant("logarithms", log_table(), f"ln 2, and ln of 1 to 2, times 2^{LOG_BITS}")
        call = Call("log_softmax", types, (x, table, logarithms, y), {"row": numbers})
    else:
        own = _quotient(context, context.out.fraction_bits)
        numbers["quotient"] = own
        types["a"] = np.dtype(np.int32 if own["up"] + own["more"] <= 28 else np.int64)  # type: ignore[operator]
        call = Call("softmax", types, (x, table, y), {"row": numbers})
    return context.operation(call, overlap=overlap(axes, context, x, y), comments=(comment,))


def _quotient(context: Context, fraction_bits: int) -> Parameters:
    up, down = max(fraction_bits, 0), max(-fraction_bits, 0)
    if up > _MOST_QUOTIENT:
        raise NotExportable(
            f"its output has {up} fraction bits, and C divides up to {_MOST_QUOTIENT}: give it a format with fewer"
        )
    word = context.arithmetic.word(context.out.one_format).unshifted
    # With 2 bits or more the quotient of a row is below a half, and rounds as with 2.
    return {
        "up": min(up, _MOST_UP),
        "more": max(up - _MOST_UP, 0),
        "down": min(down, 2),
        "epilogue": epilogue(word, 2),
    }


def _logarithm(context: Context, n: int, furthest: int, length: int) -> dict[str, Any]:
    finest = max(LOG_BITS, n)
    most = int(log_of_sum(np.array([length << POWER_BITS], np.int64))[0]) + 1
    bound = (furthest << (finest - n)) + (most << (finest - LOG_BITS))
    shift = finest - context.out.fraction_bits
    accumulator(bound, shift)  # 64 bits have to hold it
    return {"distance_up": finest - n, "log_up": finest - LOG_BITS, "epilogue": context.epilogue(shift)}


def overlap(axes: RowAxes, context: Context, x: CTensor, y: CTensor) -> tuple[int | None, ...]:
    """Return where the output may lie: on the input, where rows are read and written one after the other."""
    fits = (
        axes.is_one_run(0)
        and axes.is_one_run(1)
        and y.dtype.itemsize <= x.dtype.itemsize
        and context.bound_step.reads.count(x.name) == 1
    )
    return tuple(0 if fits and t is x else None for t in context.reads)


@lowers(Rows, _of(Standardized))
def lower_normalization(context: Context) -> Operation:
    """Return a normalization: exact sums, the reciprocal root of each row, then gain and offset."""
    step, y = context.step, context.y
    form, x = step.function, context.tensors[step.x.name]
    if not x.size:
        return context.operation()
    gain, offset = (*step.parameters, None, None)[:2]
    given = [_parameter(context, form, t) for t in (gain, offset)]
    axes = row_axes(form.view, form.axes, ((x.shape, x.strides), (y.shape, y.strides), *given))
    scale = form.scale(step.x)
    bits = Z_BITS + (0 if gain is None else gain.fraction_bits)
    sources = (_gain(context, gain), _offset(context, offset, bits))
    largest = max(map(abs, x.ends))
    most_z = (isqrt(max(form.length, 1)) + 1 << Z_BITS) + (1 << Z_BITS - 16)
    bounds = {
        "s": max(form.length * largest * largest, form.length * largest),
        "c": 2 * scale.count * largest,
        "z": most_z,
    }
    products = most_z * (1 if gain is None else _largest(context, gain))
    accumulator(products + (0 if offset is None else MAX_OFFSET), 0)
    types = {
        "x": x.dtype,
        "g": x.dtype if gain is None else _type(sources[0]),
        "b": x.dtype if offset is None else _type(sources[1]),
        "y": y.dtype,
        **{name: np.dtype(np.int32 if bound < _INT32 else np.int64) for name, bound in bounds.items()},
    }
    computed = offset is not None and offset.value is None
    row = {
        "rows": axes.counts(),
        "x": axes.strides(0),
        "y": axes.strides(1),
        "gain": axes.strides(2),
        "offset": axes.strides(3),
        "scale": {
            "count": scale.count,
            "count_bits": scale.count.bit_length(),
            "reciprocal": scale.reciprocal,
            "exponent": scale.exponent,
            "epsilon": scale.epsilon,
        },
        "centred": scale.centred,
        "has_gain": gain is not None,
        "has_offset": offset is not None,
        "offset_shift": offset.fraction_bits - bits if computed else 0,
        "epilogue": context.epilogue(bits - context.out.fraction_bits),
    }
    call = Call("normalize", types, (x, *sources, y), {"row": row})
    comments = (f"the sum of {form.length} squares is at most {bounds['s']}, of its products with gains {products}",)
    return context.operation(call, overlap=overlap(axes, context, x, y), comments=comments)


def _parameter(context: Context, form: Standardized, t: Tensor | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the view and the strides of a gain or an offset in it: 0 along axes in which it is repeated."""
    if t is None:
        return form.view, (0,) * len(form.view)
    shape = form.parameter_shape or (*(1,) * (len(form.view) - t.ndim), *t.shape)
    plain = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
    computed = context.operand(t)
    if computed is not None and computed.order != tuple(range(t.ndim)):
        raise NotExportable(f"'{t.name}' is computed with its channels last: transpose it, or make it a constant")
    return form.view, tuple(0 if n == 1 else stride for n, stride in zip(shape, plain, strict=True))


def _gain(context: Context, t: Tensor | None) -> Constant | CTensor | None:
    if t is None or t.value is None:
        return None if t is None else context.tensors[t.name]
    return context.constant("gain", t.elements, f"codes of '{t.name}'")


def _offset(context: Context, t: Tensor | None, bits: int) -> Constant | CTensor | None:
    if t is None or t.value is None:
        return None if t is None else context.tensors[t.name]
    whole = offset_of_constant(t, bits)
    narrow = int(np.abs(whole).max(initial=0)) < _INT32
    return context.constant("offset", whole.astype(np.int32 if narrow else np.int64), f"'{t.name}' times 2^{bits}")


def _type(source: Argument) -> np.dtype[Any]:
    assert isinstance(source, Constant | CTensor)
    return source.array.dtype if isinstance(source, Constant) else source.dtype


def _largest(context: Context, t: Tensor) -> int:
    """Return the largest magnitude of the codes of a gain."""
    computed = context.operand(t)
    return int(np.abs(t.elements.astype(np.int64)).max(initial=0)) if computed is None else max(map(abs, computed.ends))
