"""mean: an exact sum over windows or axes, divided exactly by the count, one round + overflow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.pool import mean_fixed
from qengine.kernels.reference.requantize import Tally
from qengine.model.steps.step import Arithmetic, Kernel, OneOperand, Tensor


@dataclass(frozen=True, eq=False)
class Mean(OneOperand):
    """out = total(x) / count.

    Attributes
    ----------
    x : what is averaged.
    total : the sums, for any element type, in that type.
    shape : of the output.
    scratch : see `Step`.
    count : what each sum is divided by, 1 or more (1 makes it a sum), or a function that gives it for every sum.
    """

    kind: ClassVar[str] = "mean"
    total: Callable[[NDArray[Any]], NDArray[Any]]
    shape: tuple[int, ...]
    count: Callable[[], NDArray[np.int64]] | int
    scratch: tuple[int, ...] = ()

    def float32(self) -> Kernel:
        """Return the kernel on numbers as they are."""
        total, count = self.total, self._count()
        # The sum of many float16 numbers may be beyond float16 where their mean is not.
        wide = np.dtype(np.float32) if self.x.dtype == np.float16 else self.x.dtype

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            (x,) = arrays
            sums = total(x.astype(wide, copy=False))
            if not (isinstance(count, int) and count == 1):
                sums = sums / count
            return np.asarray(sums).astype(x.dtype, copy=False)

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes."""
        total, count = self.total, self._count()
        shift, word = self.x.fraction_bits - out.fraction_bits, arithmetic.word(out.one_format)

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            (x,) = arrays
            return mean_fixed(total(x.astype(np.int64)), count, shift, word, tally=tally)

        return run

    def _count(self) -> NDArray[np.int64] | int:
        return self.count() if callable(self.count) else self.count
