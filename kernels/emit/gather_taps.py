"""The code of `kernels.encode.GatherTaps`."""

from ..encode import GatherTaps
from ..isa import Isa
from .loops import Arguments, counted
from .vector import I32, I64, INTEGERS, LANES, Value, load_scalar

_LANE_BYTES = 4


def emit(spec: GatherTaps, isa: Isa, a: Arguments) -> None:
    """Build the kernel: one tap of one channel after the other."""
    items = _LANE_BYTES // spec.itemsize
    step = 1 if spec.dense else items
    with counted(a.vectors) as v:
        channels = a.last.where((v + 1).equals(a.vectors), LANES)
        with counted(channels) as lane:
            w = a.w + (v * LANES + lane) * a.filter
            y = a.y + v * a.taps * (LANES * _LANE_BYTES) + lane * _LANE_BYTES
            with counted(a.taps) as t:
                offsets = [load_scalar(a.offsets + (t * step + i) * 8, I64) for i in range(step)]
                target = y + t * (LANES * _LANE_BYTES)
                if spec.dense:
                    load_scalar(w + offsets[0] * spec.itemsize, I32).store(target)
                else:
                    for i, offset in enumerate(offsets):
                        _item(spec, w, offset).store(target + i * spec.itemsize)


def _item(spec: GatherTaps, w: Value, offset: Value) -> Value:
    is_kept = offset >= 0
    value = load_scalar(w + offset.at_least(0) * spec.itemsize, INTEGERS[spec.itemsize])
    return value.where(is_kept, 0)
