"""The code of `kernels.integer_product.UnpackSums`."""

from ..integer_product import UnpackSums
from ..isa import Isa
from .copy_transposed import transposed
from .loops import Arguments, counted, each_tile, in_blocks
from .memory import Array
from .pack_images import full_blocks
from .vector import I8, I32, LANES, Value, load, load_scalar


def emit(spec: UnpackSums, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    zero = load_scalar(a.zero, I8).widened(I32, signed=spec.signed)
    point = zero + 128 if spec.signed else zero
    sums, points, biases = (Array(address, I32) for address in (a.sums, a.points, a.bias))
    length = a.length.truncated(I32)
    in_tiles = a.length.like(0) if spec.has_points else full_blocks(a) * LANES

    def added(c: Value) -> Value:
        return biases.get(c) - point * sums.get(c)

    with counted(a.end, a.first) as row:
        n, r = row.divided_by(a.height), row.modulo(a.height)
        base = a.x + n * a.x_batch + r * a.x_row
        target, plane = a.y + (n * a.channels * a.height + r) * a.width * 4, a.height * a.width * 4
        with counted(in_tiles.divided_by(LANES)) as k:
            first = k * LANES
            numbers = [added(first + i).splat() for i in range(LANES)]
            with each_tile(a.width, LANES) as (_, p):
                pixels = [load(base + k * a.x_block + (p + i) * (4 * LANES), I32) for i in range(LANES)]
                for i, channel in enumerate(transposed(pixels)):
                    (channel + numbers[i]).store(target + (first + i) * plane + p * 4)
        with counted(a.channels, in_tiles) as c:
            channel_row = Array(target + c * plane, I32)
            if not spec.has_points:
                source, more = _channel(a, base, c), added(c)
                with counted(a.width) as p:
                    channel_row.put(p, source.get(p * a.block) + more)
            else:
                start = c.divided_by(a.group) * (a.group + 1)
                number = points.get(c)
                source, whole = _channel(a, base, start + c.modulo(a.group)), _channel(a, base, start + a.group)
                more = added(c) + number * length * point
                with counted(a.width) as p:
                    at = p * a.block
                    channel_row.put(p, source.get(at) - number * whole.get(at) + more)


def _channel(a: Arguments, base: Value, c: Value) -> Array:
    return Array(base + in_blocks(c, a.block, a.x_block, 4), I32)
