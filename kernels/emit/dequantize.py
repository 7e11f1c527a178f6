"""The code of `kernels.quantization.Dequantize`."""

from ..isa import Isa
from ..quantization import Dequantize
from .element import converted
from .loops import Arguments
from .quantize import each_element
from .vector import Value


def emit(spec: Dequantize, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""

    def compute(x: Value, scale: Value, zero: Value) -> Value:
        return (converted(x, spec.source, "f32") - zero) * scale

    each_element(spec, a, spec.source, "f32", spec.source, compute)
