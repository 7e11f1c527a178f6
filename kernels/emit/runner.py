"""The code of `kernels.program.Runner`."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ..isa import Isa
from ..program import Runner
from .memory import at, get, inlined, unpacker
from .vector import I32, I64, function, i64, pointer

_SPINS = 4096  # then the core goes to whoever wants it
_VOID_POINTER = ir.IntType(8).as_pointer()


def _call(b: ir.IRBuilder, place: ir.Value) -> None:
    """Call the kernel of an entry: its address, and that of its arguments."""
    code, arguments = (b.load(pointer(b, b.add(place, i64(8 * i)), I64)) for i in range(2))
    kind = ir.FunctionType(I32, [_VOID_POINTER] * 3)
    result = cgutils.alloca_once(b, ir.ArrayType(I64, 2))
    given = [b.ptrtoint(result, I64), b.ptrtoint(result, I64), arguments]
    b.call(b.inttoptr(code, kind.as_pointer()), [b.inttoptr(v, _VOID_POINTER) for v in given])


def _meet(b: ir.IRBuilder, meeting: ir.Value, threads: ir.Value, pauses: bool) -> None:
    """Wait until all threads are here: the last to come begins a new round."""
    count, rounds, give_way = (pointer(b, b.add(meeting, i64(8 * i)), I64) for i in range(3))
    before = b.load_atomic(rounds, "acquire", 8)
    here = b.atomic_rmw("add", count, i64(1), "acq_rel")
    last = b.icmp_signed("==", here, b.sub(threads, i64(1)))
    with b.if_else(last) as (then, otherwise):
        with then:
            b.store_atomic(i64(0), count, "release", 8)
            b.store_atomic(b.add(before, i64(1)), rounds, "release", 8)
        with otherwise:
            spins = cgutils.alloca_once_value(b, i64(0))
            wait, after = b.append_basic_block("wait"), b.append_basic_block("met")
            b.branch(wait)
            b.position_at_end(wait)
            if pauses:
                b.call(function(b, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"), [])
            spun = b.add(b.load(spins), i64(1))
            b.store(spun, spins)
            giver = b.load(give_way)
            impatient = b.and_(b.icmp_signed(">", spun, i64(_SPINS)), b.icmp_signed("!=", giver, i64(0)))
            with b.if_then(impatient):
                b.call(b.inttoptr(giver, ir.FunctionType(I32, []).as_pointer()), [])
            b.cbranch(b.icmp_signed("==", b.load_atomic(rounds, "acquire", 8), before), wait, after)
            b.position_at_end(after)


def make(spec: Runner, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    call = inlined(_call)
    meet = inlined(lambda b, *values: _meet(b, *values, pauses=isa.cpu.startswith("x86")))
    unpack = unpacker(len(spec.arguments))

    def run(arguments):
        calls, count, meeting, threads = unpack(arguments)
        table = at(calls, types.int64)
        for i in range(count):
            if get(table, 2 * i) == 0:
                meet((meeting, threads))
            else:
                call((calls + 16 * i,))

    return run
