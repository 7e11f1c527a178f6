"""The code of `kernels.program.Runner`: a thread's way through the sections of a run.

The runner never returns to Python between two calls, so that a small call costs a few nanoseconds. A part of a section
is rows of the table; a row has two numbers, the address of a kernel's machine code and the address of the kernel's
arguments.

One thread has one part. Several share some numbers: one for each part, which the thread that computes it changes from 0
to 1, and how many parts are done. When all parts of the section are, the next one begins; until then a thread that
finds nothing to take spins. The release when a part is done and the acquire of those that read the number order
everything written in a section before everything read in the next.
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
    with b.if_else(a.threads.equals(1).v) as (is_alone, are_several):
        with is_alone:
            _run_part(a, a.spans)
        with are_several:
            _share_sections(a, isa)


def _share_sections(a: Arguments, isa: Isa) -> None:
    b = a.b
    done, one = pointer(a.done, I64), ir.Constant(I64, 1)
    with counted(a.sections) as section:
        first = section * a.threads
        with counted(a.threads) as i:
            part = a.own + i
            part = first + (part - a.threads).where(part >= a.threads, part)
            taken = pointer(a.taken + part * 8, I64)
            is_free = Value(b, b.load_atomic(taken, "monotonic", 8)).equals(0)
            with b.if_then(is_free.v):
                swap = b.cmpxchg(taken, ir.Constant(I64, 0), one, "acq_rel", "monotonic")
                with b.if_then(b.extract_value(swap, 1)):
                    _run_part(a, a.spans + part * 16)
                    b.atomic_rmw("add", done, one, "acq_rel")
        end = first + a.threads
        spin_until(lambda: (Value(b, b.load_atomic(done, "acquire", 8)) >= end).v, a.yield_core, isa)


def _run_part(a: Arguments, span: Value) -> None:
    b = a.b
    result = b.ptrtoint(room(b, ir.ArrayType(I64, 2)), I64)
    rows, count = (load_scalar(span + 8 * i, I64) for i in range(2))
    with counted(count) as i:
        code, arguments = (load_scalar(rows + i * 16 + 8 * j, I64) for j in range(2))
        kernel = b.inttoptr(code.v, ir.FunctionType(I32, [_VOID_POINTER] * 3).as_pointer())
        b.call(kernel, [b.inttoptr(v, _VOID_POINTER) for v in (result, result, arguments.v)])
