"""The code of `kernels.quantization.Range`."""

from ..isa import Isa
from ..quantization import Range
from .loops import Arguments, counted
from .memory import Variable
from .vector import F32, LANES, Value, constant, first_lanes, load, load_lanes, zeros

_UNROLLED = 4


def emit(spec: Range, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    with counted(a.end, a.first) as i:
        start = i * a.chunk
        x, count = a.x + start * 4, (a.size - start).at_most(a.chunk)
        vectors = count.divided_by(LANES)
        nothing = zeros(a.b, F32)
        lows, highs, rests = ([Variable(nothing) for _ in range(_UNROLLED)] for _ in range(3))

        def add(v: Value, n: int) -> None:
            lows[n].put(lows[n].get().at_most(v))
            highs[n].put(highs[n].get().at_least(v))
            rests[n].put(rests[n].get() + (v - v))  # 0 of a finite number, else NaN

        groups = vectors.divided_by(_UNROLLED)
        with counted(groups) as g:
            for n in range(_UNROLLED):
                add(load(x + (g * _UNROLLED + n) * (4 * LANES), F32), n)
        with counted(vectors, groups * _UNROLLED) as v:
            add(load(x + v * (4 * LANES), F32), 0)
        done = vectors * LANES
        with a.b.if_then((done < count).v):
            add(load_lanes(x + done * 4, F32, first_lanes(count - done, LANES)), 0)
        low, high, rest = lows[0].get(), highs[0].get(), rests[0].get()
        for n in range(1, _UNROLLED):
            low, high = low.at_most(lows[n].get()), high.at_least(highs[n].get())
            rest = rest + rests[n].get()
        with a.b.if_then(rest.is_nan().any().v, likely=False):
            constant(a.b, 1).store(a.fault)
        y = a.y + i * 8
        (_least(low + rest)).store(y)
        (_least((high + rest) * -1.0) * -1.0).store(y + 4)


def _least(v: Value) -> Value:
    """Return the least lane, NaN where there is one."""
    while v.lanes > 1:
        half = v.lanes // 2
        first, second = v.picked(range(half)), v.picked(range(half, 2 * half))
        v = first.where((first < second) | first.is_nan(), second)
    return v.lane(0)
