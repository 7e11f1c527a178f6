"""The code of `kernels.sampling.Overlap`: for each element of a block, rows of its places are added."""

from collections.abc import Callable

from ..sampling import Overlap
from .python_loops import elements


def python_kernel(_: Overlap) -> Callable[..., None]:
    """Return the kernel."""
    singles, integers = elements("f32"), elements("i64")

    def overlap(x: int, y: int, first: int, end: int, facts: int) -> None:
        source, out, numbers = singles(x), singles(y), integers(facts)
        height, width, rows, columns = numbers[0], numbers[1], numbers[2], numbers[3]
        step_down, step_across, far_down, far_across = numbers[4], numbers[5], numbers[6], numbers[7]
        above, before, down, across = numbers[8], numbers[9], numbers[10], numbers[11]
        for p in range(first, end):
            target = p * height * width
            for i in range(height * width):
                out[target + i] = 0.0
            for tap in range(rows * columns):
                row, column = tap // columns, tap % columns
                for i in range(down):
                    v = i * step_down + row * far_down - above
                    if v < 0 or v >= height:
                        continue
                    own, line = ((p * rows * columns + tap) * down + i) * across, target + v * width
                    for j in range(across):
                        u = j * step_across + column * far_across - before
                        if 0 <= u < width:
                            out[line + u] += source[own + j]

    return overlap
