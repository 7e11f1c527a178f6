"""The code of `kernels.quantization.Rescale`."""

from ..isa import Isa
from ..quantization import Rescale
from .loops import Arguments
from .quantize import each_element, rounded
from .vector import F32, Value


def emit(spec: Rescale, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""

    def compute(x: Value, scale: Value, zero: Value) -> Value:
        return rounded(x.as_floats(F32) * scale, zero, spec.target, bounds)

    bounds = [bound.as_floats(F32).splat() for bound in (a.low, a.high)]
    each_element(spec, a, "i32", spec.target, spec.target, compute)
