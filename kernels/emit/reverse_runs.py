"""The code of `kernels.strided_copy.ReverseRuns`."""

from ..isa import Isa
from ..strided_copy import ReverseRuns
from .loops import Arguments, counted
from .strided import by_width, copy_run
from .vector import I64, constant, load_scalar


def emit(spec: ReverseRuns, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""

    def copy(width: int) -> None:
        with counted(a.end, a.first) as s:
            length = load_scalar(a.lengths + s * 8, I64)
            with a.b.if_then(((length < 0) | (length > a.time)).v, likely=False):
                constant(a.b, 1).store(a.fault)
            bounded = length.at_least(0).at_most(a.time)
            with counted(a.time) as t:
                source = (bounded - 1 - t).where(t < bounded, t)
                at = s * a.batch_run
                copy_run(a.x + at + source * a.time_run, a.y + at + t * a.time_run, a.run, width)

    by_width(a.run, copy)
