"""The code of `kernels.packing.Fill`."""

from ..isa import Isa
from ..packing import Fill
from .loops import Arguments, counted
from .memory import Array
from .vector import INTEGERS


def emit(spec: Fill, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    element = INTEGERS[spec.itemsize]
    with counted(a.planes) as k:
        target = Array(a.y + k * a.y_plane, element)
        with counted(a.items) as i:
            target.put(i, a.code.truncated(element))
