"""The code of `kernels.rows.CodeSoftmax`: the largest code of a row, powers and their sum, then exact quotients.

A quotient E 2^n / S is first estimated in float64, at most 1 away; the remainder, in 64 bits, corrects it.
"""

from ..elements import ELEMENT_BYTES
from ..isa import Isa
from ..reference.softmax_fixed import LOG_BITS, LOG_INTERVALS, POWER_BITS
from ..rows import CodeSoftmax
from .code_rows import CodeEnd, CodeRows, bit_length, each_unit_of_codes, int64_at, is_signed
from .loops import Arguments, counted
from .memory import Array, Variable, aligned_room
from .rounding import round_by_rest
from .rows import Spot
from .vector import F64, I32, I64, INTEGERS, LANES, Value, constant, load


def emit(spec: CodeSoftmax, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    end = CodeEnd(a.numbers + 16, spec.rounding, spec.fitting, spec.target)
    sums = aligned_room(a.b, 8 * LANES) if spec.strided and spec.logarithm else None
    with each_unit_of_codes(a, spec.source, is_strided=spec.strided) as rows:
        least = rows.vector(-(1 << 17))
        most = rows.fold(least, lambda place: rows.load(a.x, place), lambda p, q: p.at_least(q))
        total = _side_by_side(spec, a, rows, most) if spec.strided else _one_row(spec, a, rows, most.lane(0))
        if spec.logarithm:
            _write_logarithms(spec, a, rows, most, _logarithms(a, total, sums), end)
        else:
            _write_quotients(spec, a, rows, total, end)


def _power(a: Arguments, distance: Value) -> Value:
    """Return the power of a distance, of 64 bits."""
    return Array(a.table, I32).get(distance.at_most(a.last))


def _one_row(spec: CodeSoftmax, a: Arguments, rows: CodeRows, most: Value) -> Value:
    """Build the powers of a row, one after the other in `scratch`, and return their sum in every lane."""
    codes = Array(a.x + rows.start, INTEGERS[ELEMENT_BYTES[spec.source]])
    powers, total = Array(a.scratch, I32), Variable(constant(a.b, 0))
    with counted(a.length) as i:
        distance = most.widened(I64) - codes.get(i).widened(I64, is_signed(spec.source))
        power = _power(a, distance)
        powers.put(i, power)
        total.put(total.get() + power.widened(I64))
    return total.get().splat()


def _side_by_side(spec: CodeSoftmax, a: Arguments, rows: CodeRows, most: Value) -> Value:
    """Build the powers of 16 rows, 16 for each place of a row, and return the sums."""
    total = Variable(rows.wide(0))

    def write(place: Spot) -> None:
        start = a.scratch + place.index * (4 * LANES)
        (most - rows.load(a.x, place)).where(rows.lanes, 0).store(start)  # type: ignore[arg-type]
        cells = Array(start, I32)
        with counted(constant(a.b, LANES)) as lane:
            cells.put(lane, _power(a, cells.get(lane).widened(I64)))
        total.put(total.get() + load(start, I32).widened(I64))

    del spec
    rows.each(write)
    return total.get()


def _write_quotients(spec: CodeSoftmax, a: Arguments, rows: CodeRows, total: Value, end: CodeEnd) -> None:
    """Build the quotients of the powers and their sum, rounded."""
    up = int64_at(a.numbers, 0).splat()
    divisor = total << int64_at(a.numbers, 1).splat()
    factor = (up.like(1) << up).as_floats(F64) / divisor.as_floats(F64)

    def write(place: Spot) -> None:
        power = _stored_power(spec, a, place)
        estimate = (power.as_floats(F64) * factor).as_integers(I32).widened(I64)
        rest = (power.widened(I64) << up) - estimate * divisor
        below, above = rest < 0, rest >= divisor
        quotient = estimate + below.widened(I64) - above.widened(I64)
        rest = rest + divisor.where(below, 0) - divisor.where(above, 0)
        rows.store_codes(a.y, place, end.in_word(round_by_rest(quotient, rest, divisor, spec.rounding)), spec.target)

    rows.each(write)


def _stored_power(spec: CodeSoftmax, a: Arguments, place: Spot) -> Value:
    """Return the powers of a place, and anything in lanes without an element."""
    return load(a.scratch + place.index * (4 * LANES if spec.strided else 4), I32)


def _logarithms(a: Arguments, total: Value, cells: Value | None) -> Value:
    """Return the logarithms of sums, one number for a row."""
    if cells is None:
        return _logarithm(a, total.lane(0)).splat()
    total.store(cells)
    numbers = Array(cells, I64)
    with counted(constant(a.b, LANES)) as lane:
        # A lane without a row has a sum of any size.
        numbers.put(lane, _logarithm(a, numbers.get(lane).at_least(1 << POWER_BITS)))
    return load(cells, I64)


def _logarithm(a: Arguments, total: Value) -> Value:
    """Return ln(total 2^-30) of a scalar of 2^30 or more."""
    logs = Array(a.logs, I64)
    p = bit_length(total) - (POWER_BITS + 1)
    m = total >> p
    interval = (m >> (POWER_BITS - 8)) - LOG_INTERVALS
    begin = (interval + LOG_INTERVALS) << (POWER_BITS - 8)
    t = ((m - begin) << LOG_BITS).divided_by(begin)
    square = (t * t) >> LOG_BITS
    cube = (square * t) >> LOG_BITS
    series = (t * 6 - square * 3 + cube * 2).divided_by(6)
    return p * logs.get(constant(a.b, 0)) + logs.get(interval + 1) + series


def _write_logarithms(
    spec: CodeSoftmax, a: Arguments, rows: CodeRows, most: Value, logarithms: Value, end: CodeEnd
) -> None:
    """Build the distances and the logarithm of each row, rounded."""
    up, shift = int64_at(a.numbers, 0).splat(), int64_at(a.numbers, 1).splat()
    moved = logarithms << shift

    def write(place: Spot) -> None:
        distance = (rows.load(a.x, place) - most).widened(I64)
        rows.store_codes(a.y, place, end((distance << up) - moved), spec.target)

    rows.each(write)
