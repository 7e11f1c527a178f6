"""The code of `kernels.chunks.TapBounds`."""

from ..chunks import TapBounds
from ..isa import Isa
from .loops import Arguments, counted
from .memory import Variable
from .vector import I8, I16, I64, LANES, Value, load, zeros

_LANE_BYTES = 4


def emit(spec: TapBounds, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    items, element = _LANE_BYTES // spec.itemsize, I8 if spec.itemsize == 1 else I16
    low, high = a.low.splat(LANES), a.high.splat(LANES)
    largest = Variable(zeros(a.b, I64))
    with counted(a.sets) as s, counted(a.taps) as t:
        largest.put(zeros(a.b, I64))
        with counted(a.vectors) as v:
            place = (s * a.vectors + v) * a.taps + t
            weights = load(a.w + place * (LANES * _LANE_BYTES), element, LANES * items)
            most = least = low.like(0)
            for i in range(items):
                w = weights.picked(range(i, LANES * items, items)).widened(I64)
                most, least = most + _larger(w * high, w * low), least + _larger(w * high * -1, w * low * -1)
            for i, bound in enumerate((most.at_least(0), least.at_least(0))):
                bound.store(a.bounds + (((s * a.taps + t) * 2 + i) * a.vectors + v) * (8 * LANES))
                total = a.totals + ((s * 2 + i) * a.vectors + v) * (8 * LANES)
                (load(total, I64) + bound).store(total)
                largest.put(_larger(largest.get(), bound))
        _largest_lane(largest.get()).store(a.most + (s * a.taps + t) * 8)


def _larger(a: Value, b: Value) -> Value:
    return a.at_least(b)


def _largest_lane(v: Value) -> Value:
    lanes = LANES
    while lanes > 1:
        lanes //= 2
        v = _larger(v.picked(range(lanes)), v.picked(range(lanes, 2 * lanes)))
    return v.lane(0)
