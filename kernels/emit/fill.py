"""The code of `kernels.packing.Fill`."""

from ..isa import Isa
from ..packing import Fill
from .loops import Arguments, counted
from .memory import Array
from .vector import I8, I16, I32

_ELEMENTS = {1: I8, 2: I16, 4: I32}


def emit(spec: Fill, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    element = _ELEMENTS[spec.itemsize]
    with counted(a.planes) as k:
        target = Array(a.y + k * a.y_plane, element)
        with counted(a.items) as i:
            target.put(i, a.code.truncated(element))
