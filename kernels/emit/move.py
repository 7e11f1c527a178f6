"""The code of `kernels.packing.Move`."""

from ..isa import Isa
from ..packing import Move
from .loops import Arguments, counted
from .vector import I8, load

_COPY_BYTES = 64


def emit(spec: Move, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    vectors = a.size.divided_by(_COPY_BYTES)
    with counted(a.planes) as k:
        x, y = a.x + k * a.plane, a.y + k * a.plane
        with counted(vectors) as i:
            load(x + i * _COPY_BYTES, I8, _COPY_BYTES).store(y + i * _COPY_BYTES)
        with counted(a.size, vectors * _COPY_BYTES) as i:
            load(x + i, I8, 1).store(y + i)
