"""The code of `kernels.elementwise.IntegerFunction`."""

from collections.abc import Callable

from ..elementwise import IntegerFunction
from .python_loops import elements


def python_kernel(spec: IntegerFunction) -> Callable[..., None]:
    """Return the kernel."""
    items, name = elements(spec.element), spec.name

    def integer_function(x: int, y: int, count: int) -> None:
        source, target = items(x), items(y)
        for i in range(count):
            value = source[i]
            if name == "negative":
                target[i] = -value
            elif name == "abs":
                target[i] = -value if value < 0 else value
            else:
                target[i] = 1 if value > 0 else -1 if value < 0 else 0

    return integer_function
