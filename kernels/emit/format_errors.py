"""The code of `kernels.format_errors.FormatErrors`."""

from ..format_errors import FormatErrors
from ..isa import Isa
from ..reference.format_errors import NUMBERS
from .loops import Arguments, counted
from .memory import Variable
from .vector import F32, F64, LANES, Value, load, load_scalar, zeros

_WHOLE = 1.5 * 2.0**52  # added to a number below 2^51 and taken off again, it leaves the nearest integer

_Candidate = list[Value]


def emit(spec: FormatErrors, isa: Isa, a: Arguments) -> None:
    """Build the kernel: rows, then candidates, then vectors, so that a chunk of a row stays in the cache."""
    terms = _cell_terms if spec.source == "cells" else _value_terms
    with counted(a.rows) as r, counted(a.candidates) as k:
        x, table = a.x + r * a.x_row, a.table + r * a.table_row + k * (8 * NUMBERS)
        wide = [load_scalar(table + 8 * i, F64).splat(LANES) for i in range(NUMBERS)]
        sums = [Variable(zeros(a.b, F64)) for _ in range(2)]
        with counted(a.vectors) as v:
            for total, term in zip(sums, terms(spec, a, x, v, wide), strict=True):
                total.put(total.get() + term)
        for i, total in enumerate(sums):
            lanes = total.get()
            whole = lanes.lane(0)
            for lane in range(1, LANES):
                whole = whole + lanes.lane(lane)
            whole.store(a.errors + r * a.errors_row + k * 16 + 8 * i)


def _nearest(x: Value) -> Value:
    return (x + _WHOLE) - _WHOLE


def _value_terms(spec: FormatErrors, a: Arguments, x: Value, v: Value, wide: _Candidate) -> tuple[Value, Value]:
    inverse, step, least, most, lowest, _ = wide
    value = load(x + v * (4 * LANES), F32).doubled() if spec.source == "f32" else load(x + v * (8 * LANES), F64)
    error = value - _nearest((value * inverse).at_least(least).at_most(most)) * step
    magnitude = value.at_least(value.like(0.0) - value)
    beyond = (magnitude + lowest).at_least(0.0)
    return error * error, beyond * beyond


def _cell_terms(spec: FormatErrors, a: Arguments, x: Value, v: Value, wide: _Candidate) -> tuple[Value, Value]:
    inverse, step, last, reach, flat, edge = wide
    low, width, spread, count = (load(x + a.array * i + v * (8 * LANES), F64) for i in range(4))
    center = low + width * 0.5
    error = center - _nearest((center * inverse).at_most(last)) * step
    saturated = low >= reach
    rounded = flat + (edge / width.at_least(step)).where((low + width).equals(reach), 0.0)
    outside = error * error + spread
    term = count * outside.where(saturated, rounded.where(width >= step, outside))
    return term, term.where(saturated, 0.0)
