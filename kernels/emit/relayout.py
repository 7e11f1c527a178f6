"""The code of `kernels.packing.Relayout`."""

from ..elements import ELEMENT_BYTES
from ..isa import Isa
from ..packing import Relayout
from .loops import Arguments, counted, each_channel_row, in_blocks
from .memory import Array
from .vector import I64, STORED


def emit(spec: Relayout, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    x_size, y_size = ELEMENT_BYTES[spec.source], ELEMENT_BYTES[spec.target]
    with each_channel_row(a) as (n, c, r):
        x = a.x + n * a.x_batch + in_blocks(c, a.x_channels, a.x_block, x_size) + r * a.x_row
        y = a.y + n * a.y_batch + in_blocks(c + a.skip, a.y_channels, a.y_block, y_size) + r * a.y_row
        source, target = Array(x, STORED[spec.source]), Array(y, STORED[spec.target])
        with counted(a.width) as p:
            value = source.get(p * a.x_channels)
            if spec.source != "f32":
                code = value.widened(I64, signed=spec.source != "u8") + a.change
                value = code.truncated(STORED[spec.target])
            target.put(p * a.y_channels, value)
