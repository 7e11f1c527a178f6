"""The code of `kernels.code_recurrence.GateSums`."""

from collections.abc import Callable

from ..code_recurrence import BLOCK_ROWS, SUMS_NUMBERS, GateSums
from .code_sums import row_sums
from .python_loops import elements

_N = {name: i for i, name in enumerate(SUMS_NUMBERS)}


def python_kernel(spec: GateSums) -> Callable[..., None]:
    """Return the kernel."""
    factors = spec.factors
    items, integers, codes_at = elements(spec.element), elements("i64"), elements(factors.stored)
    sums_of, offset, taps = row_sums(factors), factors.offset, factors.taps
    x_step, x_row, low, high, chunk = (_N[name] for name in ("x_step", "x_row", "w", "high", "chunk"))
    shift, bias = _N["shift"], _N["bias"]
    batch_at, rows_at, blocks_at, length_at = (_N[name] for name in ("batch", "rows", "blocks", "length"))

    def gate_sums(x: int, numbers: int, y: int, first: int, end: int, scratch: int) -> None:
        source, n, target = items(x), integers(numbers), integers(y)
        shifts, biases, weights, most = integers(n[shift]), integers(n[bias]), (n[low], n[high]), n[chunk]
        batch, rows, blocks, length, step, stride = (
            n[batch_at],
            n[rows_at],
            n[blocks_at],
            n[length_at],
            n[x_step],
            n[x_row],
        )
        codes = scratch + 8 * BLOCK_ROWS * blocks
        found, row = integers(scratch), codes_at(codes)
        lanes = (length + taps - 1) // taps
        for i in range(length, lanes * taps):
            row[i] = 0
        for r in range(first, end):
            at = (r // batch) * step + r % batch * stride
            for i in range(length):
                row[i] = source[at + i] + offset
            sums_of(weights, codes, lanes, most, scratch, found, blocks)
            for j in range(rows):
                target[r * rows + j] = (found[j] << shifts[j]) + biases[j]

    return gate_sums
