"""What every kind of step has in common: operands, the tensor that comes out, and two kernels."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.kernels.reference.requantize import Tally, quantize
from qengine.kernels.reference.word import Codes, Word
from qengine.qformat import Format, Overflow, QFormat, Rounding, fraction_bits_of

_FAR = 1 << 20  # beyond every word


class Kernel(Protocol):
    """A bound kernel: arrays in the order of the step's operands -> the array that comes out."""

    def __call__(self, *arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
        """Compute; a fixed-point kernel adds to `tally` where one is given."""


@dataclass(frozen=True)
class Arithmetic:
    """What fixed point is told for a whole run.

    Attributes
    ----------
    rounding, overflow : of the inputs and of every requantize; constants are half_even and saturate.
    accumulator_bits : the low bits that linear operators keep of their exact sums; None keeps all.
    """

    rounding: Rounding = Rounding.HALF_EVEN
    overflow: Overflow = Overflow.SATURATE
    accumulator_bits: int | None = None

    def word(self, form: QFormat) -> Word:
        """Return how a kernel writes codes of a format."""
        return form.word(self.rounding, self.overflow)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor as the plan knows it.

    Attributes
    ----------
    name : the model's own.
    dtype : element type in float32 arithmetic; codes have the format's.
    shape : known.
    value : the elements, where they are known when the plan is made.
    format : in fixed point; None for what is never quantized.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    value: NDArray[Any] | None = None
    format: Format | None = None

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating-point numbers, and so quantized in fixed point."""
        return self.dtype.kind == "f"

    @property
    def fraction_bits(self) -> int:
        """n of a tensor with one format."""
        return self.one_format.fraction_bits

    @property
    def one_format(self) -> QFormat:
        """The format of a tensor that has one for all its channels."""
        if not isinstance(self.format, QFormat):
            raise FormatError(f"tensor '{self.name}' needs one format for all its channels, not {self.format}")
        return self.format

    @cached_property
    def codes(self) -> Codes:
        """The codes of a constant: half_even and saturated, whatever the run's rounding and overflow."""
        assert self.value is not None
        assert self.format is not None
        if np.isnan(self.value).any():
            raise FormatError(f"constant '{self.name}' holds NaN: fixed point has no code for it")
        return quantize(self.value, fraction_bits_of(self.format, self.ndim), self.format.word())

    @property
    def elements(self) -> NDArray[Any]:
        """What a kernel reads of a tensor that is known: codes, or the elements themselves outside fixed point."""
        assert self.value is not None
        return self.value if self.format is None else self.codes

    def encode(self, value: float) -> int:
        """Return a constant of an operator (a bound, a fill) as a code of this tensor's format."""
        form = self.one_format
        if np.isnan(value):
            raise FormatError(f"a constant for tensor '{self.name}' is NaN: fixed point has no code for it")
        return int(quantize(np.asarray(value, np.float64), form.fraction_bits, form.word()))

    def encode_bound(self, value: float | None) -> int | None:
        """Return a fused activation's bound as an integer that may lie beyond the word.

        A kernel brings it into the word; that it lay beyond tells which saturations the bound does not hide.
        """
        if value is None:
            return None
        return int(np.clip(np.rint(np.ldexp(float(value), self.fraction_bits)), -_FAR, _FAR))


def codes_of(y: NDArray[Any], name: str, form: QFormat, arithmetic: Arithmetic, tally: Tally | None) -> Codes:
    """Return what was computed in float32 as codes, rounded as the run rounds; FormatError where it is NaN."""
    if np.isnan(y).any():
        raise FormatError(f"tensor '{name}' became NaN in float32: fixed point has no code for it")
    return quantize(y, form.fraction_bits, arithmetic.word(form), tally=tally)


class Step(ABC):
    """One tensor computed from others.

    Attributes
    ----------
    shape, dtype : of the output.
    scratch : the shape of the largest array that a kernel makes on its way, where that may be beyond the output's.
    """

    kind: ClassVar[str]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scratch: tuple[int, ...] = ()

    @property
    @abstractmethod
    def operands(self) -> tuple[Tensor, ...]:
        """What the kernels are called with, in order."""

    @abstractmethod
    def float32(self) -> Kernel:
        """Return the kernel on real numbers (or on integers and booleans as they are)."""

    def known(self) -> NDArray[Any]:
        """Compute from operands that are all known: the same bits on every machine, as formats depend on them."""
        # NumPy gives a scalar where it picks one element.
        return np.asarray(self.float32()(*[t.value for t in self.operands if t.value is not None]))

    @abstractmethod
    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes; `out` has the output's name and format."""


@dataclass(frozen=True, eq=False)
class OneOperand(Step):
    """A step on one tensor x, whose element type the output has."""

    x: Tensor

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The operand's."""
        return self.x.dtype

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """x."""
        return (self.x,)
