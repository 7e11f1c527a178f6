"""The code of `kernels.packing.Move`."""

from typing import Any

from llvmlite import ir
from numba import types

from ..isa import Isa
from ..packing import Move
from .memory import at, get, inlined, put, unpacker
from .vector import I8, load

_STEP = 64


def make(spec: Move, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""

    def emit(b: ir.IRBuilder, source: ir.Value, target: ir.Value) -> None:
        load(b, source, I8, _STEP).store(target)

    copy, unpack = inlined(emit), unpacker(len(spec.arguments))

    def move(arguments):
        x, y, plane, planes, size = unpack(arguments)
        for k in range(planes):
            of, to = x + k * plane, y + k * plane
            for i in range(size // 64):
                copy((of + i * 64, to + i * 64))
            for i in range(size // 64 * 64, size):
                put(at(to, types.uint8), i, get(at(of, types.uint8), i))

    return move
