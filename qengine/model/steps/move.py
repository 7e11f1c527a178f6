"""The kind move: elements are picked, rearranged or bounded; the output has the format of the input."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import Tally, count
from qengine.model.rules import Arithmetic
from qengine.model.steps.step import Kernel, Step, Tensor


@dataclass(frozen=True, eq=False)
class Move(Step):
    """Elements of x in another order or shape: out = function(x, *others, *constants), on codes as on real numbers.

    Attributes
    ----------
    x : input.
    function : function of arrays of any element type, monotonic where it compares.
    shape : shape of the output.
    others : inputs that are never quantized, such as indices.
    constants : bounds and fills; in fixed point the function gets their codes in the format of x.
    out_dtype : element type of an output that is not quantized (ArgMax); None for that of x.
    scratch : see `Step`.
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
        """The element type of the input, unless `out_dtype` is another."""
        return self.out_dtype or self.x.dtype

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """x and the other inputs."""
        return (self.x, *self.others)

    def float32(self) -> Kernel:
        """Return the kernel on elements of any type."""
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
