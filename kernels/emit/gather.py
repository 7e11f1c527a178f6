"""The code of `kernels.strided_copy.Gather`."""

from ..isa import Isa
from ..strided_copy import Gather
from .loops import Arguments, counted
from .strided import by_width, copy_run
from .vector import I64, INTEGERS, constant, load_scalar


def emit(spec: Gather, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    b, itemsize = a.b, int(spec.index[1:]) // 8

    def copy(width: int) -> None:
        with counted(a.end, a.first) as r:
            batch = r.divided_by(a.count)
            given = load_scalar(a.indices + (r - batch * a.count) * itemsize, INTEGERS[itemsize]).widened(I64)
            index = (given + a.length).where(given < 0, given)
            is_inside = (index >= 0) & (index < a.length)
            with b.if_else(is_inside.v, likely=True) as (inside, outside):
                with inside:
                    copy_run(a.x + (batch * a.length + index) * a.run, a.y + r * a.run, a.run, width)
                with outside:
                    constant(b, 1).store(a.fault)

    by_width(a.run, copy)
