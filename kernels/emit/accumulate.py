"""The code of `kernels.scan.Accumulate`: real numbers in float64, rounded at the end."""

from collections.abc import Callable

from ..scan import Accumulate
from .python_loops import elements


def python_kernel(spec: Accumulate) -> Callable[..., None]:
    """Return the kernel."""
    items = elements("i64" if spec.element == "u64" else spec.element)  # they wrap alike
    exclusive, reverse, product = spec.exclusive, spec.reverse, spec.product
    is_real = spec.element[0] == "f"

    def accumulate(x: int, y: int, first: int, end: int, length: int, inner: int) -> None:
        source, target = items(x), items(y)
        for r in range(first, end):
            base = (r // inner) * length * inner + r % inner
            total = (1.0 if product else 0.0) if is_real else 1 if product else 0
            for i in range(length):
                at = base + ((length - 1 - i) if reverse else i) * inner
                value = source[at]
                if exclusive:
                    target[at] = total
                total = total * value if product else total + value
                if not exclusive:
                    target[at] = total

    return accumulate
