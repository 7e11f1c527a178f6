"""The kind table: a function of one variable, in fixed point one entry for every input code."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import Tally
from qengine.kernels.reference.table import Function, count_table, look_up, make_table
from qengine.kernels.reference.word import Codes
from qengine.model.rules import Arithmetic, Kind
from qengine.model.steps.composition import Composition
from qengine.model.steps.step import Kernel, OneOperand, Tensor

_CHUNK_ELEMENTS = 1 << 15
"""Number of elements that are computed at a time in float32, so that float64 intermediates stay in a cache."""


def _on_reals(function: Function, x: NDArray[Any]) -> NDArray[Any]:
    return function.rounded(x) if isinstance(function, Composition) else function(x.astype(np.float64))


@dataclass(frozen=True, eq=False)
class Table(OneOperand):
    """A function of one variable, element by element: out = function(x).

    Attributes
    ----------
    x : argument, floating point.
    function : function of float64 arrays, made of operations that give the same bits on every machine.
    """

    kind: ClassVar[str] = "table"
    rule_kind: ClassVar[Kind] = "table"
    function: Function

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """The shape of the argument."""
        return self.x.shape

    def float32(self) -> Kernel:
        """Return the kernel on real numbers: in float64, a composition with every stage rounded."""
        function = self.function

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            (x,) = arrays
            y, flat = np.empty(x.shape, x.dtype), x.reshape(-1)
            for start in range(0, x.size, _CHUNK_ELEMENTS):
                piece = flat[start : start + _CHUNK_ELEMENTS]
                y.reshape(-1)[start : start + _CHUNK_ELEMENTS] = _on_reals(function, piece)
            return y

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes."""
        source = self.x.one_format.word()
        entries, saturates, underflows = self.table(out, arithmetic)

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            (codes,) = arrays
            result = look_up(codes, entries, source.least)
            if tally is not None:
                count_table(codes, result, source.least, saturates, underflows, tally)
            return result

        return run

    def table(self, out: Tensor, arithmetic: Arithmetic) -> tuple[Codes, NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the code of the output for every code of x, in ascending order, and which saturate and underflow."""
        word = arithmetic.word(out.one_format)
        return make_table(self.function, self.x.one_format.word(), self.x.fraction_bits, out.fraction_bits, word)
