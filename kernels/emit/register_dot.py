"""The code of `kernels.register_dot.RegisterDot`."""

from collections.abc import Callable, Sequence

from ..isa import Isa
from ..register_dot import NUMBERS, RegisterDot
from .loops import Arguments, counted, tile_count
from .memory import Array, Variable, aligned_room
from .products import Products
from .rounding import ShiftRight
from .vector import I16, I32, I64, LANES, Value, load, zeros

_LOW, _HIGH = 0xFFFF, -1 << 16
_CHUNK = 16  # places whose sums are stored together


def emit(spec: RegisterDot, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    room, groups = aligned_room(a.least.b, 8 * LANES * spec.tile * _CHUNK), Array(a.groups, I64)
    chunks = tile_count(a.end - a.first, _CHUNK)
    with counted(a.group_count) as g, counted(a.vectors) as block, counted(chunks) as c:
        group = [groups.get(g * 4 + i) for i in range(4)]
        first = a.first + c * _CHUNK
        count = (a.end - first).at_most(_CHUNK)
        with counted(tile_count(count, spec.places)) as t:
            places = [(t * spec.places + i).at_most(count - 1) for i in range(spec.places)]
            _Tile(spec, isa, a, [first + p for p in places], group, block).emit(
                [room + p * (8 * LANES * spec.tile) for p in places]
            )
        _store_chunk(spec, a, first, count, group[2], block * (spec.tile * LANES), room)


def _store_chunk(
    spec: RegisterDot, a: Arguments, first: Value, count: Value, y: Value, channel: Value, room: Value
) -> None:
    """Build the stores of some places, channel after channel, as two channels of y may be far from each other."""
    table, values, target = Array(a.at_places, I64), Array(room, I64), Array(a.y, I64)
    with counted((a.channels - channel).at_most(LANES * spec.tile)) as c:
        row = y + (channel + c) * a.y_step
        with counted(count) as i:
            target.put(row + table.get((first + i) * 3 + 2), values.get(i * (LANES * spec.tile) + c))


class _Tile:
    """Sums of some places and vectors of channels."""

    def __init__(
        self, spec: RegisterDot, isa: Isa, a: Arguments, places: Sequence[Value], group: Sequence[Value], block: Value
    ) -> None:
        self.spec, self.a = spec, a
        self.element, size = (I64, 8) if spec.wide else (I32, 4)
        self.least, self.most, self.dropped = (v.truncated(self.element).splat() for v in (a.least, a.most, a.dropped))
        self.products, self.offsets = Products(a.b, "s16", isa), Array(a.offsets, I64)
        self.vectors = [block * spec.tile + i for i in range(spec.tile)]
        table = Array(a.at_places, I64)
        at = [[table.get(p * 3 + i) + group[i] for i in range(2)] for p in places]
        taps = a.taps.divided_by(2) if spec.pairs else a.taps
        self.sources = [Array(a.x + x * 4, I32) for x, _ in at]
        self.weights = [[a.w + (w + v * (taps * LANES)) * 4 for v in self.vectors] for _, w in at]
        self.taps = taps
        self.numbers = []
        for v in self.vectors:
            address = a.numbers + group[3] * size + v * (len(NUMBERS) * LANES * size)
            self.numbers.append(
                {name: load(address + i * LANES * size, self.element) for i, name in enumerate(NUMBERS)}
            )

    def emit(self, rooms: Sequence[Value]) -> None:
        """Build the sums and their stores at the addresses for the places."""
        starts = [self._held(numbers["start"]) for numbers in self.numbers] * self.spec.places
        sums = [Variable(start) for start in starts]
        if self.spec.pairs:
            self._by_pairs(sums, starts)
        else:
            self._add_taps(sums)
        for i, total in enumerate(sums):
            place, vector = divmod(i, self.spec.tile)
            self._finished(total.get(), vector).store(rooms[place] + vector * (8 * LANES), align=64)

    def _held(self, v: Value) -> Value:
        return v.at_least(self.least).at_most(self.most) if self.spec.saturates else v

    def _add_taps(self, sums: Sequence[Variable]) -> None:
        """Build the loop that adds one product after the other."""
        spec = self.spec
        shifts = [ShiftRight(n["right"], spec.rounding) if spec.rounding else None for n in self.numbers]
        with counted(self.taps) as k:
            offset, totals = self.offsets.get(k), iter(sums)
            for source, weights in zip(self.sources, self.weights, strict=True):
                x = source.get(offset).widened(self.element).splat()
                for w, shift, numbers in zip(weights, shifts, self.numbers, strict=True):
                    term = x * load(w + k * (4 * LANES), I32).widened(self.element)
                    if shift is not None:
                        term = shift(shift.with_addend(term))
                    if spec.shifts_left:
                        term = term << numbers["left"]
                    if spec.casts:
                        term = self._held(term)
                    total = next(totals)
                    total.put(self._held(total.get() + term))

    def _by_pairs(self, sums: Sequence[Variable], starts: Sequence[Value]) -> None:
        """Build sums without order, and sums in order for tiles of which one may leave the rails."""
        magnitudes = [Variable(zeros(self.a.b, I32)) for _ in sums]

        def add_pair(i: int, x: Value, w: Value) -> None:
            sums[i].put(self.products.add(sums[i].get(), [x], [w]))
            magnitudes[i].put(self.products.add(magnitudes[i].get(), [_magnitude(x)], [_magnitude(w)]))

        self._each_pair(add_pair)
        leaves = None
        for i, magnitude in enumerate(magnitudes):
            found = magnitude.get() > self.numbers[i % self.spec.tile]["room"]
            leaves = found.v if leaves is None else self.a.b.or_(leaves, found.v)
        with self.a.b.if_then(Value(self.a.b, leaves).any().v, likely=False):
            for total, start in zip(sums, starts, strict=True):
                total.put(start)
            nothing = zeros(self.a.b, I32)

            def add_in_order(i: int, x: Value, w: Value) -> None:
                for part in (_LOW, _HIGH):
                    if self.spec.casts:
                        term = self._held(self.products.add(nothing, [x & part], [w]))
                        sums[i].put(self._held(sums[i].get() + term))
                    else:
                        sums[i].put(self._held(self.products.add(sums[i].get(), [x & part], [w])))

            self._each_pair(add_in_order)

    def _each_pair(self, add: Callable[[int, Value, Value], None]) -> None:
        """Build the loop over pairs of taps; `add` adds the products of pairs of inputs and weights to sum i."""
        with counted(self.taps) as k:
            first, second = self.offsets.get(k * 2), self.offsets.get(k * 2 + 1)
            i = 0
            for source, weights in zip(self.sources, self.weights, strict=True):
                x = ((source.get(first) & _LOW) | (source.get(second) << 16)).splat()
                for w in weights:
                    add(i, x, load(w + k * (4 * LANES), I32))
                    i += 1

    def _finished(self, total: Value, vector: int) -> Value:
        numbers = self.numbers[vector]
        if not self.spec.saturates:
            total = (total << self.dropped) >> self.dropped
        return (total.widened(I64) - numbers["half"].widened(I64)) << numbers["align"].widened(I64)


def _magnitude(pairs: Value) -> Value:
    numbers = pairs.bits(I16)
    return numbers.at_least(numbers.like(0) - numbers).bits(I32)
