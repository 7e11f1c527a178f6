"""The code of `kernels.integer_product.StartSums`."""

from collections.abc import Callable

from ..integer_product import StartSums
from .python_loops import elements


def python_kernel(spec: StartSums) -> Callable[..., None]:
    """Return the kernel."""
    zeros, integers, change = elements("i8" if spec.signed else "u8"), elements("i32"), 128 if spec.signed else 0

    def start_sums(zero: int, sums: int, y: int, count: int) -> None:
        point = zeros(zero)[0] + change
        source, target = integers(sums), integers(y)
        for i in range(count):
            target[i] = -point * source[i]

    return start_sums
