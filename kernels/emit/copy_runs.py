"""The code of `kernels.strided_copy.CopyRuns`."""

from ..isa import Isa
from ..strided_copy import CopyRuns
from .loops import Arguments, counted
from .strided import by_width, copy_run, each_stretch


def emit(spec: CopyRuns, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    with each_stretch(a, a.mid, ("x", "y")) as (first, end, (x, y)):

        def copy(width: int) -> None:
            with counted(end, first) as j:
                copy_run(x + j * a.x_mid, y + j * a.y_mid, a.inner, width)

        by_width(a.inner, copy)
