"""Quant, BipolarQuant and Trunc nodes of QONNX, read as formats and rules of fixed point.

Whatever a file holds, a node gives either exact formats and rules, or an error that names it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError, ModelError, UnsupportedError
from qengine.kernels.reference.requantize import scale as scaled_by
from qengine.kernels.reference.rounding import round_real
from qengine.model.graph import Node
from qengine.model.ops.qonnx import BIPOLAR, bipolar, integer_range, rounding_of
from qengine.model.rules import Modes
from qengine.qformat import ChannelFormats, Format, Overflow, QFormat, Rounding

_ATTRIBUTES = ("signed", "narrow", "rounding_mode")

_MOST_BITS, _MOST_CONSTANT_BITS = 16, 32

_REMEDY = "train with scales that are powers of two (Brevitas: restrict_scaling_type=POWER_OF_TWO; QKeras: alpha=1)"


@dataclass(frozen=True)
class Quantization:
    """The rounding of a tensor by a node.

    Attributes
    ----------
    node : the node, for messages.
    exponents : n of the scales 2^-n, in the shape of the scales.
    bits, signed, narrow : the integers; see `ops.qonnx.integer_range`. One bit with a sign is -1 and 1.
    rounding : rounding to the integers.
    """

    node: Node
    exponents: NDArray[np.int64]
    bits: int
    signed: bool
    narrow: bool
    rounding: Rounding

    @property
    def is_bipolar(self) -> bool:
        """Whether the integers are -1 and 1, by the sign of the number."""
        return self.signed and self.bits == 1

    @property
    def modes(self) -> Modes:
        """The rounding and overflow of results, where they are not the default."""
        is_default = self.rounding is Rounding.HALF_EVEN
        symmetric = Overflow.SYMMETRIC if self.signed and self.narrow else None
        return Modes(None if is_default else self.rounding, symmetric)

    @property
    def bound(self) -> int | None:
        """The greatest integer, where it is less than that of the format."""
        if self.signed:
            return None
        most = int(integer_range(self.bits, signed=False, narrow=self.narrow)[1])
        return most if self.narrow or self.bits == 1 else None

    def activation_format(self) -> QFormat:
        """Return the format of a tensor that a run computes.

        Raises
        ------
        UnsupportedError
            If there is none: the scales differ, or the word is too long.
        """
        distinct = np.unique(self.exponents)
        if distinct.size != 1:
            steps = ", ".join(f"{2.0**-n:g}" for n in distinct[::-1][:3])
            raise UnsupportedError(
                f"it has a scale for each channel of a tensor that is computed ({steps}, ...), which has one format: "
                "train with one scale for the tensor"
            )
        return self._format(int(distinct[0]))

    def constant_format(self, ndim: int) -> Format | None:
        """Return the format of a constant: one, or one per channel; None for a long bias, which has none."""
        if self.bits > _MOST_BITS:
            return None
        distinct = np.unique(self.exponents)
        if self.exponents.size == 1 or (distinct.size == 1 and sum(n > 1 for n in self.exponents.shape) > 1):
            return self._format(int(distinct[0]))
        axis = self.axis(ndim)
        return ChannelFormats(tuple(map(self._format, self.exponents.reshape(-1).tolist())), axis)

    def _format(self, n: int) -> QFormat:
        if self.bits > _MOST_BITS:
            raise UnsupportedError(
                f"it has {self.bits} bits; tensors that are computed, and weights, have up to {_MOST_BITS}: "
                "train with fewer, or leave the node out"
            )
        bits = max(self.bits, 2)
        try:
            return QFormat(bits - self.signed - n, n, self.signed)
        except FormatError as error:
            raise UnsupportedError(f"scale {2.0**-n:g}: {error}") from None

    def axis(self, ndim: int) -> int:
        """Return the axis of a tensor of `ndim` axes that counts scales."""
        shape = (1,) * (ndim - self.exponents.ndim) + self.exponents.shape
        axes = [i for i, length in enumerate(shape) if length != 1]
        if len(axes) != 1 or len(shape) != ndim:
            raise UnsupportedError(
                f"it has scales {list(self.exponents.shape)} for a tensor of {ndim} axes; "
                "one scale, or one for each index of one axis, has formats: train with those"
            )
        return axes[0]

    def of_constant(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the rounded numbers of a constant, exact: float64 where the type of the constant cannot hold them."""
        try:
            fits = np.broadcast_shapes(array.shape, self.exponents.shape) == array.shape
        except ValueError:
            fits = False
        if not fits:
            raise ModelError(f"scale {list(self.exponents.shape)} does not fit the tensor {list(array.shape)}")
        if np.isnan(array).any():
            raise ModelError("it rounds a constant that holds NaN, for which there is no code; export the model again")
        scaled = scaled_by(array, self.exponents)
        if self.is_bipolar:
            codes = bipolar(scaled, np.ones(()))
        else:
            least, most = integer_range(self.bits, signed=self.signed, narrow=self.narrow)
            codes = round_real(np.clip(scaled, least, most), self.rounding)
        with np.errstate(over="ignore", under="ignore"):
            exact = np.asarray(np.ldexp(codes, -self.exponents), np.float64) + 0.0
        rounded = exact.astype(array.dtype)
        return rounded if np.array_equal(rounded, exact) else exact


