"""The code of `kernels.integer_product.CentreSums`."""

from collections.abc import Callable

from ..integer_product import CentreSums
from .python_loops import elements


def python_kernel(spec: CentreSums) -> Callable[..., None]:
    """Return the kernel."""
    rows, integers = elements("u8"), elements("i32")
    left, left_change = elements("i8" if spec.signed_left else "u8"), 128 if spec.signed_left else 0
    right, right_change = elements("i8" if spec.signed_right else "u8"), 0 if spec.signed_right else -128

    def centre_sums(
        y: int,
        x: int,
        x_row: int,
        zero: int,
        zeros: int,
        right_zero: int,
        right_zeros: int,
        sums: int,
        first: int,
        end: int,
        length: int,
        columns: int,
    ) -> None:
        left_points, right_points, column_sums = left(zero), right(right_zero), integers(sums)
        for r in range(first, end):
            target, source = integers(y + 4 * r * columns), rows(x + r * x_row)
            point = left_points[r % zeros] + left_change
            total = 0
            for k in range(length):
                total += source[k]
            total -= length * point
            if right_zeros == 1:
                added = (right_points[0] + right_change) * total
                for c in range(columns):
                    target[c] -= point * column_sums[c] + added
            else:
                for c in range(columns):
                    target[c] -= point * column_sums[c] + (right_points[c] + right_change) * total

    return centre_sums
