"""The code of `kernels.packing.Unpack`."""

from ..elements import ELEMENT_BYTES
from ..isa import Isa
from ..packing import Unpack
from .loops import Arguments, counted, each_channel_row, in_blocks
from .memory import Array
from .pack import CODES
from .vector import F64, I64, STORED


def emit(spec: Unpack, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    with each_channel_row(a) as (n, c, r):
        x = a.x + n * a.x_batch + in_blocks(c, a.block, a.x_block, ELEMENT_BYTES[spec.stored]) + r * a.x_row
        y = a.y + n * a.y_batch + c * a.y_channel + r * a.y_row
        source, target = Array(x, STORED[spec.stored]), Array(y, CODES[spec.target])
        with counted(a.width) as p:
            value = source.get(p * a.block)
            if spec.stored != "f32":
                code = value.widened(I64, signed=spec.stored != "u8") - a.zero
                if spec.target == "f32":
                    value = (code.as_floats(F64) * a.scale.bits(F64)).halved()
                else:
                    value = code.truncated(CODES[spec.target])
            target.put(p, value)
