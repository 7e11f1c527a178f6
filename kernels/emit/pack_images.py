"""The code of `kernels.integer_product.PackImages`."""

from ..integer_product import PackImages
from ..isa import Isa
from .loops import Arguments, counted, in_blocks
from .memory import Array
from .vector import I8, Value, load_scalar


def emit(spec: PackImages, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    fill = _stored(spec, load_scalar(a.zero, I8))
    with counted(a.batch) as n, counted(a.end, a.first) as r, counted(a.channels) as c:
        target = Array(a.y + n * a.y_batch + in_blocks(c, a.block, a.y_block, 1) + r * a.y_row, I8)
        row = r - a.top
        is_inside = (row >= 0) & (row < a.height)
        width = a.width.where(is_inside, 0)
        with counted(a.left) as p:
            target.put(p * a.block, fill)
        source = Array(a.x + ((n * a.channels + c) * a.height + row) * a.width, I8)
        with counted(width) as p:
            target.put((p + a.left) * a.block, _stored(spec, source.get(p)))
        with counted(a.padded, a.left + width) as p:
            target.put(p * a.block, fill)


def _stored(spec: PackImages, item: Value) -> Value:
    return item ^ -128 if spec.signed else item
