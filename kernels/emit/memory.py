"""Memory of a kernel: variables that its loops change, arrays of scalars, room on the stack."""

from llvmlite import ir

from .vector import I8, I64, Value, pointer


def room(b: ir.IRBuilder, kind: ir.Type) -> ir.Value:
    """Return a pointer to new memory on the stack, taken once a call even if it is used in a loop."""
    with b.goto_entry_block():
        return b.alloca(kind)


class Variable:
    """Value that loops change; LLVM keeps it in a register where it can."""

    def __init__(self, start: Value) -> None:
        self._b = start.b
        self._cell = room(start.b, start.v.type)
        self.put(start)

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
    address = b.ptrtoint(room(b, ir.ArrayType(I8, size + 64)), I64)
    return (Value(b, address) + 63) & -64