def quantization_of(node: Node, constants: Mapping[str, NDArray[Any]]) -> Quantization:
    """Return what a Quant or BipolarQuant does.

    Raises
    ------
    ModelError
        If an input or attribute is missing, or has a value that means nothing.
    UnsupportedError
        If it means something that fixed point cannot say.
    """
    _check_attributes(node, () if node.operator == BIPOLAR else _ATTRIBUTES)
    if node.operator == BIPOLAR:
        (scale,) = _parameters(node, constants, ("scale",))
        return Quantization(node, _exponents(scale, "scale"), 1, True, False, Rounding.HALF_EVEN)
    scale, zero_point, bits = _parameters(node, constants, ("scale", "zero_point", "bit_width"))
    _check_zero(zero_point)
    rounding = rounding_of(node.attributes.get("rounding_mode", "ROUND"))
    signed, narrow = (_flag(node, name) for name in ("signed", "narrow"))
    width = _width(bits, "bit_width")
    return Quantization(node, _exponents(scale, "scale"), width, signed, narrow, rounding)


@dataclass(frozen=True)
class Truncation:
    """The two roundings of a Trunc, and a factor between them.

    Attributes
    ----------
    first, second : the roundings; the first gives the integers of which the second drops bits.
    factor_bits : k of the factor 2^-k.
    """

    first: Quantization
    second: Quantization
    factor_bits: int


def truncation_of(node: Node, constants: Mapping[str, NDArray[Any]]) -> Truncation:
    """Return what a Trunc does; see `quantization_of` for the errors.

    The integers of the first rounding are not clipped in QONNX. Here they have just the bits at which clipping them
    changes no result, as the second rounding clips its own; in the older version, one more than the node tells.
    """
    _check_attributes(node, _ATTRIBUTES)
    if len(node.inputs) < 6:
        scale, zero_point, in_bits, out_bits = _parameters(
            node, constants, ("scale", "zero_point", "in_bit_width", "out_bit_width")
        )
        out_scale, is_old = scale, True
    else:
        scale, zero_point, in_bits, out_scale, out_bits = _parameters(
            node, constants, ("scale", "zero_point", "in_bit_width", "out_scale", "out_bit_width")
        )
        is_old = False
    _check_zero(zero_point)
    rounding = rounding_of(node.attributes.get("rounding_mode", "FLOOR"))
    n, out_n = (_exponents(one, name) for one, name in ((scale, "scale"), (out_scale, "out_scale")))
    if n.size != 1 or out_n.size != 1:
        raise UnsupportedError("it has a scale for each channel, and a computed tensor has one format")
    n, out_n = n.reshape(()), out_n.reshape(())
    width, out_width = _width(in_bits, "in_bit_width"), _width(out_bits, "out_bit_width")
    if is_old:
        first = Quantization(node, n, width + 1, True, False, Rounding.HALF_EVEN)
        second = Quantization(node, n, out_width + 1, True, False, rounding)
        return Truncation(first, second, width - out_width)
    signed, narrow = (_flag(node, name, default) for name, default in (("signed", 1), ("narrow", 0)))
    dropped = int(n) - int(out_n)
    bits = max(out_width + dropped + (dropped < 0), 2)
    first = Quantization(node, n, bits, signed, False, Rounding.HALF_EVEN)
    return Truncation(first, Quantization(node, out_n, out_width, signed, narrow, rounding), 0)


