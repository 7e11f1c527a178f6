"""Operators of QONNX that round real numbers: Quant (also named IntQuant), BipolarQuant and Trunc.

Brevitas, QKeras and FINN write them. The pass `qonnx_reader` turns those of a model into formats and rules.
The functions here are the definitions of QONNX, on real numbers:

- Quant: (round(clip(x / scale + zero point, least, most)) - zero point) * scale, where least and most are those of the
  integers of a number of bits. With one bit and a sign it is BipolarQuant.
- BipolarQuant: scale where x >= 0, else -scale.
- Trunc: round(clip(q / 2^k, least, most)) * output scale, where q = half_even(x / scale), and 2^k is the ratio of the
  scales. Its older version, with five inputs, drops the bits by which the output is narrower, clips nothing, and
  multiplies by the scale of the input.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.kernels.reference.rounding import round_real
from qengine.model.graph import Node
from qengine.model.ops.operator import Role, operator
from qengine.model.steps import Island, Table, Tensor
from qengine.qformat import Rounding

DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
"""Domains of the operators: that of QONNX, and those of older exports of Brevitas and FINN."""

QUANT, BIPOLAR, TRUNC = frozenset({"Quant", "IntQuant"}), "BipolarQuant", "Trunc"
OPERATORS = QUANT | {BIPOLAR, TRUNC}

ROUNDINGS = {
    "ROUND": Rounding.HALF_EVEN,
    "HALF_EVEN": Rounding.HALF_EVEN,
    "HALF_UP": Rounding.HALF_AWAY,
    "HALF_DOWN": Rounding.HALF_ZERO,
    "FLOOR": Rounding.FLOOR,
    "CEIL": Rounding.CEIL,
    "UP": Rounding.AWAY,
    "DOWN": Rounding.TRUNC,
    "ROUND_TO_ZERO": Rounding.TRUNC,
}
"""Roundings by QONNX's names, in which up is away from zero and down is toward zero; the last is Brevitas's own."""

Plain = Annotated[Tensor, Role.PLAIN]
Reals = NDArray[Any]


def is_rounding(node: Node) -> bool:
    """Whether a node is one of the operators of QONNX that round."""
    return node.domain in DOMAINS and node.operator in OPERATORS


def rounding_of(name: object) -> Rounding:
    """Return the rounding that QONNX gives a name, in capitals or not.

    Raises
    ------
    UnsupportedError
        If there is none.
    """
    rounding = ROUNDINGS.get(name.upper()) if isinstance(name, str) else None
    if rounding is None:
        raise UnsupportedError(f"rounding_mode {name!r} has no rule; there are {', '.join(ROUNDINGS)}")
    return rounding


def integer_range(bits: float, *, signed: bool, narrow: bool) -> tuple[float, float]:
    """Return the least and the greatest integer of a number of bits."""
    most = 2.0 ** (bits - signed) - 1 - (narrow and not signed)
    return (-most - 1 + narrow if signed else 0.0), most


@dataclass(frozen=True)
class Quantizer:
    """The function of a Quant.

    Attributes
    ----------
    rounding : rounding.
    signed, narrow : the integers that there are; see `integer_range`.
    """

    rounding: Rounding
    signed: bool
    narrow: bool

    def __call__(self, x: Reals, scale: Reals, zero_point: Reals, bits: Reals) -> Reals:
        """Return the rounded numbers."""
        if bits.size != 1:
            raise ModelError(f"bit_width {list(bits.shape)} must be one number")
        codes = x / scale + zero_point
        if bits.item() == 1 and self.signed:
            rounded = np.where(codes >= 0, 1.0, -1.0)
        else:
            least, most = integer_range(bits.item(), signed=self.signed, narrow=self.narrow)
            rounded = round_real(np.clip(codes, least, most).astype(np.float64), self.rounding)
        return np.asarray((rounded - zero_point) * scale, x.dtype)


@dataclass(frozen=True)
class Truncator:
    """The function of a Trunc; see `Quantizer` for the attributes."""

    rounding: Rounding
    signed: bool
    narrow: bool

    def __call__(self, x: Reals, scale: Reals, zero_point: Reals, bits: Reals, *rest: Reals) -> Reals:
        """Return the numbers with fewer bits."""
        codes = np.rint((x / scale + zero_point).astype(np.float64))
        (out_bits,) = rest[-1:]
        if bits.size != 1 or out_bits.size != 1:
            raise ModelError("the bit widths must be one number each")
        if len(rest) == 1:
            rounded = round_real(codes / np.exp2(bits.item() - out_bits.item()), self.rounding)
            return np.asarray((rounded - zero_point) * scale, x.dtype)
        ratio = np.exp2(np.rint(np.log2(rest[0] / scale)))
        least, most = integer_range(out_bits.item(), signed=self.signed, narrow=self.narrow)
        rounded = round_real(np.clip(codes / ratio, least, most), self.rounding)
        return np.asarray((rounded - zero_point / ratio) * rest[0], x.dtype)


def bipolar(x: Reals, scale: Reals) -> Reals:
    """Return the scale where x >= 0, else the scale below zero."""
    return np.asarray(np.where(x >= 0, scale, -scale), x.dtype)


@dataclass(frozen=True)
class Signs:
    """The function of a BipolarQuant with one scale."""

    scale: float

    def __call__(self, x: Reals) -> Reals:
        """Return the numbers."""
        return np.where(x >= 0, self.scale, -self.scale)


def quant(
    x: Tensor,
    scale: Plain,
    zero_point: Plain,
    bit_width: Plain,
    *,
    signed: int,
    narrow: int,
    rounding_mode: str = "ROUND",
) -> Island:
    """Numbers rounded to integers of some bits, times the scale."""
    function = Quantizer(rounding_of(rounding_mode), bool(signed), bool(narrow))
    shape = np.broadcast_shapes(x.shape, scale.shape, zero_point.shape)
    return Island((x, scale, zero_point, bit_width), function, shape, x.dtype)


def bipolar_quant(x: Tensor, scale: Plain) -> Table | Island:
    """The scale where x >= 0, else the scale below zero."""
    if scale.value is not None and scale.value.size == 1 and len(scale.shape) <= x.ndim:
        return Table(x, Signs(float(scale.value.item())))
    return Island((x, scale), bipolar, np.broadcast_shapes(x.shape, scale.shape), x.dtype)


def trunc(
    x: Tensor,
    scale: Plain,
    zero_point: Plain,
    bit_width: Plain,
    *outputs: Plain,
    rounding_mode: str = "FLOOR",
    signed: int = 1,
    narrow: int = 0,
) -> Island:
    """Numbers with the low bits of their integers dropped."""
    if len(outputs) not in (1, 2):
        raise ModelError(f"Trunc has {4 + len(outputs)} inputs; there are 5, or 6 since version 2")
    function = Truncator(rounding_of(rounding_mode), bool(signed), bool(narrow))
    shape = np.broadcast_shapes(x.shape, scale.shape, zero_point.shape)
    return Island((x, scale, zero_point, bit_width, *outputs), function, shape, x.dtype)


for _domain in DOMAINS:
    for _name in QUANT:
        operator(_name, domain=_domain)(quant)
    operator(BIPOLAR, domain=_domain)(bipolar_quant)
    operator(TRUNC, domain=_domain)(trunc)

__all__ = [
    "BIPOLAR",
    "DOMAINS",
    "OPERATORS",
    "QUANT",
    "ROUNDINGS",
    "TRUNC",
    "bipolar",
    "integer_range",
    "is_rounding",
    "rounding_of",
]
