"""The code of `kernels.resize.ResizeNearest`."""

from ..isa import Isa
from ..resize import ResizeNearest
from .loops import Arguments, counted, each_plane
from .memory import Array
from .vector import I8, I64, load


def emit(spec: ResizeNearest, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    rows, columns = Array(a.indices, I64), Array(a.offsets, I64)
    with each_plane(a, "x", "y") as (_, (x, y)), counted(a.rows) as r:
        source, target = x + rows.get(r) * a.x_row, y + r * a.y_row
        with counted(a.width) as p:
            load(source + columns.get(p), I8, spec.pixel).store(target + p * spec.pixel)
