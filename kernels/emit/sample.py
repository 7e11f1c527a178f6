"""The code of `kernels.statistics.Sample`."""

from ..isa import Isa
from ..statistics import Sample
from .loops import Arguments, counted, each_channel_row, in_blocks
from .memory import Array
from .vector import F32


def emit(spec: Sample, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    target = Array(a.y, F32)
    with each_channel_row(a) as (n, c, i):
        r = a.first + i
        row = Array(a.f + n * a.f_batch + in_blocks(c, a.block, a.f_block, 4) + r * a.f_row, F32)
        before = ((n * a.channels + c) * a.height + r) * a.width  # elements before the row
        first = (a.step - before.modulo(a.step)).modulo(a.step)
        number = (before + first).divided_by(a.step)
        count = (a.width - first + (a.step - 1)).divided_by(a.step)
        with counted(count) as k:
            target.put(number + k, row.get((first + k * a.step) * a.block))
