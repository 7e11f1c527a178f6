"""The code of `kernels.matmul.PackPanels`."""

from collections.abc import Callable

from ..elements import ELEMENT_BYTES
from ..matmul import PackPanels
from .python_loops import elements


def python_kernel(spec: PackPanels) -> Callable[..., None]:
    """Return the kernel."""
    items, integers, width, size = elements(spec.element), elements("i64"), spec.width, ELEMENT_BYTES[spec.element]

    def pack_panels(
        w: int,
        w_row: int,
        w_column: int,
        offsets: int,
        y: int,
        first: int,
        end: int,
        panels: int,
        inner: int,
        columns: int,
    ) -> None:
        distances = integers(offsets)
        for panel in range(first, end):
            matrix, start = panel // panels, (panel % panels) * width
            source, target = (
                items(w + distances[matrix] + size * start * w_column),
                items(y + size * panel * inner * width),
            )
            count = width if start + width <= columns else columns - start
            for k in range(0, inner, 16):  # 16 elements of a column are a cache line
                last = k + 16 if k + 16 <= inner else inner
                for c in range(width):
                    if c < count:
                        for i in range(k, last):
                            target[i * width + c] = source[c * w_column + i * w_row]
                    else:
                        for i in range(k, last):
                            target[i * width + c] = 0

    return pack_panels
