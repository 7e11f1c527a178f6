"""The code of `kernels.rows.RowPlace`: the extreme of a row, then the place of an element that equals it."""

from ..isa import Isa
from ..rows import RowPlace
from .loops import Arguments
from .rows import Rows, Spot, each_unit, largest, smallest
from .vector import I64, Value


def emit(spec: RowPlace, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    with each_unit(a, spec.element, is_strided=spec.strided) as rows:
        _write_place(spec, a, rows)


def _write_place(spec: RowPlace, a: Arguments, rows: Rows) -> None:
    """Build the place of one row, or of rows side by side."""
    infinity = float("inf")
    start, join = (-infinity, largest) if spec.largest else (infinity, smallest)
    extreme = rows.fold(start, lambda spot: rows.load(a.x, spot), join)
    none = rows.vector(-1.0 if spec.last else infinity)

    def number(spot: Spot) -> Value:
        value = rows.load(a.x, spot)
        index = spot.index.as_floats(rows.kind).splat(none.lanes)
        if not spec.strided:
            index = index + rows.lane_numbers()
        # The extreme is NaN exactly if an element is; then no element equals it.
        return index.where(value.equals(extreme) | value.is_nan(), none)

    place = rows.fold(-1.0 if spec.last else infinity, number, largest if spec.last else smallest)
    rows.write_integers(a.y, place.as_integers(I64))
