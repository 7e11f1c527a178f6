"""The code of `kernels.integer_product.PackRows`."""

from collections.abc import Callable

from ..integer_product import PackRows
from .python_loops import elements


def python_kernel(spec: PackRows) -> Callable[..., None]:
    """Return the kernel."""
    items, change = elements("u8"), 0x80 if spec.signed else 0

    def pack_rows(x: int, y: int, first: int, end: int, length: int, y_row: int) -> None:
        for r in range(first, end):
            source, target = items(x + r * length), items(y + r * y_row)
            for k in range(length):
                target[k] = source[k] ^ change
            for k in range(length, y_row):
                target[k] = 0

    return pack_rows
