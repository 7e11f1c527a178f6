"""The kind combine: Add, Sub, Sum, Mul, Div and PRelu, element by element; exact, then rounded once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.kernels.reference.elementwise import (
    add_fixed,
    bounded,
    divide_fixed,
    divide_integers,
    multiply_fixed,
    prelu_fixed,
)
from qengine.kernels.reference.requantize import Tally, requantize
from qengine.kernels.reference.word import Codes, Word
from qengine.model.graph import NO_ACTIVATION, ActivationBounds
from qengine.model.rules import Arithmetic, Kind
from qengine.model.steps.step import Kernel, Step, Tensor

NO_QUOTIENT = "an integer is divided by 0, which has no result; mask the divisor before the division"
"""Message of the error of a division by 0."""

Operation = Literal["add", "subtract", "multiply", "divide", "prelu"]


def aligned(codes: Codes, shift: int, word: Word) -> Codes:
    """Return an operand in the word of the sum, as devices need it that add codes of one format only."""
    return requantize(codes.astype(np.int64), shift, word)


def _divide(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    if a.dtype.kind not in "iu":
        return np.asarray(np.true_divide(a, b))
    if not np.all(b):
        raise ModelError(NO_QUOTIENT)
    return divide_integers(a, b)


_FLOAT: dict[Operation, Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": _divide,
    "prelu": lambda x, slope: np.where(x < 0, x * slope, x),
}


@dataclass(frozen=True, eq=False)
class Combine(Step):
    """Elementwise arithmetic: out = activation(a operation b ...). Only "add" takes another number of terms than two.

    Attributes
    ----------
    operation : name of the operation.
    terms : inputs, which broadcast.
    activation : fused Relu or Clip.
    """

    kind: ClassVar[str] = "combine"
    operation: Operation
    terms: tuple[Tensor, ...]
    activation: ActivationBounds | None = None

    def __post_init__(self) -> None:
        np.broadcast_shapes(*(t.shape for t in self.terms))  # raises ValueError if they do not fit

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """The shape of the inputs, broadcast."""
        return np.broadcast_shapes(*(t.shape for t in self.terms))

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The element type of the inputs."""
        return self.terms[0].dtype

    @property
    def rule_kind(self) -> Kind:  # type: ignore[override]
        """The kind of operator: sums, or products and quotients."""
        return "add" if self.operation in ("add", "subtract") else "mul"

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """The terms."""
        return self.terms

    def float32(self) -> Kernel:
        """Return the kernel on real numbers or integers."""
        operation = _FLOAT[self.operation]
        activation = self.activation or NO_ACTIVATION

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            y = np.asarray(reduce(operation, arrays))
            y = bounded(y, activation.low, activation.high)
            return np.array(y) if y is arrays[0] else y

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes."""
        word = arithmetic.word(out.one_format)
        activation = self.activation or NO_ACTIVATION
        bounds = {"low": out.encode_bound(activation.low), "high": out.encode_bound(activation.high)}
        # The kernel of a division does not bring bounds into the word.
        least, most = (None if c is None else min(max(c, word.least), word.most) for c in bounds.values())
        n, target = [t.fraction_bits for t in self.terms], out.fraction_bits
        signs = [1, -1] if self.operation == "subtract" else [1] * len(n)
        moved = [t.format != out.format and arithmetic.aligns for t in self.terms]

        def add(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            terms = [aligned(x, k - target, word) if m else x for x, k, m in zip(arrays, n, moved, strict=True)]
            bits = [target if m else k for k, m in zip(n, moved, strict=True)]
            return add_fixed(terms, bits, signs, target, word, **bounds, tally=tally)

        def multiply(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            a, b = arrays
            return multiply_fixed(a, b, n[0] + n[1] - target, word, **bounds, tally=tally)

        def divide(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            a, b = arrays
            codes = divide_fixed(a, b, n[0] - n[1] - target, word, tally=tally)
            return codes if self.activation is None else np.clip(codes, least, most)

        def prelu(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            x, slope = arrays
            return prelu_fixed(x, slope, n[1], n[0] - target, word, **bounds, tally=tally)

        return {"multiply": multiply, "divide": divide, "prelu": prelu}.get(self.operation, add)
