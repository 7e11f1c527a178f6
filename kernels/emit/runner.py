"""The code of `kernels.program.Runner`: the loop over a thread's calls, and the barrier between threads.

The runner never returns to Python between two calls, so that a small call costs a few nanoseconds. Its table has two
numbers for each call, the address of a kernel's machine code and the address of the kernel's arguments; an address of
0 is a barrier.

The barrier is three 64-bit numbers that all threads see: how many have arrived, the number of the round, and the
address of a function that yields the core. A thread reads the round, then adds itself to the arrived. The last one
to arrive sets the arrived to 0 and begins a new round; the others spin until the round changes. The release of the new
round and the acquire of those that spin order everything written before the barrier before everything read after it.
"""

from llvmlite import ir

from ..isa import Isa
from ..program import Runner
from .loops import Arguments, counted
from .memory import room
from .vector import I32, I64, Value, load_scalar, pointer
from .waiting import spin_until

_VOID_POINTER = ir.IntType(8).as_pointer()


def emit(spec: Runner, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    b = a.b
    result = b.ptrtoint(room(b, ir.ArrayType(I64, 2)), I64)
    with counted(a.count) as i:
        code, arguments = (load_scalar(a.calls + i * 16 + 8 * j, I64) for j in range(2))
        with b.if_else(code.equals(0).v) as (is_barrier, is_call):
            with is_barrier:
                _wait(a, isa)
            with is_call:
                kernel = b.inttoptr(code.v, ir.FunctionType(I32, [_VOID_POINTER] * 3).as_pointer())
                b.call(kernel, [b.inttoptr(v, _VOID_POINTER) for v in (result, result, arguments.v)])


def _wait(a: Arguments, isa: Isa) -> None:
    """Wait until all threads are here: the last to come begins a new round."""
    b = a.b
    arrived, rounds = (pointer(a.barrier + 8 * i, I64) for i in range(2))
    one, none = ir.Constant(I64, 1), ir.Constant(I64, 0)
    before = b.load_atomic(rounds, "acquire", 8)
    mine = Value(b, b.atomic_rmw("add", arrived, one, "acq_rel"))
    with b.if_else(mine.equals(a.threads - 1).v) as (is_last, is_early):
        with is_last:
            b.store_atomic(none, arrived, "release", 8)
            b.store_atomic(b.add(before, one), rounds, "release", 8)
        with is_early:
            is_over = lambda: b.icmp_signed("!=", b.load_atomic(rounds, "acquire", 8), before)  # noqa: E731
            spin_until(is_over, load_scalar(a.barrier + 16, I64), isa)
