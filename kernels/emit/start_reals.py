"""The code of `kernels.integer_product.StartReals`."""

from collections.abc import Callable

from ..epilogue import LANES
from ..integer_product import StartReals
from .python_loops import elements


def python_kernel(spec: StartReals) -> Callable[..., None]:
    """Return the kernel."""
    integers, floats, codes = elements("i32"), elements("f32"), elements("u8")

    def start_reals(scale: int, zero: int, sums: int, factors: int, addends: int, y: int, vectors: int) -> None:
        step, point = floats(scale)[0], codes(zero)[0] + 0  # as a signed integer
        column_sums, column_factors, column_addends = integers(sums), floats(factors), floats(addends)
        for v in range(vectors):
            first, place = v * LANES, y + v * (12 * LANES)
            starts, reals = integers(place), floats(place + 4 * LANES)
            for i in range(LANES):
                starts[i] = -point * column_sums[first + i]
                reals[i] = step * column_factors[first + i]
                reals[LANES + i] = column_addends[first + i]

    return start_reals
