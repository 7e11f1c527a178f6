"""The code of `kernels.register_dot.Spread`."""

from ..isa import Isa
from ..register_dot import Spread
from .loops import Arguments, counted
from .memory import Array
from .vector import I8, I16, I32, I64

_TYPES = {"i8": I8, "u8": I8, "i16": I16, "u16": I16, "i32": I32}


def emit(spec: Spread, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    element, is_signed = _TYPES[spec.element], spec.element[0] == "i"
    itemsize = int(spec.element[1:]) // 8
    table = Array(a.table, I64)
    with counted(a.end, a.first) as plane:
        source = Array(a.x + plane * a.size * itemsize, element)
        target = Array(a.y + plane * a.count * 4, I32)
        with counted(a.count) as i:
            place = table.get(i)
            value = source.get(place.at_least(0)).widened(I32, signed=is_signed)
            target.put(i, value.like(0).where(place < 0, value))
