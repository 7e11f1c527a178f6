"""The code of `kernels.packing.DequantizeBlocks`."""

from ..elements import ELEMENT_BYTES
from ..isa import Isa
from ..packing import DequantizeBlocks
from .loops import Arguments, each_row, each_vector
from .vector import F64, I32, LANES, STORED, Value, load


def emit(spec: DequantizeBlocks, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    step, scale = LANES * ELEMENT_BYTES[spec.stored], a.scale.bits(F64).splat()
    with each_row(a, "x", "y") as (x, y):

        def compute(v: Value) -> Value:
            code = load(x + v * step, STORED[spec.stored]).widened(I32, signed=spec.stored != "u8")
            return ((code - a.zero.truncated(I32).splat()).as_floats(F64) * scale).halved()

        each_vector(a.vectors, a.rest, compute, lambda v: y + v * (LANES * 4))
