"""convert: between real numbers and stored integers that stand for them, as QuantizeLinear and DequantizeLinear do."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import Tally, requantize
from qengine.model.steps.step import Arithmetic, Kernel, Step, Tensor, codes_of
from qengine.qformat import QFormat


@dataclass(frozen=True, eq=False)
class Convert(Step):
    """Between real numbers and the integers that a model itself holds or gives."""

    kind: ClassVar[str] = "convert"
    x: Tensor

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """x."""
        return (self.x,)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """The operand's."""
        return self.x.shape


@dataclass(frozen=True, eq=False)
class ToCodes(Convert):
    """out = saturate(round(x * 2^n)) + zero point, rounded half to even whatever the run's rounding is.

    Attributes
    ----------
    x : real numbers.
    form : the format that a scale of 2^-n and the integer type stand for.
    zero_point : what 0 is stored as.
    dtype : the integer type that is stored.
    """

    form: QFormat
    zero_point: int
    dtype: np.dtype[Any]

    def float32(self) -> Kernel:
        """Return the kernel on real numbers."""
        form, zero_point, dtype = self.form, self.zero_point, self.dtype
        word = form.word()

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            (x,) = arrays
            codes = np.rint(np.ldexp(x.astype(np.float64), form.fraction_bits))
            return (np.clip(codes, word.least, word.most) + zero_point).astype(dtype)

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:  # noqa: ARG002
        """Return the kernel on codes of x's own format."""
        shift, word = self.x.fraction_bits - self.form.fraction_bits, self.form.word()
        zero_point, dtype = self.zero_point, self.dtype

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            (x,) = arrays
            codes = requantize(x.astype(np.int64), shift, word)
            return (codes.astype(np.int64) + zero_point).astype(dtype)

        return run


@dataclass(frozen=True, eq=False)
class FromCodes(Convert):
    """out = (x - zero point) * 2^-n.

    Attributes
    ----------
    x : integers as they are stored.
    form : the format that a scale of 2^-n and the integer type stand for.
    zero_point : what 0 is stored as.
    dtype : of the real numbers.
    """

    form: QFormat
    zero_point: int
    dtype: np.dtype[Any]

    def float32(self) -> Kernel:
        """Return the kernel on stored integers."""
        n, zero_point, dtype = self.form.fraction_bits, self.zero_point, self.dtype

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            (x,) = arrays
            return np.asarray(np.ldexp((x.astype(np.int64) - zero_point).astype(dtype), -n))

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel that brings the codes to out's format."""
        shift, word = self.form.fraction_bits - out.fraction_bits, arithmetic.word(out.one_format)
        zero_point = self.zero_point

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            (x,) = arrays
            return requantize(x.astype(np.int64) - zero_point, shift, word, tally=tally)

        return run


@dataclass(frozen=True, eq=False)
class Rounded(Convert):
    """out = x, which is a real number before and a code after.

    Attributes
    ----------
    x : real numbers.
    """

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The operand's."""
        return self.x.dtype

    def float32(self) -> Kernel:
        """Return the kernel that leaves real numbers as they are."""

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            return arrays[0]

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel that rounds as the run rounds its inputs."""
        form, name = out.one_format, out.name

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            (x,) = arrays
            return codes_of(x, name, form, arithmetic, tally)

        return run
