"""Sums of products of float64 in one order, which BLAS does not promise: the same bits on every machine."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .isa import Isa
from .program import Call, Program

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class OrderedSums:
    """Specification of total[r, c] += left[k, r] * right[k, c], one k after the other, every product and sum rounded.

    Distances between rows are in bytes; the elements of a row lie one after the other.
    """

    emitter = "ordered_sums"
    arguments = ("total", "total_row", "left", "left_row", "right", "right_row", "rows", "columns", "count")


def add_products(total: Reals, left: Reals, right: Reals, isa: Isa, threads: int = 1) -> None:
    """Add products to a matrix, in place, with the bits of `reference.ordered_sums.add_products`.

    Parameters
    ----------
    total
        (rows, columns).
    left, right
        (count, rows) and (count, columns). The elements of a row lie one after the other in all three.
    isa
        Instruction set of the kernel.
    threads
        Number of threads; each takes some of the rows.

    Raises
    ------
    ValueError
        If an array has another shape, element type or order.
    """
    rows, columns = total.shape
    if not (rows and columns and len(left)):
        return
    for array, shape in ((total, (rows, columns)), (left, (len(right), rows)), (right, (len(left), columns))):
        if array.shape != shape or array.dtype != np.float64 or (array.shape[1] > 1 and array.strides[1] != 8):
            raise ValueError(
                f"found a {array.dtype} array of shape {array.shape}; give a float64 array of shape {shape} with"
                " contiguous rows"
            )
    each = -(-rows // threads)
    parts = [slice(start, start + each) for start in range(0, rows, each)]
    Program(isa, [[_call(total[part], left[:, part], right)] for part in parts]).run({})


def _call(total: Reals, left: Reals, right: Reals) -> Call:
    values = {"rows": total.shape[0], "columns": total.shape[1], "count": len(left)}
    for name, array in (("total", total), ("left", left), ("right", right)):
        values |= {name: array.ctypes.data, f"{name}_row": array.strides[0]}
    return Call(OrderedSums(), values)
