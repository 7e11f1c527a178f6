"""The code of `kernels.ordered_sums`."""

from ..isa import Isa
from ..ordered_sums import OrderedSums
from .loops import Arguments, counted
from .vector import F64, LANES, Value, load, load_scalar

_TILE = 1024  # columns of a tile: its row of the total and its part of `right` stay in the cache
_PRODUCTS_PER_PASS = 8  # products for which a sum is loaded and stored once


def emit(spec: OrderedSums, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    whole = a.count - a.count.modulo(_PRODUCTS_PER_PASS)
    with counted((a.columns + (_TILE - 1)).divided_by(_TILE)) as i:
        first = i * _TILE
        width = (a.columns - first).at_most(_TILE)
        with counted(whole.divided_by(_PRODUCTS_PER_PASS)) as k:
            _add(a, first, width, k * _PRODUCTS_PER_PASS, _PRODUCTS_PER_PASS)
        with counted(a.count, whole) as k:
            _add(a, first, width, k, 1)


def _add(a: Arguments, first: Value, width: Value, k: Value, products: int) -> None:
    """Build the loop over rows that adds some products to the columns of a tile, one after the other."""
    rights = [a.right + (k + i) * a.right_row + first * 8 for i in range(products)]
    lefts = [a.left + (k + i) * a.left_row for i in range(products)]
    vectors = width.divided_by(LANES)
    with counted(a.rows) as r:
        total_row = a.total + r * a.total_row + first * 8
        factors = [load_scalar(left + r * 8, F64) for left in lefts]
        for lanes, start, end in ((LANES, vectors.like(0), vectors), (1, vectors * LANES, width)):
            wide = [factor.splat(lanes) for factor in factors]
            with counted(end, start) as v:
                c = v * (8 * lanes)
                total = load(total_row + c, F64, lanes)
                for factor, right in zip(wide, rights, strict=True):
                    total = total + factor * load(right + c, F64, lanes)
                total.store(total_row + c)
