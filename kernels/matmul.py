"""Matrix products of plain buffers: the tile, panels of the right matrix, and the kernels that make them.

The problem: a product of matrices does far more arithmetic than it has elements, so a core must spend its time on
multiply-adds and not on loads. The idea is the *tile*: some rows of the result times one *panel* of columns, two
vectors wide with AVX-512. Its sums stay in registers over the whole loop over the inner axis; each step of the loop
loads the panel's vectors once and broadcasts one number of the left matrix for every row. Where a matrix has more rows
than a tile, a panel's part should stay in the L1 cache for all of them, so the inner axis is cut into blocks.

The right matrix is read in place, row after row, or *packed*: panel after panel, each panel's rows side by side, filled
up with zeros. Constants are packed once, when a plan is made; a transposed right matrix by the kernel `PackPanels`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .elements import Real, lanes_of
from .isa import Isa

BLOCK = 256
"""The length of a block of the inner axis: small enough for the L1 cache, and for the rounding errors of a sum."""


@dataclass(frozen=True)
class Matmul:
    """Specification of y = bounds(alpha x w + beta c), for a stack of matrices.

    The work is a number of *units*: a panel of columns for some rows of one matrix of the stack. Unit u is panel
    u % panels of the rows of group (u // panels) % groups of matrix u // (panels groups).

    Attributes
    ----------
    element : type of the elements.
    packed : whether w is in panels, filled up with zeros.
    vectors : number of vectors of a panel.
    masks : whether the result is -infinity where c is, also for an infinite product or NaN.
    """

    element: Real
    packed: bool
    vectors: int
    masks: bool = False

    emitter = "matmul"
    # `offsets` are the distances of x, w, y and c of each matrix of the stack: int64 (stack, 4). Elements of x are
    # x_step apart along the inner axis and x_row along the rows; of w, w_row and w_panel. c_row is 0 for a vector c.
    # `scalars` are alpha, beta and two bounds.
    arguments = (
        "x", "x_row", "x_step", "w", "w_row", "w_panel", "y", "y_row", "c", "c_row", "scalars", "offsets", "first",
        "end", "panels", "groups", "group_rows", "rows", "inner", "columns",
    )  # fmt: skip


@dataclass(frozen=True)
class PackPanels:
    """Specification of the kernel that packs transposed right matrices: (columns, inner) to panels.

    Attributes
    ----------
    element : type of the elements.
    width : number of columns of a panel.
    """

    element: Real
    width: int

    emitter = "pack_panels"
    # Panel p of the stack is panel p % panels of matrix p // panels, whose distance in bytes is in `offsets`.
    # w_column is the number of elements from a column to the next, w_row that from a row to the next.
    arguments = ("w", "w_row", "w_column", "offsets", "y", "first", "end", "panels", "inner", "columns")


@dataclass(frozen=True)
class PackTransposed:
    """Specification of `PackPanels` for matrices whose columns lie in one piece.

    Attributes
    ----------
    element : type of the elements.
    vectors : number of vectors of a panel.
    """

    element: Real
    vectors: int

    emitter = "pack_transposed"
    arguments = ("w", "w_column", "offsets", "y", "first", "end", "panels", "inner", "columns")


def panel_vectors(element: Real, isa: Isa, columns: int) -> int:
    """Return the number of vectors of a panel of a matrix."""
    return 2 if isa.registers >= 12 and columns > lanes_of(element) else 1


def tile_rows(isa: Isa) -> tuple[int, ...]:
    """Return the numbers of rows of tiles, in descending order; the last is 1."""
    most = isa.registers // (2 if isa.registers >= 12 else 1)
    return tuple(n for n in (most, 4, 1) if n <= most) if most > 4 else tuple({most, 1})


def packed_panels(w: NDArray[Any], width: int) -> NDArray[Any]:
    """Return a stack of matrices (stack, inner, columns) in panels: (stack, panels, inner, width)."""
    stack, inner, columns = w.shape
    panels = -(-columns // width)
    full = np.zeros((stack, inner, panels * width), w.dtype)
    full[:, :, :columns] = w
    return np.ascontiguousarray(full.reshape(stack, inner, panels, width).swapaxes(1, 2))
