"""Lowering of functions of one variable: tables of codes, and functions that kernels compute in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.elementwise import Lookup
from qengine.kernels.epilogue import LANES, SATURATED, UNDERFLOWED
from qengine.kernels.program import Call
from qengine.model.steps import Table
from qengine.runtime.native.function_kernels import cycles_of, kernel_of, label_of
from qengine.runtime.native.lowering_table import Lowered, LoweringContext, lowers
from qengine.runtime.native.op import Op, Rows
from qengine.runtime.native.tensor_buffer import STORED_DTYPE, Address, TensorBuffer, View


@dataclass(eq=False)
class LookupOp(Op):
    """A table of codes.

    Attributes
    ----------
    entries : stored code of the output for every stored code of the input, in ascending order of the latter.
    flags : flags of each entry; None where codes are not counted.
    """

    entries: NDArray[Any]
    flags: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        self._entries = self.aligned_copy(self.entries)
        self._flags = 0 if self.flags is None else self.aligned_copy(self.flags)
        self.kernel = "table"

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        return float(prod(self.out.shape))

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (buffer,) = views, self.inputs
        arguments: dict[str, Address] = {
            **{"table": self._entries, "batch": buffer.shape[0], "blocks": buffer.layout.blocks, "rows": rows.count},
            **{"items": buffer.layout.row_items},
            **x.arguments("x", rows.first),
            **out.arguments("y", rows.first),
            **out.flag_arguments,
            **({} if self.flags is None else {"flags": self._flags}),
        }
        return [Call(Lookup(buffer.stored, self.out.stored, self.flags is not None), arguments)]  # type: ignore[arg-type]


@dataclass(eq=False)
class FunctionOp(Op):
    """A function that the kernel computes in float32.

    Attributes
    ----------
    function : function, with the numbers that it takes.
    """

    function: Any

    def __post_init__(self) -> None:
        self._spec, numbers = kernel_of(self.function, "f32")
        self._numbers = self.address_of(numbers)
        self.kernel = label_of(self.function)

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        return (0.5 + cycles_of(self.function)) * prod(self.out.shape)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (buffer,) = views, self.inputs
        items = buffer.layout.row_items
        arguments: dict[str, Address] = {
            **{"numbers": self._numbers, "batch": buffer.shape[0], "blocks": buffer.layout.blocks, "rows": rows.count},
            **{"vectors": items // LANES, "rest": items % LANES},
            **x.arguments("x", rows.first),
            **out.arguments("y", rows.first),
        }
        return [Call(self._spec, arguments)]


@lowers(Table)
def lower_table(context: LoweringContext[Table]) -> Lowered:
    """Lower a function of one variable: in fixed point any, in float32 those that kernels compute."""
    step, out = context.step, context.out
    if out.format is None:
        kernel_of(step.function, "f32")  # raises NotLowered before a buffer is requested
        x = context.request_buffer(step.x)
        return Lowered.by(FunctionOp(context.isa, (x,), TensorBuffer.of(out, x.block), step.function))
    x = context.request_buffer(step.x)
    codes, saturates, underflows = step.table(out, context.arithmetic)
    buffer = TensorBuffer.of(out, x.block, int(codes.min()), int(codes.max()), flagged=context.counts)
    source, dtype = step.x.one_format.word(), STORED_DTYPE[buffer.stored]
    # Stored codes of 16 bits are signed: the table begins with -32768.
    size, first = (256, source.least + x.zero) if x.stored == "u8" else (65536, source.least + x.zero + 32768)
    entries = np.full(size, buffer.zero, dtype)
    entries[first : first + len(codes)] = (codes.astype(np.int64) + buffer.zero).astype(dtype)
    flags = None
    if context.counts:
        flags = np.zeros(size, dtype)
        flags[first : first + len(codes)] = saturates * SATURATED + underflows * UNDERFLOWED
    return Lowered.by(LookupOp(context.isa, (x,), buffer, entries, flags))
