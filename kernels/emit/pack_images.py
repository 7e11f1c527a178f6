"""The code of `kernels.integer_product.PackImages`."""

from ..integer_product import PackImages
from ..isa import Isa
from .copy_transposed import transposed
from .loops import Arguments, counted, each_tile, in_blocks
from .memory import Array
from .vector import I8, LANES, Value, load, load_scalar


def emit(spec: PackImages, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    fill = _stored(spec, load_scalar(a.zero, I8))
    in_tiles = full_blocks(a) * LANES
    with counted(a.batch) as n, counted(a.end, a.first) as r:
        row = r - a.top
        is_inside = (row >= 0) & (row < a.height)
        width = a.width.where(is_inside, 0)
        image, target = a.x + (n * a.channels * a.height + row) * a.width, a.y + n * a.y_batch + r * a.y_row
        plane = a.height * a.width
        with counted(a.channels) as c:
            margin = Array(target + in_blocks(c, a.block, a.y_block, 1), I8)
            with counted(a.left) as p:
                margin.put(p * a.block, fill)
            with counted(a.padded, a.left + width) as p:
                margin.put(p * a.block, fill)
        with a.b.if_then(is_inside.v):
            with counted(in_tiles.divided_by(LANES)) as k, each_tile(width, LANES) as (_, p):
                rows = [load(image + (k * LANES + i) * plane + p, I8) for i in range(LANES)]
                for i, pixel in enumerate(transposed(rows)):
                    _stored(spec, pixel).store(target + k * a.y_block + (p + a.left + i) * LANES)
            with counted(a.channels, in_tiles) as c:
                source, place = Array(image + c * plane, I8), target + in_blocks(c, a.block, a.y_block, 1)
                channel = Array(place + a.left * a.block, I8)
                with counted(width) as p:
                    channel.put(p * a.block, _stored(spec, source.get(p)))


def full_blocks(a: Arguments) -> Value:
    """Return the number of blocks of 16 channels, 0 where rows are shorter than a tile or blocks have another size."""
    is_wide = a.block.equals(LANES) & (a.width >= LANES)
    return a.channels.divided_by(LANES).where(is_wide, 0)


def _stored(spec: PackImages, item: Value) -> Value:
    return item ^ -128 if spec.signed else item