def _parameters(node: Node, constants: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> list[NDArray[Any]]:
    """Return the constant inputs after the first one."""
    given = node.inputs[1:]
    if len(given) != len(names) or not all(node.inputs):
        wanted = ", ".join(("x", *names))
        raise ModelError(f"it has {len(node.inputs)} inputs, and needs {wanted}; export the model again")
    if len(node.outputs) != 1:
        raise ModelError(f"it has {len(node.outputs)} outputs instead of one; export the model again")
    arrays = []
    for name, tensor in zip(names, given, strict=True):
        if tensor not in constants:
            raise UnsupportedError(
                f"its {name} '{tensor}' is computed by the model, and must be a constant: export the trained model"
            )
        array = constants[tensor]
        if array.dtype.kind not in "fiu":
            raise ModelError(f"its {name} has elements of type {array.dtype}; export the model again")
        arrays.append(array)
    return arrays


def _exponents(scale: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Return n of scales 2^-n."""
    wide = scale.astype(np.float64)
    if not wide.size or not np.isfinite(wide).all() or (wide <= 0).any():
        found = next(iter(wide[~np.isfinite(wide) | (wide <= 0)].tolist()), "no number")
        raise ModelError(f"its {name} is {found}, and must be finite and above 0; export the model again")
    fraction, exponent = np.frexp(wide)
    if (wrong := wide[fraction != 0.5]).size:
        raise UnsupportedError(f"its {name} is {wrong.flat[0]:g}, and no Qm.n has that step: {_REMEDY}")
    return np.asarray(1 - exponent.astype(np.int64))


def _check_zero(zero_point: NDArray[Any]) -> None:
    if np.isnan(zero_point.astype(np.float64)).any():
        raise ModelError("its zero_point is nan; export the model again")
    if (wrong := zero_point[zero_point != 0]).size:
        raise UnsupportedError(
            f"its zero_point is {wrong.flat[0]:g}, and codes of a format have 0: train with a symmetric quantizer"
        )


def _width(bits: NDArray[Any], name: str) -> int:
    """Return a number of bits."""
    if np.unique(bits).size != 1:
        raise UnsupportedError(f"its {name} {list(bits.shape)} is not one number; train with one width for the tensor")
    width = float(bits.flat[0])
    if not np.isfinite(width) or width != np.floor(width) or width < 1:
        raise ModelError(f"its {name} is {width:g}, and must be a whole number above 0; export the model again")
    if width > _MOST_CONSTANT_BITS:
        raise UnsupportedError(
            f"its {name} is {width:g}; activations and weights have up to {_MOST_BITS} bits, biases up to "
            f"{_MOST_CONSTANT_BITS}: train with fewer"
        )
    return int(width)


def _check_attributes(node: Node, known: Sequence[str]) -> None:
    for name in node.attributes:
        if name not in known:
            raise UnsupportedError(
                f"its attribute '{name}' has no meaning here; there are {', '.join(known) or 'none'}"
            )


def _flag(node: Node, name: str, default: int | None = None) -> bool:
    value = node.attributes.get(name, default)
    if value is None:
        raise ModelError(f"it has no attribute '{name}'; export the model again")
    if value not in (0, 1):
        raise ModelError(f"its attribute '{name}' is {value!r}, and must be 0 or 1; export the model again")
    return bool(value)
