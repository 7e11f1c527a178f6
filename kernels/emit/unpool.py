"""The code of `kernels.sampling.Unpool`."""

from collections.abc import Callable

from ..sampling import Unpool
from .python_loops import elements


def python_kernel(spec: Unpool) -> Callable[..., None]:
    """Return the kernel."""
    items, integers = elements(spec.size), elements("i64")

    def unpool(x: int, indices: int, y: int, count: int, elements: int, fault: int) -> None:
        source, index, out, faults = items(x), integers(indices), items(y), integers(fault)
        for i in range(elements):
            out[i] = 0
        for i in range(count):
            at = index[i]
            if 0 <= at < elements:
                out[at] = source[i]
            else:
                faults[0] = at

    return unpool
