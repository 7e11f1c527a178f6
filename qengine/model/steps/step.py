"""The base of every kind of step: operands, an output, a kernel in float32 and one in fixed point."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.kernels.reference.requantize import Tally, quantize
from qengine.kernels.reference.rounding import round_real
from qengine.kernels.reference.word import Codes
from qengine.model.graph import StoredConstant
from qengine.model.rules import EXACT_CONSTANTS, Arithmetic, Kind, Modes
from qengine.qformat import Format, Overflow, QFormat, fraction_bits_of

ISLANDS = ("softmax", "norm", "recurrent")
"""Families of operators with a rule in integers that a run may leave: Softmax and LogSoftmax; normalizations;
LSTM, GRU and RNN."""

_MAX_BOUND_CODE = 1 << 20  # a code that is larger than every word


class Kernel(Protocol):
    """A bound kernel: a function of arrays, in the order of the step's operands, that returns the output."""

    def __call__(self, *arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
        """Return the output; a fixed-point kernel counts saturations and underflows in `tally` where one is given."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of a plan.

    Attributes
    ----------
    name : name in the model.
    dtype : element type in float32 arithmetic; codes have that of the format.
    shape : lengths of the axes.
    value : elements, if they are known when the plan is made.
    format : format in fixed point; None for a tensor that is never quantized.
    stored : integers of which the elements of a constant were computed, if there are any.
    encoding : rounding and overflow of a constant, and of numbers that are encoded in the format of the tensor.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    value: NDArray[Any] | None = None
    format: Format | None = None
    stored: StoredConstant | None = None
    encoding: Modes = EXACT_CONSTANTS

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating-point numbers, which fixed point quantizes."""
        return self.dtype.kind == "f"

    @property
    def fraction_bits(self) -> int:
        """The fraction bits of a tensor with one format."""
        return self.one_format.fraction_bits

    @property
    def one_format(self) -> QFormat:
        """The format of a tensor that has one format for all its channels."""
        if not isinstance(self.format, QFormat):
            raise FormatError(f"tensor '{self.name}' needs one format for all its channels, not {self.format}")
        return self.format

    @cached_property
    def codes(self) -> Codes:
        """The codes of a constant."""
        assert self.value is not None
        assert self.format is not None
        if np.isnan(self.value).any():
            raise FormatError(f"constant '{self.name}' holds NaN: fixed point has no code for it")
        return quantize(self.value, fraction_bits_of(self.format, self.ndim), self.encoding.word(self.format))

    def keep_codes(self, codes: Codes) -> None:
        """Keep codes that something else has computed: those that `codes` would compute."""
        self.__dict__["codes"] = codes

    @property
    def elements(self) -> NDArray[Any]:
        """The array that a kernel reads of a known tensor: its codes or, if it is not quantized, its elements."""
        assert self.value is not None
        return self.value if self.format is None else self.codes

    def encode(self, value: float) -> int:
        """Return a number of an operator (a bound, a fill) as a code in the format of this tensor; it saturates."""
        fmt = self.one_format
        if np.isnan(value):
            raise FormatError(f"a constant for tensor '{self.name}' is NaN: fixed point has no code for it")
        word = replace(self.encoding, overflow=Overflow.SATURATE).word(fmt)
        return int(quantize(np.asarray(value, np.float64), fmt.fraction_bits, word))

    def encode_bound(self, value: float | None) -> int | None:
        """Return the bound of a fused activation as an integer that may lie beyond the word.

        A kernel brings it into the word. A bound beyond the word does not hide a saturation, one inside does.
        """
        if value is None:
            return None
        assert self.encoding.rounding is not None
        code = min(max(float(value) * 2.0**self.fraction_bits, -_MAX_BOUND_CODE), _MAX_BOUND_CODE)
        return int(round_real(np.asarray(code, np.float64), self.encoding.rounding))


def codes_of(y: NDArray[Any], name: str, fmt: QFormat, arithmetic: Arithmetic, tally: Tally | None) -> Codes:
    """Return float32 results as codes, rounded as the run rounds.

    Parameters
    ----------
    y
        The results.
    name
        Name of the tensor, for the error message.
    fmt
        Format of the codes.
    arithmetic
        Rounding and overflow.
    tally
        Counts of saturations and underflows, which the results add to; None counts nothing.

    Raises
    ------
    FormatError
        If an element is NaN.
    """
    if np.isnan(y).any():
        raise FormatError(f"tensor '{name}' became NaN in float32: fixed point has no code for it")
    return quantize(y, fmt.fraction_bits, arithmetic.word(fmt), tally=tally)


class Step(ABC):
    """The computation of one tensor from others.

    Attributes
    ----------
    kind : name of the kind.
    rule_kind : kind of operator whose rounding and overflow the result has in fixed point; see `rules.Kind`.
    shape, dtype : shape and element type of the output.
    scratch : shape of the largest intermediate array of a kernel, if it may be larger than the output.
    """

    kind: ClassVar[str]
    rule_kind: ClassVar[Kind] = "convert"
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scratch: tuple[int, ...] = ()

    @property
    @abstractmethod
    def operands(self) -> tuple[Tensor, ...]:
        """The arguments of the kernels, in order."""

    def with_operands(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the same computation of other tensors of the same types and shapes: the results of a function."""
        changed: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changed[field.name] = change(value)
            elif isinstance(value, tuple) and any(isinstance(one, Tensor) for one in value):
                changed[field.name] = tuple(change(one) if isinstance(one, Tensor) else one for one in value)
        return replace(self, **changed)  # type: ignore[type-var]

    @abstractmethod
    def float32(self) -> Kernel:
        """Return the kernel on real numbers, or on integers and booleans."""

    def known(self) -> NDArray[Any]:
        """Return the output of operands that are all known, the same bits on every machine: formats depend on them."""
        # NumPy gives a scalar where it picks one element.
        return np.asarray(self.float32()(*[t.value for t in self.operands if t.value is not None]))

    @abstractmethod
    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes; `out` has the output's name and format."""


@dataclass(frozen=True, eq=False)
class OneOperand(Step):
    """A step on one tensor x; the output has its element type."""

    x: Tensor

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The element type of the operand."""
        return self.x.dtype

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """The input."""
        return (self.x,)
