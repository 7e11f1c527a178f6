"""The code of `kernels.packing.QuantizeBlocks`."""

from llvmlite import ir

from ..elements import ELEMENT_BYTES
from ..isa import Isa
from ..packing import QuantizeBlocks
from .epilogue import FlaggedCodes
from .loops import Arguments, Storable, counted, each_plane
from .pack import codes_of_floats
from .vector import F32, I32, LANES, Value, load


def emit(spec: QuantizeBlocks, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    lanes = Value(a.b, ir.Constant(ir.VectorType(I32, LANES), list(range(LANES))))
    step = LANES * ELEMENT_BYTES[spec.stored]

    def codes(address: Value, count: Value) -> Storable:
        """Return the codes of a vector; what lies in lanes beyond a count may be NaN and is not read."""
        values = load(address, F32)
        values = values.where(lanes < count.truncated(I32).splat(), 0.0)
        stored, flags = codes_of_floats(spec, a, values)
        return FlaggedCodes(stored, flags, a.y_flags) if spec.counts else stored

    with each_plane(a, "x", "y") as (k, (x, y)), counted(a.rows) as r:
        source, target = x + r * a.x_row, y + r * a.y_row
        last = a.last.where(k.equals(a.blocks - 1), LANES)
        with counted(a.vectors) as v:
            codes(source + v * (LANES * 4), last).store(target + v * step)
        with a.b.if_then((a.rest > 0).v):
            codes(source + a.vectors * (LANES * 4), a.rest).store_first(target + a.vectors * step, a.rest)
