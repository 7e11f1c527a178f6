"""The kind island: operators without a rule in fixed point, computed in float32 between dequantize and quantize."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import Tally, dequantize
from qengine.model.rules import Arithmetic
from qengine.model.steps.step import Kernel, Step, Tensor, codes_of
from qengine.qformat import fraction_bits_of


@dataclass(frozen=True, eq=False)
class Island(Step):
    """A function of real numbers, integers or booleans, in both arithmetics: out = function(*inputs).

    Attributes
    ----------
    inputs : arguments of the function.
    function : function of arrays that returns an array.
    shape, dtype : shape and element type of the output.
    """

    kind: ClassVar[str] = "island"
    inputs: tuple[Tensor, ...]
    function: Callable[..., NDArray[Any]]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """The inputs."""
        return self.inputs

    def float32(self) -> Kernel:
        """Return the kernel on real numbers, integers or booleans."""
        function, dtype = self.function, self.dtype

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            return np.asarray(function(*arrays)).astype(dtype, copy=False)

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel that takes codes and gives codes."""
        compute = self.float32()
        n = [None if t.format is None else fraction_bits_of(t.format, t.ndim) for t in self.inputs]
        fmt = None if out.format is None else out.one_format

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            real = [a if k is None else dequantize(a, k) for a, k in zip(arrays, n, strict=True)]
            y = compute(*real)
            return y if fmt is None else codes_of(y, out.name, fmt, arithmetic, tally)

        return run
