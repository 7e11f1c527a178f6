"""The code of `kernels.rows.CodeNormalize`: exact sums of a row, a reciprocal root, then each element."""

from __future__ import annotations

from collections.abc import Callable

from ..isa import Isa
from ..reference.normalization_fixed import ROOT_BITS, Z_BITS
from ..rows import CodeNormalize
from .code_rows import CodeEnd, CodeRows, bit_length, each_unit_of_codes, int64_at
from .loops import Arguments, counted
from .memory import Array, aligned_room
from .rows import Spot
from .vector import F64, I32, I64, LANES, Value, constant, load, load_scalar, root

_LIMIT_BITS, _MAX_SHIFT = 61, 62


def emit(spec: CodeNormalize, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    end = CodeEnd(a.numbers + 32, spec.rounding, spec.fitting, spec.target)
    cells = aligned_room(a.b, 4 * 8 * LANES) if spec.strided else None
    with each_unit_of_codes(a, spec.source, is_strided=spec.strided) as rows:
        first, second = _sums(spec, a, rows)
        reciprocal, shift = _factors(a, first, second, cells)
        element = _Element(spec, a, rows, first, reciprocal, shift)
        if spec.gain == "span":
            _write_spans(spec, a, rows, element, end)
        else:
            _write(spec, a, rows, element, end)


def _sums(spec: CodeNormalize, a: Arguments, rows: CodeRows) -> tuple[Value, Value]:
    """Return the sums of the codes, 0 without a mean, and of their squares."""

    def code(place: Spot) -> Value:
        return rows.load(a.x, place).widened(I64)

    def square(place: Spot) -> Value:
        value = code(place)
        return value * value

    nothing = rows.wide(0)
    first = rows.fold(nothing, code, lambda p, q: p + q) if spec.centred else nothing
    return first, rows.fold(nothing, square, lambda p, q: p + q)


def _factors(a: Arguments, first: Value, second: Value, cells: Value | None) -> tuple[Value, Value]:
    """Return the reciprocals and shifts of rows, in all lanes of a row."""
    if cells is None:
        reciprocal, shift = _factor(a, first.lane(0), second.lane(0))
        return reciprocal.splat(), shift.splat()
    size = 8 * LANES
    first.store(cells)
    second.store(cells + size)
    sums, squares, factors, shifts = (Array(cells + size * i, I64) for i in range(4))
    with counted(constant(a.b, LANES)) as lane:
        reciprocal, shift = _factor(a, sums.get(lane), squares.get(lane))
        factors.put(lane, reciprocal)
        shifts.put(lane, shift)
    return load(cells + 2 * size, I64), load(cells + 3 * size, I64)


def _factor(a: Arguments, first: Value, second: Value) -> tuple[Value, Value]:
    """Return the reciprocal of the root of one row, and how far products with it are shifted."""
    count, epsilon, exponent, bits = (int64_at(a.numbers, i) for i in range(4))
    cut = first.divided_by(count)
    mean = cut + (first - cut * count < 0).widened(I64)
    rest = first - mean * count
    t = second - mean * (first + rest)
    k = (bit_length(t) + bit_length(count) - _LIMIT_BITS).at_least(exponent)
    k = k + (k & 1)
    total = count * (t >> k) - ((rest * rest) >> k) + (epsilon >> (k - exponent).at_most(62))
    s = ((constant(a.b, 62) - bit_length(total)) & ~1).at_most(60)
    q = _whole_root(total << s).at_least(1)
    whole = (constant(a.b, 1) << (bits + ROOT_BITS)).divided_by(q)
    shift = bits + (ROOT_BITS - Z_BITS) + ((k - s) >> 1)
    return whole.where(total > 0, constant(a.b, 0)), shift.at_most(_MAX_SHIFT)


def _whole_root(x: Value) -> Value:
    """Return floor(sqrt(x)) of a scalar below 2^62."""
    q = root(x.as_floats(F64)).as_integers(I64)
    q = q + (q * q > x).widened(I64)
    return q + ((q + 1) * (q + 1) <= x).widened(I64, signed=False)


class _Element:
    """The normalized elements of a place; the numbers of the row are brought to vectors once."""

    def __init__(
        self, spec: CodeNormalize, a: Arguments, rows: CodeRows, first: Value, reciprocal: Value, shift: Value
    ) -> None:
        self._spec, self._a, self._rows = spec, a, rows
        count, kind = int64_at(a.numbers, 0), I32 if spec.narrow else I64
        self._count = count.truncated(kind).splat()
        self._first = first.truncated(kind)
        self._reciprocal = reciprocal.truncated(kind).widened(I64)
        self._half, self._shift = shift.like(1) << (shift - 1), shift

    def __call__(self, place: Spot) -> Value:
        """Return the elements, with Z_BITS fraction bits, in 64 bits."""
        code = self._rows.load(self._a.x, place)
        if not self._spec.narrow:
            code = code.widened(I64)
        about = (code * self._count - self._first).widened(I64)
        return (about * self._reciprocal + self._half) >> self._shift


def _scaled(spec: CodeNormalize, z: Value, gain: Value, offset: Value) -> Value:
    """Return z times gains of 32 bits plus offsets."""
    if spec.narrow:
        z = z.truncated(I32).widened(I64)  # so that the product is one of 32 bits
    return z * gain.widened(I64) + offset


def _write(spec: CodeNormalize, a: Arguments, rows: CodeRows, element: Callable[[Spot], Value], end: CodeEnd) -> None:
    """Build the results of a row, with a gain and an offset of each element or none."""

    def write(place: Spot) -> None:
        total = element(place)
        if spec.gain is not None and spec.strided:
            gain, offset = load_scalar(a.gain + place.index * 4, I32), load_scalar(a.offset + place.index * 8, I64)
            total = _scaled(spec, total, gain.splat(), offset.splat())
        elif spec.gain is not None:
            total = _scaled(spec, total, load(a.gain + place.index * 4, I32), load(a.offset + place.index * 8, I64))
        rows.store_codes(a.y, place, end(total), spec.target)

    rows.each(write)


def _write_spans(
    spec: CodeNormalize, a: Arguments, rows: CodeRows, element: Callable[[Spot], Value], end: CodeEnd
) -> None:
    """Build the results of a row of parts that have a gain and an offset each."""
    spans = a.length.divided_by(a.span)
    with counted(spans) as i:
        number = (rows.number * spans + i).modulo(a.gains)
        gain, offset = load_scalar(a.gain + number * 4, I32).splat(), load_scalar(a.offset + number * 8, I64).splat()

        def write(place: Spot) -> None:
            rows.store_codes(a.y, place, end(_scaled(spec, element(place), gain, offset)), spec.target)

        rows.each(write, (i * a.span, a.span))
