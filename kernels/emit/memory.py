"""Memory of a kernel: variables that its loops change, arrays of scalars, room on the stack."""

from llvmlite import ir
from numba.core import cgutils

from .vector import I8, I64, Value, pointer


class Variable:
    """Value that loops change; LLVM keeps it in a register where it can."""

    def __init__(self, start: Value) -> None:
        self._b = start.b
        self._cell = cgutils.alloca_once_value(start.b, start.v)

    def get(self) -> Value:
        """Return the value at this point of the kernel."""
        return Value(self._b, self._b.load(self._cell))

    def put(self, value: Value) -> None:
        """Change the value."""
        self._b.store(value.v, self._cell)


class Array:
    """Contiguous scalars of one type, beginning at an address; LLVM vectorizes loops over them."""

    def __init__(self, address: Value, element: ir.Type) -> None:
        self._b, self._base = address.b, pointer(address, element)

    def get(self, index: Value) -> Value:
        """Return an element."""
        return Value(self._b, self._b.load(self._b.gep(self._base, [index.v])))

    def put(self, index: Value, value: Value) -> None:
        """Change an element."""
        self._b.store(value.v, self._b.gep(self._base, [index.v]))


def aligned_room(b: ir.IRBuilder, size: int) -> Value:
    """Return the address of `size` bytes on the stack at a multiple of 64, which LLVM alone does not guarantee."""
    room = cgutils.alloca_once(b, ir.ArrayType(I8, size + 64))
    return (Value(b, b.ptrtoint(room, I64)) + 63) & -64
