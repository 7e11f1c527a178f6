"""The code of `kernels.scan.AxisPlace`."""

from collections.abc import Callable

from ..scan import AxisPlace
from .python_loops import elements


def python_kernel(spec: AxisPlace) -> Callable[..., None]:
    """Return the kernel."""
    items, integers = elements(spec.element), elements("i64")
    largest, last = spec.largest, spec.last

    def axis_place(x: int, y: int, first: int, end: int, length: int, inner: int) -> None:
        source, target = items(x), integers(y)
        for r in range(first, end):
            base = (r // inner) * length * inner + r % inner
            best, place = source[base], 0
            for i in range(1, length):
                value = source[base + i * inner]
                if best != best:  # NaN stays, but for a later one
                    if last and value != value:
                        place = i
                    continue
                is_better = value != value or (value > best if largest else value < best) or (last and value == best)
                if is_better:
                    best, place = value, i
            target[r] = place

    return axis_place
