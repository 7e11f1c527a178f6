"""Numba functions reach memory by address: arguments come as one array of 64-bit integers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

ARGUMENTS = types.CPointer(types.int64)
"""What every kernel is called with."""


def unpacker(count: int) -> Callable[[Any], tuple[int, ...]]:
    """Return a jitted function from a kernel's argument to its integers."""

    @intrinsic
    def unpack(_: Any, arguments: Any) -> Any:
        result = types.UniTuple(types.int64, count)

        def codegen(context: Any, b: ir.IRBuilder, signature: Any, values: Any) -> Any:
            loaded = [b.load(b.gep(values[0], [ir.Constant(ir.IntType(64), i)])) for i in range(count)]
            return context.make_tuple(b, signature.return_type, loaded)

        return result(arguments), codegen

    return unpack


@intrinsic
def at(_: Any, address: Any, kind: Any) -> Any:
    """Return an address as a pointer to numbers of a type, such as numba.int32."""
    result = types.CPointer(kind.dtype)

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return b.inttoptr(values[0], context.get_value_type(signature.return_type))

    return result(address, kind), codegen


@intrinsic
def get(_: Any, base: Any, index: Any) -> Any:
    """Return base[index]."""

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return b.load(b.gep(values[0], [values[1]]))

    return base.dtype(base, types.intp), codegen


@intrinsic
def put(_: Any, base: Any, index: Any, value: Any) -> Any:
    """Do base[index] = value."""

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, values: Any) -> Any:
        b.store(values[2], b.gep(values[0], [values[1]]))
        return context.get_dummy_value()

    return types.void(base, types.intp, base.dtype), codegen


def inlined(emit: Callable[..., None]) -> Any:
    """Return a jitted function of one tuple of 64-bit integers, whose body is what `emit(builder, *values)` builds."""

    @intrinsic
    def body(_: Any, values: Any) -> Any:
        def codegen(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            emit(b, *cgutils.unpack_tuple(b, arguments[0]))
            return context.get_dummy_value()

        return types.void(values), codegen

    return body


@contextmanager
def counted(b: ir.IRBuilder, count: ir.Value, start: ir.Value | None = None) -> Iterator[ir.Value]:
    """Build a loop over start, start + 1, ... below `count`, both i64; gives the counter."""
    with cgutils.for_range(b, count, start) as loop:
        yield loop.index


def variable(b: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return a place for a value that loops change; LLVM keeps it in a register where it can."""
    return cgutils.alloca_once_value(b, value)


def aligned_room(b: ir.IRBuilder, size: int) -> ir.Value:
    """Return the address of `size` bytes on the stack at a multiple of 64, which LLVM does not see to everywhere."""
    room = cgutils.alloca_once(b, ir.ArrayType(ir.IntType(8), size + 64))
    address = b.ptrtoint(room, ir.IntType(64))
    return b.and_(b.add(address, ir.Constant(ir.IntType(64), 63)), ir.Constant(ir.IntType(64), -64))
