"""The code of `kernels.resize.ResizeRows`."""

from ..isa import Isa
from ..resize import ResizeRows
from .epilogue import FlaggedCodes, VectorEpilogue
from .loops import Arguments, counted, each_plane, each_vector
from .vector import F32, I32, I64, LANES, Value, load, load_scalar, zeros


def emit(spec: ResizeRows, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    epilogue, taps = spec.epilogue, spec.taps
    number = F32 if epilogue is None else I32
    sum_type = I64 if epilogue is not None and epilogue.wide else number
    size = 4 if epilogue is None else epilogue.itemsize
    requantize = None if epilogue is None else VectorEpilogue(epilogue, a.numbers, a)
    with each_plane(a, "x", "y") as (_, (x, y)), counted(a.rows) as r:
        indices, weights = a.indices + r * (taps * 8), a.weights + r * (taps * 4)

        def compute(v: Value) -> Value | FlaggedCodes:
            total = zeros(a.b, sum_type)
            for k in range(taps):
                row = load_scalar(indices + 8 * k, I64)
                value = load(x + row * a.x_row + v * (LANES * 4), number)
                weight = load_scalar(weights + 4 * k, number)
                if sum_type == I64:
                    value, weight = value.widened(I64), weight.widened(I64)
                total = total + value * weight.splat()
            return total if requantize is None else requantize.codes(total)

        target = y + r * a.y_row
        vectors, rest = a["items"].divided_by(LANES), a["items"].modulo(LANES)
        each_vector(vectors, rest, compute, lambda v: target + v * (LANES * size))
