"""Waiting of a thread for others, in loops that spin."""

from collections.abc import Callable

from llvmlite import ir

from ..isa import Isa
from .memory import room
from .vector import I32, I64, Value, function

_SPINS = 4096  # rounds of spinning before the thread yields the core in each round


def spin_until(is_over: Callable[[], ir.Value], yield_core: Value, isa: Isa, *, yields: int | None = None) -> None:
    """Build a loop that ends when a condition holds, or after some yields of the core.

    Parameters
    ----------
    is_over
        Function that builds the condition.
    yield_core
        Address of a function that yields the core, or 0.
    yields
        Number of rounds with a yield after which the loop ends in any case; None for no end.
    """
    b = yield_core.b
    count, one = room(b, I64), ir.Constant(I64, 1)
    b.store(ir.Constant(I64, 0), count)
    spin, wait, done = (b.append_basic_block(name) for name in ("spin", "wait", "done"))
    b.branch(spin)
    b.position_at_end(spin)
    b.cbranch(is_over(), done, wait)
    b.position_at_end(wait)
    if isa.cpu.startswith("x86"):
        b.call(function(b, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"), [])
    spun = b.add(b.load(count), one)
    b.store(spun, count)
    is_long = b.icmp_signed(">", spun, ir.Constant(I64, _SPINS))
    with b.if_then(b.and_(is_long, yield_core.differs(0).v)):
        b.call(b.inttoptr(yield_core.v, ir.FunctionType(I32, []).as_pointer()), [])
    if yields is None:
        b.branch(spin)
    else:
        b.cbranch(b.icmp_signed(">", spun, ir.Constant(I64, _SPINS + yields)), done, spin)
    b.position_at_end(done)
