"""The code of `kernels.elementwise.Lookup`."""

from typing import Any

from numba import types

from ..elementwise import Lookup
from ..isa import Isa
from .memory import at, get, put, unpacker

NUMBA = {"u8": types.uint8, "i16": types.int16, "f32": types.float32}


def make(spec: Lookup, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    unpack = unpacker(len(spec.arguments))
    source, target = NUMBA[spec.source], NUMBA[spec.target]
    first = 0 if spec.source == "u8" else 32768

    def lookup(arguments):
        (
            entries, x, x_batch, x_block, x_row, y, y_batch, y_block, y_row, batch, blocks, rows, items,
        ) = unpack(arguments)  # fmt: skip
        known = at(entries, target)
        for n in range(batch):
            for k in range(blocks):
                for r in range(rows):
                    of = at(x + n * x_batch + k * x_block + r * x_row, source)
                    to = at(y + n * y_batch + k * y_block + r * y_row, target)
                    for i in range(items):
                        put(to, i, get(known, get(of, i) + first))

    return lookup
