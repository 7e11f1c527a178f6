"""The code of `kernels.loop.Loop`: the table of a program again and again, with other addresses each time.

Before an iteration, addresses among the arguments of the calls are replaced: two addresses take turns, one for even
and one for odd iterations, and both move on by a number of bytes an iteration. After it the byte `go` decides whether
there is a next one; it takes turns too.
"""

from llvmlite import ir

from ..isa import Isa
from ..loop import Loop
from .loops import Arguments, counted
from .memory import room
from .vector import I8, I32, I64, Value, load_scalar, pointer

_VOID_POINTER = ir.IntType(8).as_pointer()


def emit(spec: Loop, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    b = a.b
    result = b.ptrtoint(room(b, ir.ArrayType(I64, 2)), I64)
    before, header = b.basic_block, b.append_basic_block("iterations")
    body, end = b.append_basic_block("iteration"), b.append_basic_block("ended")
    b.branch(header)
    b.position_at_end(header)
    number = b.phi(I64)
    number.add_incoming(a.first.v, before)
    index = Value(b, number)
    b.store(number, pointer(a.done, I64))
    b.cbranch(b.icmp_signed("<", number, a.end.v), body, end)
    b.position_at_end(body)
    is_odd = b.trunc(number, ir.IntType(1))
    with counted(a.count) as i:
        target, even, odd, stride = (load_scalar(a.moves + i * 32 + 8 * j, I64) for j in range(4))
        chosen = Value(b, b.select(is_odd, odd.v, even.v)) + index * stride
        b.store(chosen.v, pointer(target, I64))
    kernel = b.inttoptr(a.code.v, ir.FunctionType(I32, [_VOID_POINTER] * 3).as_pointer())
    b.call(kernel, [b.inttoptr(v, _VOID_POINTER) for v in (result, result, a.given.v)])
    go = load_scalar(Value(b, b.select(is_odd, a.go_odd.v, a.go_even.v)), I8)
    faults = room(b, I64)
    b.store(ir.Constant(I64, 0), faults)
    with counted(a.fault_count) as i:
        b.store(b.or_(b.load(faults), load_scalar(a.faults + i * 8, I64).v), faults)
    following = b.add(number, ir.Constant(I64, 1))
    b.store(following, pointer(a.done, I64))
    number.add_incoming(following, b.basic_block)
    is_fine = b.icmp_signed("==", b.load(faults), ir.Constant(I64, 0))
    goes_on = b.icmp_signed("!=", go.v, ir.Constant(I8, 0))
    b.cbranch(b.and_(is_fine, goes_on), header, end)
    b.position_at_end(end)
