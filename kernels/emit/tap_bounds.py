"""The code of `kernels.chunks.TapBounds`."""

from ..chunks import TapBounds
from ..isa import Isa
from .loops import Arguments, counted
from .vector import I8, I16, I64, LANES, Value, load

_LANE_BYTES = 4


def emit(spec: TapBounds, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    items, element = _LANE_BYTES // spec.itemsize, I8 if spec.itemsize == 1 else I16
    low, high = a.low.splat(LANES), a.high.splat(LANES)
    with counted(a.vectors) as v, counted(a.taps) as t:
        weights = load(a.w + (v * a.taps + t) * (LANES * _LANE_BYTES), element, LANES * items)
        most = least = low.like(0)
        for i in range(items):
            w = weights.picked(range(i, LANES * items, items)).widened(I64)
            most, least = most + _larger(w * high, w * low), least + _larger(w * high * -1, w * low * -1)
        for i, bound in enumerate((most, least)):
            bound.at_least(0).store(a.bounds + ((t * 2 + i) * a.vectors + v) * (8 * LANES))


def _larger(a: Value, b: Value) -> Value:
    return a.at_least(b)
