"""The code of `kernels.resize.ResizeColumns`."""

from ..isa import Isa
from ..resize import ResizeColumns
from .loops import Arguments, counted, each_row
from .vector import F32, I32, I64, STORED, load, load_scalar, zeros


def emit(spec: ResizeColumns, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    lanes, taps = spec.lanes, spec.taps
    number = F32 if spec.stored == "f32" else I32
    with each_row(a, "x", "y") as (x, y), counted(a.width) as p:
        offsets, weights = a.offsets + p * (taps * 8), a.weights + p * (taps * 4)
        total = zeros(a.b, number, lanes)
        for k in range(taps):
            value = load(x + load_scalar(offsets + 8 * k, I64), STORED[spec.stored], lanes)
            if number == I32:
                value = value.widened(I32, signed=spec.stored != "u8") - a.zero.truncated(I32).splat(lanes)
            total = total + value * load_scalar(weights + 4 * k, number).splat(lanes)
        # Lanes beyond a pixel's channels are written over by the next pixel.
        total.store(y + p * a.block * 4)
