"""The kind rows: Softmax and normalizations, whose results depend on all elements of a row; integers in fixed point."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import Tally
from qengine.model.rules import Arithmetic, Kind
from qengine.model.steps.island import Island
from qengine.model.steps.row_forms import RowForm
from qengine.model.steps.step import Kernel, Step, Tensor


@dataclass(frozen=True, eq=False)
class Rows(Step):
    """A function of rows: out = function(x, *parameters).

    Attributes
    ----------
    x : input.
    parameters : gain and offset, as far as the operator has them.
    function : the function, with its rule in fixed point.
    """

    kind: ClassVar[str] = "rows"
    x: Tensor
    parameters: tuple[Tensor, ...]
    function: RowForm

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """The shape of the input."""
        return self.x.shape

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The element type of the input."""
        return self.x.dtype

    @property
    def rule_kind(self) -> Kind:  # type: ignore[override]
        """The family of the function."""
        return self.function.family

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """The input, then the parameters."""
        return (self.x, *self.parameters)

    def float32(self) -> Kernel:
        """Return the kernel on real numbers."""
        return self.island().float32()

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes."""
        compute = self.function.on_codes(self.operands, out, arithmetic)
        dtype = arithmetic.word(out.one_format).dtype

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            return compute(*arrays, tally=tally) if arrays[0].size else np.empty(arrays[0].shape, dtype)

        return run

    def island(self) -> Island:
        """Return the same function on real numbers in fixed point too."""
        return Island(self.operands, self.function, self.shape, self.dtype)

    def is_island(self, islands: frozenset[str]) -> bool:
        """Whether a run in fixed point computes the function on real numbers: as asked, or where no rule covers it."""
        return self.function.family in islands or not self.function.has_rule(self.x)
