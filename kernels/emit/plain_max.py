"""The code of `kernels.plain_pool.PlainMax`."""

from llvmlite import ir

from ..elements import ELEMENT_BYTES
from ..isa import Isa
from ..plain_pool import PlainMax
from .element import in_memory, kind_of, larger
from .loops import Arguments, counted, tile_count
from .memory import Variable
from .vector import I64, Value, load, load_masked, load_scalar


def emit(spec: PlainMax, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    size, element, kind = ELEMENT_BYTES[spec.element], in_memory(spec.element), kind_of(spec.element)
    lanes = 32 if size == 1 else 64 // max(size, 4)
    count = lanes * spec.stride
    names = ("height", "width", "rows", "columns", "kernel_h", "kernel_w", "stride_h", "_", "step_h", "step_w")
    sizes = {name: load_scalar(a.sizes + 8 * i, I64) for i, name in enumerate((*names, "top", "left"))}
    least = load_scalar(a.empty, element)
    numbers = Value(a.b, ir.Constant(ir.VectorType(I64, count), list(range(count))))

    def cells(row: Value, column: Value) -> Value:
        """Return the elements of a row from a column on that are `stride` apart, `least` beyond the edges."""
        place = row + column * size
        result = Variable(least.splat(count))
        is_inside = (column >= 0) & (column + count <= sizes["width"])
        with a.b.if_else(is_inside.v, likely=True) as (every, some):
            with every:
                result.put(load(place, element, count))
            with some:
                columns = numbers + column.splat(count)
                mask = (columns >= 0) & (columns < sizes["width"].splat(count))
                result.put(load_masked(place, mask, least.splat(count)))
        return result.get().picked(range(0, count, spec.stride))

    with counted(a.end, a.first) as n, counted(tile_count(sizes["columns"], lanes)) as v:
        first = v * lanes
        so_far = Variable(least.splat(lanes))
        top = n.modulo(sizes["rows"]) * sizes["stride_h"] - sizes["top"]
        plane = n.divided_by(sizes["rows"]) * sizes["height"]
        with counted(sizes["kernel_h"]) as i:
            r = top + i * sizes["step_h"]
            with a.b.if_then(((r >= 0) & (r < sizes["height"])).v), counted(sizes["kernel_w"]) as j:
                column = first * spec.stride - sizes["left"] + j * sizes["step_w"]
                found = cells(a.x + (plane + r) * sizes["width"] * size, column)
                so_far.put(larger(found, so_far.get(), kind))
        so_far.get().store_first(a.y + (n * sizes["columns"] + first) * size, sizes["columns"] - first)
