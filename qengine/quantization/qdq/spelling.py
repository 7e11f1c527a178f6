"""Two ways to say that a tensor is rounded: a pair of ONNX's nodes, and a Quant of QONNX."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError, UnsupportedError
from qengine.kernels.reference.word import Word
from qengine.model.graph import Attribute, Node
from qengine.model.ops.qonnx import DOMAINS, ROUNDINGS
from qengine.model.rules import Modes
from qengine.qformat import Format, Overflow, QFormat

ACTIVATION_BITS = (8, 16)
"""Word lengths that a pair stores."""

OPSET, WIDE_OPSET = 13, 21
"""The first opset with a scale for each channel, and the first with 16-bit integers: those that are written."""

_QONNX_VERSION = 2
_ROUNDING_NAMES = {rounding: name for name, rounding in reversed(ROUNDINGS.items())}
_OVERFLOWS = (Overflow.SATURATE, Overflow.SYMMETRIC)


class OldOpsetError(UnsupportedError):
    """An opset has no integers of a word length."""


class AddsInitializers(Protocol):
    """Function that adds an initializer with a free name, and returns the name."""

    def __call__(self, wanted: str, array: NDArray[Any]) -> str:
        """Add an array."""


class Spelling(ABC):
    """The nodes that round tensors and constants.

    Attributes
    ----------
    keeps_biases : whether a bias that is finer than its sums can be written as the real numbers that it is.
    """

    keeps_biases = False

    @abstractmethod
    def check(self, name: str, fmt: Format, version: int, *, is_constant: bool) -> None:
        """Raise an error if tensors of a word length cannot be written at an opset."""

    @abstractmethod
    def word(self, name: str, fmt: Format) -> Word:
        """Return the word in which a constant is encoded."""

    @abstractmethod
    def rounding(
        self, name: str, fmt: QFormat, names: tuple[str, str], add: AddsInitializers, fresh: Callable[[str], str]
    ) -> list[Node]:
        """Return the nodes that round a tensor of the model to a format.

        Parameters
        ----------
        name, fmt
            Name in the model, and the format.
        names
            Tensor that is rounded, and result.
        add
            Function that adds scales.
        fresh
            Function that returns free names.
        """

    @abstractmethod
    def constant(
        self, codes: NDArray[Any], width: int, bits: list[int], axis: int | None, out: str, add: AddsInitializers
    ) -> Node:
        """Return the node that gives real numbers of codes.

        Parameters
        ----------
        codes, width
            Codes and their word length.
        bits
            Fraction bits: one number, or one for each index of the axis.
        axis
            The axis; None for one number.
        out
            Result.
        add
            Function that adds the codes, or what stands for them, and the scales.
        """


class Pairs(Spelling):
    """QuantizeLinear and DequantizeLinear: integers of 8 and 16 bits, rounded half to even, which saturate."""

    def check(self, name: str, fmt: Format, version: int, *, is_constant: bool) -> None:
        """Raise an error if tensors of a word length cannot be written at an opset."""
        if not is_constant and fmt.bits not in ACTIVATION_BITS:
            raise FormatError(
                f"'{name}' is {fmt}, of {fmt.bits} bits; a quantized model stores activations in 8 or 16 bits, "
                "and one of QONNX (--as qonnx) in any"
            )
        least = WIDE_OPSET if fmt.bits > ACTIVATION_BITS[0] else OPSET
        if version < least:
            raise OldOpsetError(f"integers of {fmt.bits} bits exist from opset {least} on, not at {version}")

    def word(self, name: str, fmt: Format) -> Word:  # noqa: ARG002
        """Return the word in which a constant is encoded."""
        return fmt.word()

    def rounding(
        self, name: str, fmt: QFormat, names: tuple[str, str], add: AddsInitializers, fresh: Callable[[str], str]
    ) -> list[Node]:
        """Return the nodes that round a tensor of the model to a format."""
        real, out = names
        scale = add(f"{name}_scale", np.array(fmt.step, np.float32))
        zero = add(f"{name}_zero_point", np.zeros((), fmt.dtype))
        stored = fresh(f"{name}_quantized")
        spelled = (("QuantizeLinear", real, stored), ("DequantizeLinear", stored, out))
        return [Node(op, (source, scale, zero), (result,), {}, f"{result}/{op}") for op, source, result in spelled]

    def constant(
        self,
        codes: NDArray[Any],
        width: int,  # noqa: ARG002
        bits: list[int],
        axis: int | None,
        out: str,
        add: AddsInitializers,
    ) -> Node:
        """Return the node that gives real numbers of codes."""
        stored = f"{out}_quantized"
        name = add(stored, codes)
        scale_name = add(f"{stored}_scale", _scales(out, bits, axis))
        zero = add(f"{stored}_zero_point", np.zeros(len(bits) if axis is not None else (), codes.dtype))
        attributes = {} if axis is None else {"axis": axis}
        return Node("DequantizeLinear", (name, scale_name, zero), (out,), attributes, f"{out}_dequantize")


class Quants(Spelling):
    """Quant of QONNX: integers of 2 to 16 bits, each with a rounding of its own.

    Parameters
    ----------
    modes
        Function that returns the rounding and overflow of a tensor; neither is None.
    constant_modes
        Function that returns those of a constant.
    """

    keeps_biases = True

    def __init__(self, modes: Callable[[str], Modes], constant_modes: Callable[[str], Modes]) -> None:
        self._modes, self._constant_modes = modes, constant_modes

    def check(self, name: str, fmt: Format, version: int, *, is_constant: bool) -> None:
        """Raise no error: every word length can be written at any opset."""

    def word(self, name: str, fmt: Format) -> Word:
        """Return the word in which a constant is encoded."""
        modes = self._constant_modes(name)
        assert modes.rounding is not None
        assert modes.overflow is not None
        return fmt.word(modes.rounding, modes.overflow)

    def rounding(
        self,
        name: str,
        fmt: QFormat,
        names: tuple[str, str],
        add: AddsInitializers,
        fresh: Callable[[str], str],  # noqa: ARG002
    ) -> list[Node]:
        """Return the nodes that round a tensor of the model to a format."""
        modes = self._modes(name)
        spelled = None if modes.rounding is None else _ROUNDING_NAMES.get(modes.rounding)
        if spelled is None:
            raise UnsupportedError(
                f"'{name}' is rounded {modes.rounding}, for which QONNX has no name; it has "
                f"{', '.join(dict.fromkeys(map(str, ROUNDINGS.values())))}"
            )
        if modes.overflow not in _OVERFLOWS:
            raise UnsupportedError(f"'{name}' overflows by {modes.overflow}; in QONNX all saturates, or is symmetric")
        narrow = int(modes.overflow is Overflow.SYMMETRIC and fmt.signed)
        scale = np.array(fmt.step, np.float32)
        return [_quant(name, scale, fmt.bits, names, add, signed=int(fmt.signed), narrow=narrow, rounding=spelled)]

    def constant(
        self, codes: NDArray[Any], width: int, bits: list[int], axis: int | None, out: str, add: AddsInitializers
    ) -> Node:
        """Return the node that gives real numbers of codes; it reads these numbers."""
        shape = [1] * codes.ndim if axis is not None else []
        if axis is not None:
            shape[axis] = len(bits)
        scale = _scales(out, bits, axis).reshape(shape)
        exact = codes.astype(np.float64) * scale
        if not np.array_equal(values := exact.astype(np.float32), exact):
            raise UnsupportedError(
                f"float32 does not hold all codes of '{out}', and a Quant reads float32: give its factors fewer bits"
            )
        names = add(f"{out}_numbers", values), out
        signed = int(codes.dtype.kind == "i")
        return _quant(out, scale, width, names, add, signed=signed, narrow=0, rounding="ROUND")


def _quant(
    name: str,
    scale: NDArray[np.float32],
    bits: int,
    names: tuple[str, str],
    add: AddsInitializers,
    *,
    signed: int,
    narrow: int,
    rounding: str,
) -> Node:
    """Return a Quant."""
    real, out = names
    parameters = (("scale", scale), ("zero_point", np.zeros((), np.float32)), ("bits", np.array(bits, np.float32)))
    inputs = (real, *(add(f"{name}_{what}", array) for what, array in parameters))
    attributes: dict[str, Attribute] = {"signed": signed, "narrow": narrow, "rounding_mode": rounding}
    return Node("Quant", inputs, (out,), attributes, f"{out}/Quant", DOMAINS[0], _QONNX_VERSION)


def _scales(out: str, bits: list[int], axis: int | None) -> NDArray[np.float32]:
    """Return the scales 2^-n: an array without axes, or one for each index of an axis."""
    with np.errstate(over="ignore", under="ignore"):
        scale = np.exp2(-np.array(bits, np.float64)).astype(np.float32)
    if not scale.all() or not np.isfinite(scale).all():
        n = max(bits) if not scale.all() else min(bits)
        raise FormatError(
            f"'{out}' has {n} fraction bits, and float32 has no scale of 2^{-n}: "
            "choose other formats for the operator that reads it"
        )
    return scale if axis is not None else scale.reshape(())
