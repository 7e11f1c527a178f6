"""The code of `kernels.packing.Move`."""

from ..isa import Isa
from ..packing import Move
from .loops import Arguments, counted
from .vector import I8, load

_STEP = 64


def emit(spec: Move, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    vectors = a.size.divided_by(_STEP)
    with counted(a.planes) as k:
        x, y = a.x + k * a.plane, a.y + k * a.plane
        with counted(vectors) as i:
            load(x + i * _STEP, I8, _STEP).store(y + i * _STEP)
        with counted(a.size, vectors * _STEP) as i:
            load(x + i, I8, 1).store(y + i)
