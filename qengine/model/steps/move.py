"""move: elements are picked, rearranged or bounded, never computed with. The output has the input's format."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import Tally, count
from qengine.model.steps.step import Arithmetic, Kernel, Step, Tensor


@dataclass(frozen=True, eq=False)
class Move(Step):
    """out = function(x, *others, *constants), the same on codes as on real numbers.

    Attributes
    ----------
    x : what is moved.
    function : for any element type, monotonic where it compares.
    shape : of the output.
    others : indices and the like, never quantized.
    constants : numbers of x's kind (bounds, fills); in fixed point they come as codes of x's format.
    scratch : see `Step`.
    out_dtype : where it is not x's (ArgMax), the output is not quantized.
    """

    kind: ClassVar[str] = "move"
    x: Tensor
    function: Callable[..., NDArray[Any]]
    shape: tuple[int, ...]
    others: tuple[Tensor, ...] = ()
    constants: tuple[float | None, ...] = ()
    out_dtype: np.dtype[Any] | None = None
    scratch: tuple[int, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The input's, unless the output is of another kind."""
        return self.out_dtype or self.x.dtype

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """x and what steers the move."""
        return (self.x, *self.others)

    def float32(self) -> Kernel:
        """Return the kernel on elements as they are."""
        return self._bound(*self.constants)

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:  # noqa: ARG002
        """Return the kernel on codes."""
        constants = [None if c is None else self.x.encode(c) for c in self.constants]
        move = self._bound(*constants)

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            codes = move(*arrays)
            if tally is not None and out.format is not None:
                count(tally, codes, np.False_, np.False_, codes)
            return codes

        return run

    def _bound(self, *constants: float | None) -> Kernel:
        function = self.function

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            return function(*arrays, *constants)

        return run
