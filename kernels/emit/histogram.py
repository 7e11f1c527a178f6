"""The code of `kernels.histogram.Count`.

Vectors of numbers become the indices of their counters, a buffer full at a time; then the counters are incremented one
after the other. All of this is done on the bits of the numbers: the index of a bin is the mantissa without its last
bits. A number that is 0, not finite, or not to be counted has a counter of its lane, so that many zeros do not wait for
each other.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from ..histogram import Count, lanes_used
from ..isa import Isa
from ..reference.histogram import BINS, INFINITE_BITS, LARGEST_BITS, LOG_BINS, SIDE
from .loops import Arguments, counted, each_plane
from .memory import Array, Variable, aligned_room
from .vector import F32, I32, I64, LANES, Value, constant, load, load_scalar, zeros

_MAGNITUDE = 0x7FFFFFFF
_MANTISSA_BITS = 23
_BIAS = 127
_BUFFERED = 64  # vectors of indices in the buffer


class _State:
    """Ranges as vectors, and the extremes that the kernel finds."""

    def __init__(self, a: Arguments) -> None:
        self._address = a.state
        self.limit, self.lower, exponent = (
            load_scalar(a.state + 8 * i, I64).truncated(I32).splat(LANES) for i in range(3)
        )
        # A number of the exponent field f keeps its mantissa but for this number of bits, less f.
        self.dropped = exponent + (_MANTISSA_BITS - LOG_BINS + _BIAS)
        # Several calls may share the memory: each continues where the one before ended.
        self._extremes = [Variable(load_scalar(a.state + 8 * i, F32).splat(LANES)) for i in (3, 4)]
        for i, one in enumerate(self._extremes):
            one.put(load_scalar(a.state + 8 * (3 + i), F32).splat(LANES))
        self._tops = Variable(zeros(a.b, F32))

    def begin(self, tops: Value) -> None:
        """Begin a plane, with the address of its magnitudes."""
        self._tops.put(load(tops, F32))

    def end(self, tops: Value) -> None:
        """Write the magnitudes of a plane."""
        self._tops.get().store(tops)

    def add(self, x: Value, used: Value) -> None:
        """Take the extremes of numbers in some lanes."""
        least, most = self._extremes
        least.put(least.get().at_most(x.where(used, least.get())))
        most.put(most.get().at_least(x.where(used, most.get())))
        magnitude = (x.bits(I32) & _MAGNITUDE).bits(F32)
        self._tops.put(self._tops.get().at_least(magnitude.where(used, 0.0)))

    def store(self) -> None:
        """Write what was found."""
        for i, one in enumerate(self._extremes):
            lanes = one.get()
            best = lanes.lane(0)
            for lane in range(1, LANES):
                other = lanes.lane(lane)
                best = best.at_most(other) if i == 0 else best.at_least(other)
            best.store(self._address + 8 * (3 + i))


def emit(spec: Count, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    state, counters = _State(a), Array(a.counters, I64)
    buffer = aligned_room(a.b, _BUFFERED * LANES * 4)
    indices = Array(buffer, I32)
    lanes = Value(a.b, ir.Constant(ir.VectorType(I32, LANES), list(range(LANES))))
    in_pixel = Value(a.b, ir.Constant(ir.VectorType(I32, LANES), [lane % spec.block for lane in range(LANES)]))
    with _each_plane(a, state) as (k, plane), counted(a.rows) as r:
        row, items = plane + r * a.x_row, a.width * spec.block
        # A pixel of the last block has room for more channels than there are. Each vector has whole pixels.
        is_channel = in_pixel < (a.channels - k * spec.block).at_most(spec.block).truncated(I32).splat(LANES)
        used = lanes_used(spec.block)
        is_used = Value(a.b, a.b.and_(is_channel.v, (lanes < used).v))
        whole = (items + (used - LANES)).divided_by(used)
        with counted((whole + (_BUFFERED - 1)).divided_by(_BUFFERED)) as part:
            first = part * _BUFFERED
            count = (whole - first).at_most(_BUFFERED)
            with counted(count) as v:
                x = load(row + (first + v) * (4 * used), F32)
                _indices(state, x, is_used, lanes).store(buffer + v * (4 * LANES))
            _increment(counters, indices, count * LANES)
        rest = items - whole * used
        with a.b.if_then((rest > 0).v):
            is_there = Value(a.b, a.b.and_(is_channel.v, (lanes < rest.truncated(I32).splat(LANES)).v))
            x = _loaded(row + whole * (4 * used), rest)
            _indices(state, x, is_there, lanes).store(buffer)
            _increment(counters, indices, constant(a.b, LANES))
    state.store()


@contextmanager
def _each_plane(a: Arguments, state: _State) -> Iterator[tuple[Value, Value]]:
    """Build the loops over planes; yields the number of the block and the address of the plane."""
    with each_plane(a, "x") as (k, (plane,)):
        tops = a.tops + k * (4 * LANES)
        state.begin(tops)
        yield k, plane
        state.end(tops)


def _increment(counters: Array, indices: Array, count: Value) -> None:
    with counted(count) as i:
        place = indices.get(i).widened(I64)
        counters.put(place, counters.get(place) + 1)


def _loaded(address: Value, count: Value) -> Value:
    """Return the first `count` of sixteen numbers, and zeros."""
    b = address.b
    cell = Variable(Value(b, ir.Constant(ir.VectorType(F32, LANES), None)))
    cell.put(Value(b, ir.Constant(ir.VectorType(F32, LANES), None)))
    with counted(count) as i:
        number = load_scalar(address + i * 4, F32)
        cell.put(Value(b, b.insert_element(cell.get().v, number.v, i.truncated(I32).v)))
    return cell.get()


def _indices(state: _State, x: Value, is_there: Value, lanes: Value) -> Value:
    """Return the indices of the counters of numbers."""
    b, bits = x.b, x.bits(I32)
    magnitude = bits & _MAGNITUDE
    is_finite = magnitude < LARGEST_BITS
    state.add(x, Value(b, b.and_(is_there.v, is_finite.v)))
    field = magnitude >> _MANTISSA_BITS
    mantissa = magnitude & ((1 << _MANTISSA_BITS) - 1)
    is_normal = field > 0
    mantissa = (mantissa | (1 << _MANTISSA_BITS)).where(is_normal, mantissa)
    dropped = (state.dropped - field.where(is_normal, 1)).at_least(0).at_most(31)
    bins = mantissa.shift_right_logical(dropped)
    index = bins.where(bins > 0, field + BINS) + (bits.shift_right_logical(31) * SIDE)
    within = Value(b, b.and_((magnitude < state.limit).v, (magnitude >= state.lower).v))
    dummies = lanes + (2 * SIDE)
    index = index.where(within, dummies + 3 * LANES)
    index = index.where(is_finite, (dummies + LANES).where(magnitude > INFINITE_BITS, dummies + 2 * LANES))
    index = dummies.where(magnitude.equals(0), index)
    return index.where(is_there, dummies + 3 * LANES)
