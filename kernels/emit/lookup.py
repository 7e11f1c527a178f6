"""The code of `kernels.elementwise.Lookup`."""

from ..elementwise import Lookup
from ..isa import Isa
from .loops import Arguments, counted, each_row
from .memory import Array
from .vector import I64, STORED


def emit(spec: Lookup, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    first = 0 if spec.source == "u8" else 32768
    table = Array(a.table, STORED[spec.target])
    with each_row(a, "x", "y") as (x, y):
        source, target = Array(x, STORED[spec.source]), Array(y, STORED[spec.target])
        with counted(a.items) as i:
            code = source.get(i).widened(I64, signed=spec.source != "u8")
            target.put(i, table.get(code + first))
            if spec.counts:
                flags = Array(a.flags, STORED[spec.target])
                Array(y + a.y_flags, STORED[spec.target]).put(i, flags.get(code + first))
