"""The code of `kernels.strided_copy.CopyTransposed`: tiles that are transposed in registers.

A tile is L x L elements: L vectors along one axis are loaded, their lanes are exchanged in log2(L) rounds, and L
vectors along the other axis are stored. The last tile of an axis ends at its edge, and repeats a part of the tile
before.
"""

from llvmlite import ir

from ..isa import Isa
from ..strided_copy import STRIP, CopyTransposed
from .loops import Arguments, counted, each_tile
from .strided import each_stretch
from .vector import INTEGERS, Value, load, load_scalar


def emit(spec: CopyTransposed, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    b, element = a.b, INTEGERS[spec.itemsize]
    strips = (a.mid + (STRIP - 1)).divided_by(STRIP)
    large = STRIP if spec.itemsize < 8 else 8
    with each_stretch(a, strips, ("x", "y")) as (first, end, (x, y)):
        begin, stop = first * STRIP, a.mid.at_most(end * STRIP)
        is_large = (a.inner >= large) & (stop - begin >= large)
        with b.if_else(is_large.v) as (tiles, others):
            with tiles:
                _copy_tiles(spec, a, x, y, begin, stop, large, element)
            with others:
                is_small = (a.inner >= 4) & (stop - begin >= 4)
                with b.if_else(is_small.v) as (small_tiles, singles):
                    with small_tiles:
                        _copy_tiles(spec, a, x, y, begin, stop, 4, element)
                    with singles, counted(stop, begin) as j, counted(a.inner) as i:
                        source = x + j * spec.itemsize + i * a.x_inner
                        load_scalar(source, element).store(y + j * a.y_mid + i * spec.itemsize)


def _copy_tiles(
    spec: CopyTransposed, a: Arguments, x: Value, y: Value, begin: Value, stop: Value, lanes: int, element: ir.Type
) -> None:
    size = spec.itemsize
    with each_tile(stop - begin, lanes) as (_, m), each_tile(a.inner, lanes) as (_, i):
        mid = begin + m
        source, target = x + mid * size + i * a.x_inner, y + mid * a.y_mid + i * size
        rows = [load(source + a.x_inner * k, element, lanes) for k in range(lanes)]
        for k, row in enumerate(transposed(rows)):
            row.store(target + a.y_mid * k)


def transposed(rows: list[Value]) -> list[Value]:
    """Return the columns of a square of rows: in each round, halves of blocks are exchanged."""
    count = len(rows)
    step = count // 2
    while step:
        low = [lane if lane & step == 0 else count + lane - step for lane in range(count)]
        high = [lane + step if lane & step == 0 else count + lane for lane in range(count)]
        done = list(rows)
        for k in range(count):
            if k & step == 0:
                done[k], done[k + step] = rows[k].picked(low, rows[k + step]), rows[k].picked(high, rows[k + step])
        rows, step = done, step // 2
    return rows
