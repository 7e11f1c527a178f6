"""The code of `kernels.quantization.Quantize`, and what it shares with the other conversions."""

from collections.abc import Callable, Sequence

from llvmlite import ir

from ..elements import ELEMENT_BYTES
from ..isa import Isa
from ..quantization import Dequantize, Quantize, Rescale
from .element import converted, in_memory
from .loops import Arguments, counted
from .vector import F32, I32, LANES, Value, first_lanes, load, load_lanes, load_masked, load_scalar

_ADDEND = 1.5 * 2.0**23  # adding a number to it rounds the number to an integer
_BEYOND = 2.0**20  # outside of every type, with any zero point

Compute = Callable[[Value, Value, Value], Value]
"""Function (element, scale, zero point as float32) of vectors."""


def emit(spec: Quantize, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    each_element(spec, a, "f32", spec.target, spec.target, lambda x, scale, zero: rounded(x / scale, zero, spec.target))


def rounded(real: Value, zero: Value, target: str, bounds: Sequence[Value] | None = None) -> Value:
    """Return real numbers rounded half to even, plus a zero point, as integers of a type; NaN as 0.

    They are brought between bounds, given as float32, or else those of the type.
    """
    bits = 8 * ELEMENT_BYTES[target]
    ends = (0, 2**bits - 1) if target[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    low, high = ends if bounds is None else bounds
    whole = real.at_least(-_BEYOND).at_most(_BEYOND) + _ADDEND - _ADDEND
    whole = whole.like(0.0).where(whole.is_nan(), whole)
    return (whole + zero).at_least(low).at_most(high).as_integers(I32).truncated(in_memory(target))


def each_element(
    spec: Quantize | Dequantize | Rescale, a: Arguments, source: str, target: str, zero_type: str, compute: Compute
) -> None:
    """Build the loops over rows and their vectors."""
    sizes = ELEMENT_BYTES[source], ELEMENT_BYTES[target]
    kind, zero_kind = in_memory(source), in_memory(zero_type)

    def parameters(at: Value, mask: Value | None) -> tuple[Value, Value]:
        """Return the scales and zero points of a vector of columns."""
        scale_place, zero_place = a.scale + at * 4, a.zero + at * ELEMENT_BYTES[zero_type]
        if mask is None:
            return load(scale_place, F32), converted(load(zero_place, zero_kind), zero_type, "f32")
        ones = Value(a.b, ir.Constant(ir.VectorType(F32, LANES), [1.0] * LANES))  # nothing is divided by 0 there
        zeros = load_lanes(zero_place, zero_kind, mask)
        return load_masked(scale_place, mask, ones), converted(zeros, zero_type, "f32")

    with counted(a.end, a.first) as r:
        x, y = a.x + r * a.inner * sizes[0], a.y + r * a.inner * sizes[1]
        one: tuple[Value, Value] | None = None
        if not spec.by_column:
            i = r.modulo(a.count)
            zero = load_scalar(a.zero + i * ELEMENT_BYTES[zero_type], zero_kind).splat()
            one = load_scalar(a.scale + i * 4, F32).splat(), converted(zero, zero_type, "f32")
        vectors = a.inner.divided_by(LANES)
        with counted(vectors) as v:
            at = v * LANES
            compute(load(x + at * sizes[0], kind), *(one or parameters(at, None))).store(y + at * sizes[1])
        done = vectors * LANES
        with a.b.if_then((done < a.inner).v):
            mask = first_lanes(a.inner - done, LANES)
            last = load_lanes(x + done * sizes[0], kind, mask)
            compute(last, *(one or parameters(done, mask))).store_masked(y + done * sizes[1], mask)
