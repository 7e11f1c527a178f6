"""The code of `kernels.chunks.FirstFit`."""

from ..chunks import FirstFit
from ..isa import Isa
from .loops import Arguments, counted
from .memory import Variable
from .vector import I64, LANES, Value, constant, load, load_scalar


def emit(spec: FirstFit, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    with counted(a.sets) as s:
        _pack(a, s * a.taps)


def _pack(a: Arguments, first_tap: Value) -> None:
    """Build the loop over the taps of a set."""
    vectors, none = a.sums.divided_by(LANES), constant(a.b, -1)
    count, found = Variable(constant(a.b, 0)), Variable(none)
    count.put(constant(a.b, 0))
    with counted(a.taps) as i:
        tap = first_tap + load_scalar(a.candidates + (first_tap + i) * 8, I64)
        bounds = a.bounds + tap * a.sums * 8
        first = constant(a.b, 0).where(a.reorders.differs(0), (count.get() - 1).at_least(0))
        found.put(none)
        with counted(count.get(), first) as c, a.b.if_then(found.get().equals(-1).v):
            _try_chunk(a, c, bounds, vectors, found)
        with a.b.if_else(found.get().equals(-1).v) as (is_new, is_old):
            with is_new:
                found.put(count.get())
                count.put(count.get() + 1)
                _put(a, found.get(), bounds, vectors, adds=False)
            with is_old:
                _put(a, found.get(), bounds, vectors, adds=True)
        found.get().store(a.chunks + tap * 8)


def _put(a: Arguments, chunk: Value, bounds: Value, vectors: Value, *, adds: bool) -> None:
    """Build the loop that puts a tap into a chunk: the first one, or one that is added."""
    filled = a.filled + chunk * a.sums * 8
    with counted(vectors) as v:
        here = v * (8 * LANES)
        bound = load(bounds + here, I64)
        (load(filled + here, I64) + bound if adds else bound).store(filled + here)


def _try_chunk(a: Arguments, c: Value, bounds: Value, vectors: Value, found: Variable) -> None:
    """Build the test whether a chunk has room; the first one that has is found."""
    filled, overflows = a.filled + c * a.sums * 8, Variable(constant(a.b, 0))
    overflows.put(constant(a.b, 0))
    limit = a.limit.splat(LANES)
    with counted(vectors) as v:
        here = v * (8 * LANES)
        is_over = ((load(filled + here, I64) + load(bounds + here, I64)) > limit).any()
        overflows.put(overflows.get() | is_over.widened(I64, signed=False))
    with a.b.if_then(overflows.get().equals(0).v):
        found.put(c)
