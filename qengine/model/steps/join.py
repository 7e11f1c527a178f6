"""The kind join: inputs are requantized to the output's format, then put together; Concat, Where, Max and Min.

The output of a Concat may have a format for each part. Then each input is requantized to its own, which most often it
has already.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import Tally, count, requantize
from qengine.kernels.reference.rounding import integer_dtype
from qengine.model.rules import Arithmetic
from qengine.model.steps.step import Kernel, Step, Tensor
from qengine.qformat import PartFormats


@dataclass(frozen=True, eq=False)
class Join(Step):
    """Tensors put together: out = function(*lead, *joined).

    Attributes
    ----------
    joined : inputs that are requantized to one format.
    function : function of arrays of any element type; it picks elements by position or by order.
    shape : shape of the output.
    lead : inputs that are never quantized, such as a condition.
    """

    kind: ClassVar[str] = "join"
    joined: tuple[Tensor, ...]
    function: Callable[..., NDArray[Any]]
    shape: tuple[int, ...]
    lead: tuple[Tensor, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The element type of the joined inputs."""
        return self.joined[0].dtype

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """The leading inputs, then the joined ones."""
        return (*self.lead, *self.joined)

    def float32(self) -> Kernel:
        """Return the kernel on elements of any type."""
        function = self.function

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            return function(*arrays)

        return run

    def fixed(self, out: Tensor, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes."""
        if isinstance(out.format, PartFormats):
            return self._in_parts(out.format, arithmetic)
        word = arithmetic.word(out.one_format)
        bits = [t.fraction_bits for t in self.joined]
        target, finest, leads = out.fraction_bits, max(bits), len(self.lead)
        wide = integer_dtype(17 + finest - min(bits))
        function = self.function

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            lead, joined = arrays[:leads], arrays[leads:]
            brought = [
                requantize(codes.astype(np.int64), n - target, word) for codes, n in zip(joined, bits, strict=True)
            ]
            if tally is not None:
                # Only elements that are picked count: they are picked from codes of the finest format, which are exact.
                aligned = [codes.astype(wide) * (1 << (finest - n)) for codes, n in zip(joined, bits, strict=True)]
                requantize(function(*lead, *aligned), finest - target, word, tally=tally)
            return function(*lead, *brought)

        return run

    def _in_parts(self, fmt: PartFormats, arithmetic: Arithmetic) -> Kernel:
        """Return the kernel on codes that gives each part codes of a format of its own."""
        shifts = [t.fraction_bits - part.fraction_bits for t, part in zip(self.joined, fmt.formats, strict=True)]
        is_kept = [t.format == part for t, part in zip(self.joined, fmt.formats, strict=True)]
        words = [arithmetic.word(part) for part in fmt.formats]
        function, dtype = self.function, fmt.dtype

        def run(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            parts = []
            for codes, kept, shift, word in zip(arrays, is_kept, shifts, words, strict=True):
                brought = codes if kept else requantize(codes.astype(np.int64), shift, word, tally=tally)
                if tally is not None and kept:
                    count(tally, codes, np.False_, np.False_, codes)
                parts.append(brought.astype(dtype))
            return function(*parts)

        return run
