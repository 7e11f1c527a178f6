"""The code of `kernels.team`: a run is handed over, and everybody waits in the right order.

The order of writes and reads of the mailbox that matters, all sequentially consistent: the leader writes the parts,
then the number of the run, then reads how many sleep; a follower adds itself to those who sleep, then reads the number
of the run. So either the leader sees that somebody sleeps, or the follower sees the new run. The leader wakes with the
mutex that a follower holds from its last look at the number until it sleeps.
"""

from collections.abc import Sequence

from llvmlite import ir

from ..isa import Isa
from ..team import (
    CONDITION,
    ENDED,
    LOCK,
    MUTEX,
    OFFER,
    OFFERS,
    PARTS,
    RUN,
    RUNNER,
    SLEEP,
    SLEEPING,
    UNLOCK,
    WAKE,
    YIELD,
    Follow,
    Lead,
)
from .loops import Arguments, counted
from .memory import Variable, room
from .vector import I8, I32, I64, Value, load_scalar, pointer
from .waiting import spin_until

_YIELDS = 256  # rounds of a follower that yields its core before it sleeps: a next run often comes soon
_VOID_POINTER = I8.as_pointer()
_FOREVER = -1


def emit(spec: Lead | Follow, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    mailbox = _Mailbox(a.mailbox)
    if isinstance(spec, Lead):
        _lead(mailbox, isa, a)
    else:
        _follow(mailbox, isa, a)


class _Mailbox:
    """Numbers of the mailbox by their place."""

    def __init__(self, base: Value) -> None:
        self.b, self._base = base.b, base

    def _pointer(self, place: int) -> ir.Value:
        return pointer(self._base + 8 * place, I64)

    def read(self, place: int) -> Value:
        """Return a number."""
        return Value(self.b, self.b.load_atomic(self._pointer(place), "seq_cst", 8))

    def _offer(self, thread: Value) -> ir.Value:
        return pointer(self._base + (thread * OFFER + OFFERS) * 8, I64)

    def offer(self, thread: Value, run: Value) -> None:
        """Allow a thread to join a run."""
        self.b.store_atomic(run.v, self._offer(thread), "seq_cst", 8)

    def take_offer(self, thread: Value, run: Value) -> ir.Value:
        """Return whether a thread's offer of a run stood; it does no more, so only one of several gets it."""
        swap = self.b.cmpxchg(self._offer(thread), run.v, ir.Constant(I64, 0), "seq_cst", "seq_cst")
        return self.b.extract_value(swap, 1)

    def write(self, place: int, number: Value) -> None:
        """Change a number."""
        self.b.store_atomic(number.v, self._pointer(place), "seq_cst", 8)

    def add(self, place: int, number: int) -> None:
        """Add to a number that others add to at the same time."""
        self.b.atomic_rmw("add", self._pointer(place), ir.Constant(I64, number), "seq_cst")

    def call(self, place: int, objects: Sequence[int], *more: int) -> None:
        """Call the function at a place with the objects at other places, and with numbers."""
        b = self.b
        values = [b.inttoptr((self._base + 8 * place).v, _VOID_POINTER) for place in objects]
        values += [ir.Constant(I32, number) for number in more]
        kind = ir.FunctionType(I32, [value.type for value in values])
        b.call(b.inttoptr(self.read(place).v, kind.as_pointer()), values)


def _lead(mailbox: _Mailbox, isa: Isa, a: Arguments) -> None:
    b = a.b
    with counted(a.state_count) as i:
        b.store(ir.Constant(I64, 0), pointer(a.state + i * 8, I64))
    run = mailbox.read(RUN) + 1
    mailbox.write(ENDED, a.followers.like(0))
    mailbox.write(RUNNER, a.runner)
    mailbox.write(PARTS, a.parts)
    with counted(a.followers) as i:
        mailbox.offer(i + 1, run)
    mailbox.write(RUN, run)
    with b.if_then((mailbox.read(SLEEPING) > 0).v):
        mailbox.call(LOCK, [MUTEX])
        mailbox.call(WAKE, [CONDITION])
        mailbox.call(UNLOCK, [MUTEX])
    with b.if_then(a.parts.differs(0).v):
        _run_part(a.runner, load_scalar(a.parts, I64))
    joined = Variable(a.followers)
    with counted(a.followers) as i:
        withdrawn = Value(b, b.zext(mailbox.take_offer(i + 1, run), I64))
        joined.put(joined.get() - withdrawn)
    spin_until(lambda: mailbox.read(ENDED).equals(joined.get()).v, mailbox.read(YIELD), isa)


def _follow(mailbox: _Mailbox, isa: Isa, a: Arguments) -> None:
    b = a.b
    seen = room(b, I64)
    b.store(ir.Constant(I64, 0), seen)
    wait, drowsy, look, sleep, woken, awake, join, run, done = (
        b.append_basic_block(name)
        for name in ("wait", "drowsy", "look", "sleep", "woken", "awake", "join", "run", "return")
    )

    def is_new() -> ir.Value:
        return mailbox.read(RUN).differs(Value(b, b.load(seen))).v

    b.branch(wait)
    b.position_at_end(wait)
    spin_until(is_new, mailbox.read(YIELD), isa, yields=_YIELDS)
    b.cbranch(is_new(), awake, drowsy)
    b.position_at_end(drowsy)
    mailbox.add(SLEEPING, 1)
    mailbox.call(LOCK, [MUTEX])
    b.branch(look)
    b.position_at_end(look)
    b.cbranch(is_new(), woken, sleep)
    b.position_at_end(sleep)
    mailbox.call(SLEEP, [CONDITION, MUTEX], _FOREVER, 0)
    b.branch(look)
    b.position_at_end(woken)
    mailbox.call(UNLOCK, [MUTEX])
    mailbox.add(SLEEPING, -1)
    b.branch(awake)
    b.position_at_end(awake)
    number = mailbox.read(RUN)
    b.store(number.v, seen)
    b.cbranch(mailbox.read(PARTS).equals(0).v, done, join)
    b.position_at_end(join)
    b.cbranch(mailbox.take_offer(a.part, number), run, wait)
    b.position_at_end(run)
    # While somebody has joined, the leader does not begin another run: the mailbox keeps this one.
    _run_part(mailbox.read(RUNNER), load_scalar(mailbox.read(PARTS) + (a.part << 3), I64))
    mailbox.add(ENDED, 1)
    b.branch(wait)
    b.position_at_end(done)


def _run_part(runner: Value, arguments: Value) -> None:
    b = runner.b
    result = b.bitcast(room(b, ir.ArrayType(I64, 2)), _VOID_POINTER)
    kernel = b.inttoptr(runner.v, ir.FunctionType(I32, [_VOID_POINTER] * 3).as_pointer())
    b.call(kernel, [result, result, b.inttoptr(arguments.v, _VOID_POINTER)])
