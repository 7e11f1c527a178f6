"""The code of `kernels.code_recurrence.GateSums`."""

from collections.abc import Callable

from ..code_recurrence import GateSums
from .code_sums import product_sum
from .python_loops import elements


def python_kernel(spec: GateSums) -> Callable[..., None]:
    """Return the kernel."""
    items, matrix, integers, product = (
        elements(spec.element),
        elements(spec.weights),
        elements("i64"),
        product_sum(spec.split),
    )

    def gate_sums(
        x: int,
        x_step: int,
        x_row: int,
        w: int,
        high: int,
        chunk: int,
        shift: int,
        bias: int,
        y: int,
        first: int,
        end: int,
        batch: int,
        rows: int,
        length: int,
    ) -> None:
        source, weights = items(x), (matrix(w), matrix(high))
        shifts, biases, target = integers(shift), integers(bias), integers(y)
        for r in range(first, end):
            at = (r // batch) * x_step + r % batch * x_row
            for j in range(rows):
                total = product(source, at, weights, j * length, length, chunk)
                target[r * rows + j] = (total << shifts[j]) + biases[j]

    return gate_sums
