"""QuantizeLinear and DequantizeLinear: exact if the scale is a power of two, else in float32 as in ONNX."""

from dataclasses import dataclass
from math import frexp
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError, ModelError, UnsupportedError
from qengine.model.ops.axes import normalized
from qengine.model.ops.operator import ANY, REAL, Role, Since, operator
from qengine.model.ops.shape import ELEMENTS
from qengine.model.steps import Convert, FromCodes, Island, Join, Rounded, Tensor, ToCodes
from qengine.model.steps.forms import Concatenated
from qengine.qformat import QFormat

NOT_FINITE = "x holds NaN or infinity, which has no scale"
"""Message for a DynamicQuantizeLinear of such numbers."""

Plain = Annotated[Tensor, Role.PLAIN]

_STORED = {f"{sign}int{bits}": (bits, not sign) for bits in (2, 4, 8, 16) for sign in ("", "u")}
"""Integer types of codes: their number of bits, and whether they are signed."""


def stored_format(dtype: np.dtype[Any], scale: float, zero_point: int) -> QFormat | None:
    """Return the format whose codes stored integers are; None where they are codes of no format.

    The scale must be a power of two. The zero point must be 0 or, in an unsigned type, the middle: the codes are signed
    then.
    """
    bits, signed = _STORED.get(dtype.name, (0, False))
    fraction, exponent = frexp(scale)
    if not bits or fraction != 0.5:
        return None
    if zero_point and (signed or zero_point != 1 << (bits - 1)):
        return None
    signed = signed or zero_point != 0
    n = 1 - exponent
    try:
        return QFormat(bits - signed - n, n, signed)
    except FormatError:
        return None


def default_dtype(output_dtype: int) -> np.dtype[Any] | None:
    """Return the output type of a QuantizeLinear without a zero point; None for one without a handler."""
    name = ELEMENTS.get(output_dtype, "") if output_dtype else "uint8"
    return np.dtype(name) if name in _STORED else None


def _constant_format(dtype: np.dtype[Any], scale: Tensor, zero_point: Tensor | None) -> tuple[QFormat | None, int]:
    """Return the format that a constant scale and zero point give a whole tensor, and the zero point."""
    if scale.value is None or scale.value.size != 1 or (zero_point is not None and zero_point.value is None):
        return None, 0
    offset = 0 if zero_point is None or zero_point.value is None else int(zero_point.value.astype(np.int64).item())
    return stored_format(dtype, float(scale.value.item()), offset), offset


def check_scale(scale: NDArray[Any], what: str, *, may_be_zero: bool = False) -> None:
    """Raise ModelError for a scale that quantizes nothing: NaN, infinity, or 0.

    Parameters
    ----------
    scale
        Array of scales.
    what
        Name for the message.
    may_be_zero
        Whether 0 is allowed: all codes then represent 0, as in channels without weights.
    """
    wrong = ~np.isfinite(scale) | ((scale == 0) & (not may_be_zero))
    if wrong.any():
        found = float(np.asarray(scale)[wrong].flat[0])
        raise ModelError(f"{what} is {found}, and must be a finite number other than 0; quantize the model again")


def spread(parameter: Tensor, x: Tensor, axis: int) -> tuple[int, ...]:
    """Return the shape in which a scale or zero point broadcasts against x.

    Raises
    ------
    ModelError
        If it is neither a single number nor one for each index of the axis.
    """
    if parameter.shape in ((), (1,)):
        return ()
    (axis,) = normalized(x, (axis,))
    if parameter.ndim != 1 or parameter.shape[0] != x.shape[axis]:
        raise ModelError(
            f"'{parameter.name}' {list(parameter.shape)} must have one number for each index of axis {axis}"
        )
    return tuple(-1 if i == axis else 1 for i in range(x.ndim))


def _check_parameters(node: str, scale: Tensor, zero_point: Tensor | None, block_size: int) -> None:
    if block_size:
        raise UnsupportedError(f"{node} in blocks has no handler")
    if zero_point is not None and zero_point.shape != scale.shape and zero_point.shape not in ((), (1,)):
        raise ModelError(f"scale {list(scale.shape)} and zero point {list(zero_point.shape)} differ in shape")


@dataclass(frozen=True)
class Quantized:
    """Integers of real numbers: saturate(round(x / scale) + zero point), half to even; NaN as 0.

    Attributes
    ----------
    shape, offset_shape : shapes in which scales and zero points broadcast against x; see `spread`.
    dtype : type of the integers.
    scale : name of the scale, for messages.
    """

    shape: tuple[int, ...]
    offset_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: str

    def __call__(self, values: NDArray[Any], step: NDArray[Any], *offsets: NDArray[Any]) -> NDArray[Any]:
        """Return the integers."""
        # DynamicQuantizeLinear, spelled in other operators, computes a scale of 0 for zeros.
        check_scale(step, f"scale '{self.scale}'", may_be_zero=not values.any())
        quotient = np.rint(values / step.reshape(self.shape)).astype(np.float64)
        codes = np.where(np.isnan(quotient), 0.0, quotient)
        if offsets:
            codes = codes + offsets[0].reshape(self.offset_shape)
        limits = np.iinfo(self.dtype)
        return np.asarray(np.clip(codes, limits.min, limits.max).astype(self.dtype))


