"""The code of `kernels.packing.Fill`."""

from typing import Any

from numba import types

from ..isa import Isa
from ..packing import Fill
from .memory import at, put, unpacker

_KINDS = {1: types.uint8, 2: types.int16, 4: types.int32}


def make(spec: Fill, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    unpack, kind = unpacker(len(spec.arguments)), _KINDS[spec.itemsize]

    def fill(arguments):
        y, y_plane, planes, items, code = unpack(arguments)
        for k in range(planes):
            to = at(y + k * y_plane, kind)
            for i in range(items):
                put(to, i, code)

    return fill
