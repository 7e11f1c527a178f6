"""The code of `kernels.scan.ReduceIntegers`."""

from collections.abc import Callable

from ..scan import ReduceIntegers
from .python_loops import elements


def python_kernel(spec: ReduceIntegers) -> Callable[..., None]:
    """Return the kernel."""
    extreme = spec.fold in ("largest", "smallest")
    items = elements("i64" if spec.element == "u64" and not extreme else spec.element)  # sums wrap alike
    largest, is_mean, is_product = spec.fold == "largest", spec.fold == "mean", spec.fold == "product"
    of_sizes, of_squares = spec.fold == "size" and spec.element[0] == "i", spec.fold == "squares"

    def extremes(x: int, y: int, first: int, end: int, length: int, inner: int) -> None:
        source, target = items(x), items(y)
        for r in range(first, end):
            base = (r // inner) * length * inner + r % inner
            best = source[base]
            for i in range(1, length):
                value = source[base + i * inner]
                if value > best if largest else value < best:
                    best = value
            target[r] = best

    def sums(x: int, y: int, first: int, end: int, length: int, inner: int) -> None:
        source, target = items(x), items(y)
        for r in range(first, end):
            base = (r // inner) * length * inner + r % inner
            total = 1 if is_product else 0
            for i in range(length):
                value = source[base + i * inner]
                if is_product:
                    total = total * value
                elif of_squares:
                    total += value * value
                elif of_sizes and value < 0:
                    total -= value
                else:
                    total += value
            if is_mean:  # towards 0, where // is down
                total = -((-total) // length) if total < 0 else total // length
            target[r] = total

    return extremes if extreme else sums
