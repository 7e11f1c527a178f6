"""The code of `kernels.integer_product.PackColumns`."""

from ..integer_product import PackColumns
from ..isa import Isa
from .loops import Arguments, counted
from .memory import Variable
from .vector import I8, I16, I32, LANES, Value, first_lanes, interleaved, load, load_lanes, zeros

_TAP = 4  # bytes
_VECTOR = LANES * _TAP


def emit(spec: PackColumns, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    whole = a.length.divided_by(_TAP)
    taps = (a.length + (_TAP - 1)).divided_by(_TAP)
    with counted(a.end, a.first) as v:
        left = a.columns - v * LANES
        place = _Place(spec, a, a.x + v * LANES, a.y + v * a.y_vector, left)
        with a.b.if_else((left >= LANES).v) as (every_lane, some_lanes):
            with every_lane:
                with counted(whole) as t:
                    place.pack(t, is_whole=True)
                with counted(taps, whole) as t:
                    place.pack(t, is_whole=False)
            with some_lanes, counted(taps) as t:
                place.pack(t, is_whole=False)
        place.total.get().store(a.sums + v * _VECTOR)


class _Place:
    """A vector of columns."""

    def __init__(self, spec: PackColumns, a: Arguments, x: Value, y: Value, left: Value) -> None:
        self.spec, self.a, self.x, self.y, self.left = spec, a, x, y, left
        self.total = Variable(zeros(a.b, I32))

    def pack(self, t: Value, *, is_whole: bool) -> None:
        """Build the packing of a tap; those at the edges have rows or columns that do not exist, which are 0."""
        rows = [self._row(t * _TAP + i, is_whole) for i in range(_TAP)]
        total = self.total.get()
        for row in rows:
            total = total + row.widened(I32)
        self.total.put(total)
        nothing = rows[0].like(0)
        if self.spec.form == "bytes":
            interleaved(rows).store(self.y + t * _VECTOR)
            return
        target = self.y + t * (2 * _VECTOR)
        if self.spec.form == "halves":
            vectors = [[rows[0], nothing, rows[2], nothing], [nothing, rows[1], nothing, rows[3]]]
        else:
            vectors = [[row.widened(I16) for row in rows[i::2]] for i in range(2)]
        for i, parts in enumerate(vectors):
            interleaved(parts).store(target + i * _VECTOR)

    def _row(self, k: Value, is_whole: bool) -> Value:
        address = self.x + k * self.a.columns
        if is_whole:
            row = load(address, I8)
            return row if self.spec.signed else row ^ -128
        mask = first_lanes(self.left.where(k < self.a.length, 0), LANES)
        row = load_lanes(address, I8, mask)
        return row if self.spec.signed else (row ^ -128).where(mask, 0)