@dataclass(frozen=True)
class Dequantized:
    """Real numbers of integers: (x - zero point) * scale.

    Attributes
    ----------
    shape, offset_shape, scale : see `Quantized`.
    may_be_zero : whether a single scale may be 0.
    """

    shape: tuple[int, ...]
    offset_shape: tuple[int, ...]
    scale: str
    may_be_zero: bool

    def __call__(self, codes: NDArray[Any], step: NDArray[Any], *offsets: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers."""
        check_scale(step, f"scale '{self.scale}'", may_be_zero=step.size > 1 or self.may_be_zero)
        values = codes.astype(np.float32)
        if offsets:
            values = values - offsets[0].reshape(self.offset_shape).astype(np.float32)
        return np.asarray(values * step.reshape(self.shape))


@operator("QuantizeLinear", since=10, elements=REAL)
def quantize_linear(
    x: Tensor,
    scale: Plain,
    zero_point: Plain | None = None,
    *,
    axis: Annotated[int, Since(13)] = 1,
    saturate: Annotated[int, Since(19)] = 1,  # noqa: ARG001 - for float8, which has no handler
    block_size: Annotated[int, Since(21)] = 0,
    output_dtype: Annotated[int, Since(21)] = 0,
    precision: Annotated[int, Since(23)] = 0,
) -> Convert | Island:
    """saturate(round(x / scale) + zero point), half to even."""
    _check_parameters("QuantizeLinear", scale, zero_point, block_size)
    dtype = default_dtype(output_dtype) if zero_point is None else zero_point.dtype
    if dtype is None or dtype.name not in _STORED:
        raise UnsupportedError(f"QuantizeLinear to {dtype} has no handler")
    if scale.value is not None:
        check_scale(scale.value, f"scale '{scale.name}'")
    fmt, offset = _constant_format(dtype, scale, zero_point)
    if fmt is not None:
        return ToCodes(x, fmt, offset, dtype)
    if precision or dtype.kind == "V":
        raise UnsupportedError("QuantizeLinear with a precision has no handler")
    offset_shape = () if zero_point is None else spread(zero_point, x, axis)
    convert = Quantized(spread(scale, x, axis), offset_shape, dtype, scale.name)
    return Island((x, scale) if zero_point is None else (x, scale, zero_point), convert, x.shape, dtype)


@operator("DequantizeLinear", since=10, elements=ANY)
def dequantize_linear(
    x: Plain,
    scale: Plain,
    zero_point: Plain | None = None,
    *,
    axis: Annotated[int, Since(13)] = 1,
    block_size: Annotated[int, Since(21)] = 0,
    output_dtype: Annotated[int, Since(23)] = 0,
) -> Convert | Island:
    """(x - zero point) * scale."""
    _check_parameters("DequantizeLinear", scale, zero_point, block_size)
    if x.dtype.name not in {*_STORED, "int32"} or output_dtype or scale.dtype.name not in ("float32", "float16"):
        raise UnsupportedError(f"DequantizeLinear of {x.dtype} has no handler")
    if zero_point is not None and zero_point.dtype != x.dtype:
        raise ModelError(f"'{x.name}' ({x.dtype}) and zero point '{zero_point.name}' ({zero_point.dtype}) differ")
    if scale.value is not None:
        check_scale(scale.value, f"scale '{scale.name}'", may_be_zero=scale.value.size > 1)
    fmt, offset = _constant_format(x.dtype, scale, zero_point)
    if fmt is not None:
        return FromCodes(x, fmt, offset, scale.dtype)
    offset_shape = () if zero_point is None else spread(zero_point, x, axis)
    convert = Dequantized(spread(scale, x, axis), offset_shape, scale.name, may_be_zero=scale.value is None)
    operands = (x, scale) if zero_point is None else (x, scale, zero_point)
    return Island(operands, convert, x.shape, scale.dtype)


@operator("Requantize", domain="qengine")
def requantize(x: Tensor) -> Join | Convert:
    """x in another format: the pass that reads quantized models puts it in the place of a pair."""
    if x.format is None:
        return Rounded(x)
    return Join((x,), Concatenated(0) if x.ndim else np.copy, x.shape)


__all__ = [
    "NOT_FINITE",
    "Dequantized",
    "Quantized",
    "check_scale",
    "default_dtype",
    "dequantize_linear",
    "quantize_linear",
    "requantize",
    "spread",
    "stored_format",
]
