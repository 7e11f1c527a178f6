"""The code of `kernels.register_dot.RegisterDot`."""

from ..isa import Isa
from ..register_dot import NUMBERS, RegisterDot
from .loops import Arguments, counted
from .memory import Array, Variable, aligned_room
from .rounding import ShiftRight
from .vector import I32, I64, LANES, Value, load


def emit(spec: RegisterDot, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    element, size = (I64, 8) if spec.wide else (I32, 4)
    offsets, room = Array(a.offsets, I64), aligned_room(a.least.b, 8 * LANES)
    least, most, dropped = (v.truncated(element).splat() for v in (a.least, a.most, a.dropped))

    def held(v: Value) -> Value:
        return v.at_least(least).at_most(most) if spec.saturates else v

    with counted(a.end, a.first) as p, counted(a.group_count) as g:
        place, group = Array(a.places + p * 24, I64), Array(a.groups + g * 32, I64)
        x_at, w_at, y_at = (place.get(a.least.like(i)) + group.get(a.least.like(i)) for i in range(3))
        source = Array(a.x + x_at * 4, I32)
        numbers_of_group = a.numbers + group.get(a.least.like(3)) * size
        with counted(a.vectors) as block:
            vectors = [block * spec.tile + i for i in range(spec.tile)]
            numbers = [numbers_of_group + v * (len(NUMBERS) * LANES * size) for v in vectors]
            loaded = [[load(n + i * LANES * size, element) for i in range(len(NUMBERS))] for n in numbers]
            weights = [a.w + (w_at + v * (a.taps * LANES)) * 4 for v in vectors]
            shifts = [ShiftRight(right, spec.rounding) if spec.rounding else None for _, right, *_ in loaded]
            sums = [Variable(held(start)) for start, *_ in loaded]
            with counted(a.taps) as k:
                x = source.get(offsets.get(k)).widened(element).splat()
                for total, w, shift, (_, _, left, _, _) in zip(sums, weights, shifts, loaded, strict=True):
                    term = x * load(w + k * (4 * LANES), I32).widened(element)
                    if shift is not None:
                        term = shift(shift.with_addend(term))
                    if spec.shifts_left:
                        term = term << left
                    if spec.casts:
                        term = held(term)
                    total.put(held(total.get() + term))
            for total, v, (*_, half, align) in zip(sums, vectors, loaded, strict=True):
                found = total.get()
                if not spec.saturates:
                    found = (found << dropped) >> dropped
                ((found.widened(I64) - half.widened(I64)) << align.widened(I64)).store(room)
                first = v * LANES
                values, target = Array(room, I64), Array(a.y + (y_at + first * a.y_step) * 8, I64)
                with counted((a.channels - first).at_most(LANES)) as lane:
                    target.put(lane * a.y_step, values.get(lane))
