"""The kind convert: real numbers to stored integers and back, as QuantizeLinear and DequantizeLinear do."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import Tally, requantize
from qengine.model.rules import Arithmetic
from qengine.model.steps.step import Kernel, Step, Tensor, codes_of
from qengine.qformat import QFormat

_WIDE_BYTES = 8  # of integers that may be beyond 2^60


@dataclass(frozen=True, eq=False)
class Convert(Step):
    """A conversion between real numbers and the integers of a quantized model."""

    kind: ClassVar[str] = "convert"
    x: Tensor

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """The input."""
        return (self.x,)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """The shape of the operand."""
        return self.x.shape


@dataclass(frozen=True, eq=False)
class ToCodes(Convert):
    """Real numbers to integers: out = saturate(round(x * 2^n)) + zero point, always rounded half to even.

    Attributes
    ----------
    x : real numbers.
    format : format of the codes, from the scale of 2^-n and the integer type.
    zero_point : stored integer of 0.
    dtype : integer type of the output.
    """

    format: QFormat
    zero_point: int
    dtype: np.dtype[Any]

    def float32(self) -> Kernel:
        """Return the kernel on real numbers."""
        fmt, zero_point, dtype = self.format, self.zero_point, self.dtype
        word = fmt.word()

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            (x,) = arrays
            codes = np.rint(np.ldexp(x.astype(np.float64), fmt.fraction_bits))
            return (np.clip(codes, word.least, word.most) + zero_point).astype(dtype)

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:  # noqa: ARG002
        """Return the kernel on codes in the format of x."""
        shift, word = self.x.fraction_bits - self.format.fraction_bits, self.format.word()
        zero_point, dtype = self.zero_point, self.dtype

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            (x,) = arrays
            codes = requantize(x.astype(np.int64), shift, word)
            return (codes.astype(np.int64) + zero_point).astype(dtype)

        return run


@dataclass(frozen=True, eq=False)
class FromCodes(Convert):
    """Integers to real numbers: out = (x - zero point) * 2^-n.

    Attributes
    ----------
    x : stored integers.
    format : format of the codes, from the scale of 2^-n and the integer type.
    zero_point : stored integer of 0.
    dtype : element type of the real numbers.
    """

    format: QFormat
    zero_point: int
    dtype: np.dtype[Any]

    def float32(self) -> Kernel:
        """Return the kernel on stored integers."""
        n, zero_point, dtype = self.format.fraction_bits, self.zero_point, self.dtype

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            (x,) = arrays
            return np.asarray(np.ldexp((x.astype(np.int64) - zero_point).astype(dtype), -n))

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel that requantizes the codes to the format of `out`."""
        shift, word = self.format.fraction_bits - out.fraction_bits, arithmetic.word(out.one_format)
        zero_point = self.zero_point

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            (x,) = arrays
            return requantize(x.astype(np.int64) - zero_point, shift, word, tally=tally)

        return run


@dataclass(frozen=True, eq=False)
class FromIntegers(Convert):
    """Integers or truth values as real numbers: out = x, rounded once in fixed point.

    Attributes
    ----------
    x : integers or truth values.
    dtype : element type of the real numbers.
    """

    dtype: np.dtype[Any]

    def float32(self) -> Kernel:
        """Return the kernel that gives real numbers."""
        dtype = self.dtype

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            return arrays[0].astype(dtype)

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel that gives codes."""
        shift, word = -out.fraction_bits, arithmetic.word(out.one_format).unshifted

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            (x,) = arrays
            is_narrow = x.dtype.kind == "b" or x.dtype.itemsize < _WIDE_BYTES
            return requantize(x.astype(np.int64 if is_narrow else object), shift, word, tally=tally)

        return run


@dataclass(frozen=True, eq=False)
class Rounded(Convert):
    """Rounding of real numbers to a format: out = x, which is a code in fixed point.

    Attributes
    ----------
    x : real numbers.
    """

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The element type of the operand."""
        return self.x.dtype

    def float32(self) -> Kernel:
        """Return the kernel that returns its argument."""

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            return arrays[0]

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel that rounds real numbers as a run rounds its inputs."""
        fmt, name = out.one_format, out.name

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            (x,) = arrays
            return codes_of(x, name, fmt, arithmetic, tally)

        return run
