"""The code of `kernels.integer_product.UnpackSums`."""

from ..integer_product import UnpackSums
from ..isa import Isa
from .loops import Arguments, counted, in_blocks
from .memory import Array
from .vector import I8, I32, Value, load_scalar


def emit(spec: UnpackSums, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    zero = load_scalar(a.zero, I8).widened(I32, signed=spec.signed)
    point = zero + 128 if spec.signed else zero
    sums, points, biases = (Array(address, I32) for address in (a.sums, a.points, a.bias))
    length = a.length.truncated(I32)
    with counted(a.end, a.first) as row, counted(a.channels) as c:
        n, r = row.divided_by(a.height), row.modulo(a.height)
        base = a.x + n * a.x_batch + r * a.x_row
        target = Array(a.y + ((n * a.channels + c) * a.height + r) * a.width * 4, I32)
        added = biases.get(c) - point * sums.get(c)
        if not spec.has_points:
            source = _channel(a, base, c)
            with counted(a.width) as p:
                target.put(p, source.get(p * a.block) + added)
        else:
            first = c.divided_by(a.group) * (a.group + 1)
            number = points.get(c)
            source, whole = _channel(a, base, first + c.modulo(a.group)), _channel(a, base, first + a.group)
            more = added + number * length * point
            with counted(a.width) as p:
                at = p * a.block
                target.put(p, source.get(at) - number * whole.get(at) + more)


def _channel(a: Arguments, base: Value, c: Value) -> Array:
    return Array(base + in_blocks(c, a.block, a.x_block, 4), I32)
