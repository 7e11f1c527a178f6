"""Lowering of conversions: real numbers to codes in the middle of a plan, and codes to real numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qengine.kernels.epilogue import LANES
from qengine.kernels.packing import DequantizeBlocks, QuantizeBlocks
from qengine.kernels.program import Call
from qengine.kernels.reference.word import Word
from qengine.model.steps import FromCodes, Rounded
from qengine.runtime.native.lowering_table import Lowered, LoweringContext, NotLowered, lowers
from qengine.runtime.native.op import Op, Rows, double_bits
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, View


@dataclass(eq=False)
class QuantizeOp(Op):
    """Float32 values as codes.

    Attributes
    ----------
    word : word of the codes.
    fraction_bits : fraction bits of the codes.
    nan : address of the counter that the kernel increments where it finds NaN.
    """

    word: Word
    fraction_bits: int
    nan: Address

    def __post_init__(self) -> None:
        self.kernel = "quantize"

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (buffer,), word = views, self.inputs, self.word
        is_blocked = buffer.block == LANES
        last = buffer.shape[1] - (buffer.layout.blocks - 1) * LANES if is_blocked else LANES
        spec = QuantizeBlocks(self.out.stored, word.rounding, word.fitting, word.keeps_sign, self.out.flagged)  # type: ignore[arg-type]
        arguments: dict[str, Address] = {
            **_rows_of(buffer, x, out, rows),
            **{"last": last, "scale": double_bits(2.0**self.fraction_bits), "low": word.lowest, "high": word.most},
            **{"zero": self.out.zero, "bits": word.bits, "nan": self.nan},
            **out.flag_arguments,
        }
        return [Call(spec, arguments)]


@dataclass(eq=False)
class DequantizeOp(Op):
    """Codes as float32 values.

    Attributes
    ----------
    fraction_bits : fraction bits of the codes.
    """

    fraction_bits: int

    def __post_init__(self) -> None:
        self.kernel = "dequantize"

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (buffer,) = views, self.inputs
        arguments: dict[str, Address] = {
            **_rows_of(buffer, x, out, rows),
            **{"scale": double_bits(2.0**-self.fraction_bits), "zero": buffer.zero},
        }
        return [Call(DequantizeBlocks(buffer.stored), arguments)]  # type: ignore[arg-type]


def _rows_of(buffer: TensorBuffer, x: View, out: View, rows: Rows) -> dict[str, Address]:
    """Return the arguments for rows of an input, and of an output in the same blocks."""
    items = buffer.layout.row_items
    return {
        **x.arguments("x", rows.first),
        **out.arguments("y", rows.first),
        **{"batch": buffer.shape[0], "blocks": buffer.layout.blocks, "rows": rows.count},
        **{"vectors": items // LANES, "rest": items % LANES},
    }


@lowers(Rounded)
def lower_rounded(context: LoweringContext[Rounded]) -> Lowered:
    """Lower the rounding of float32 values to codes."""
    step, out = context.step, context.out
    if out.format is None or step.x.format is not None or step.x.dtype != np.float32:
        raise NotLowered("the rounding of other than float32 values to codes")
    x = context.request_buffer(step.x)
    buffer = TensorBuffer.of(out, x.block, flagged=context.counts)
    word = context.arithmetic.word(out.one_format)
    return Lowered.by(QuantizeOp(context.isa, (x,), buffer, word, out.fraction_bits, context.nan_counter()))


@lowers(FromCodes)
def lower_from_codes(context: LoweringContext[FromCodes]) -> Lowered:
    """Lower codes to float32 values."""
    step, out = context.step, context.out
    if out.format is not None or step.x.format is None or step.zero_point:
        raise NotLowered("integers of a quantized model")
    x = context.request_buffer(step.x)
    return Lowered.by(DequantizeOp(context.isa, (x,), TensorBuffer.of(out, x.block), step.x.fraction_bits))
