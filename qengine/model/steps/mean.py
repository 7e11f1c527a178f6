"""The kind mean: an exact sum over windows or axes, divided by a count and rounded once, or as a device does it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.elementwise import divide_integers
from qengine.kernels.reference.requantize import Tally
from qengine.model.rules import Arithmetic, Kind
from qengine.model.steps.means import counts_of, mean_of
from qengine.model.steps.step import Kernel, OneOperand, Tensor


@dataclass(frozen=True, eq=False)
class Mean(OneOperand):
    """A mean or a sum: out = total(x) / count.

    Attributes
    ----------
    x : input.
    total : function x -> sums, in the element type of x.
    shape : shape of the output.
    count : divisor of every sum, 1 or more (1 makes it a sum), or a function that returns the divisor of each.
    scratch : see `Step`.
    """

    kind: ClassVar[str] = "mean"
    rule_kind: ClassVar[Kind] = "mean"
    total: Callable[[NDArray[Any]], NDArray[Any]]
    shape: tuple[int, ...]
    count: Callable[[], NDArray[np.int64]] | int
    scratch: tuple[int, ...] = ()

    def float32(self) -> Kernel:
        """Return the kernel on real numbers or integers."""
        total, count = self.total, counts_of(self, None)
        # The sum of many small numbers may overflow where their mean does not.
        wide = self.x.dtype if self.x.dtype.itemsize >= 4 else np.dtype(np.float32)
        if self.x.dtype.kind in "iu":
            wide = self.x.dtype if self.x.dtype.itemsize == 8 else np.dtype(np.int64)

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            (x,) = arrays
            sums = total(x.astype(wide, copy=False))
            if not (isinstance(count, int) and count == 1):
                sums = sums / count if wide.kind == "f" else divide_integers(sums, np.asarray(count, wide))
            return np.asarray(sums).astype(x.dtype, copy=False)

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes."""
        compute = mean_of(self, out, arithmetic)

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            (x,) = arrays
            return compute(x, tally)

        return run
