"""Lowering of pools: the largest value or the mean of windows, or of whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.pool import Pool
from qengine.kernels.program import Call
from qengine.kernels.reference.word import Word
from qengine.model.steps import Mean, Move, Tensor
from qengine.model.steps.forms import AxisExtreme, AxisSum, WindowMax, WindowSum
from qengine.model.steps.means import counts_of, shifted_counts
from qengine.runtime.native.lowering_table import Lowered, LoweringContext, NotLowered, lowers
from qengine.runtime.native.op import Op, Rows
from qengine.runtime.native.tensor_buffer import STORED_DTYPE, Address, TensorBuffer, View, images

MAX_SUM_BITS = 60
"""The most bits of a sum, or of what it is compared with to round, that the kernel computes in 64 bits."""


@dataclass(frozen=True)
class Windows:
    """Windows of a pool, with two spatial axes: (rows, columns) each.

    Attributes
    ----------
    kernel, strides, dilations : attributes of ONNX.
    padding : rows above and columns to the left.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    padding: tuple[int, int]


def _windows(function: WindowMax | WindowSum, x: Tensor) -> Windows:
    """Return the windows of a pool of one or two spatial axes."""
    if images(x.shape) is None or x.ndim < 3:
        raise NotLowered(f"a tensor with {x.ndim} axes")

    def both(values: tuple[int, ...], other: int) -> tuple[int, int]:
        return (other, values[0]) if x.ndim == 3 else (values[0], values[1])

    before = tuple(p[0] for p in function.pads)
    return Windows(both(function.kernel, 1), both(function.strides, 1), both(function.dilations, 1), both(before, 0))


def _whole_image(axes: tuple[int, ...], x: Tensor) -> Windows:
    """Return the window that is a whole image, for a reduction of the spatial axes."""
    shape = images(x.shape)
    if shape is None or x.ndim < 3:
        raise NotLowered(f"a tensor with {x.ndim} axes")
    if tuple(sorted(a % x.ndim for a in axes)) != tuple(range(2, x.ndim)):
        raise NotLowered("a reduction of axes other than the spatial ones")
    return Windows((shape[2], shape[3]), (1, 1), (1, 1), (0, 0))


@dataclass(eq=False)
class PoolOp(Op):
    """The largest value or the mean of windows.

    Attributes
    ----------
    spec : specification of the kernel.
    windows : windows of the output pixels.
    counts : (output rows x columns,) divisor of each sum.
    shift : fraction bits of the input less those of the output.
    word : word of the output's codes; None where nothing is computed.
    empty : stored value of a window without cells.
    """

    spec: Pool
    windows: Windows
    counts: NDArray[Any]
    shift: int = 0
    word: Word | None = None
    empty: float = 0.0

    def __post_init__(self) -> None:
        self._counts = self.address_of(self.counts.astype(np.int64))
        self._empty = self.address_of(np.full(16, self.empty, STORED_DTYPE[self.inputs[0].stored]))
        self.kernel = f"{self.spec.operation} pool"

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        return prod(self.out.shape) / self.out.block * prod(self.windows.kernel) * 2

    def input_rows(self, buffer: TensorBuffer, first: int, end: int) -> tuple[int, int] | None:
        """Return the rows of the input that rows first..end of the output read; None for none."""
        w = self.windows
        low = first * w.strides[0] - w.padding[0]
        high = (end - 1) * w.strides[0] - w.padding[0] + (w.kernel[0] - 1) * w.dilations[0] + 1
        # The kernel reads no cell beyond the edges.
        height = buffer.shape[2]
        low, high = min(max(low, 0), height), min(max(high, 0), height)
        return (low, high) if low < high else None

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (buffer,), w, word = views, self.inputs, self.windows, self.word
        batch, _, _, width = self.out.shape
        arguments: dict[str, Address] = {
            **x.arguments("x"),
            **out.arguments("y"),
            **{"batch": batch, "blocks": self.out.layout.blocks},
            **{"first": rows.first, "rows": rows.count, "width": width},
            **{"height_in": buffer.shape[2], "width_in": buffer.shape[3]},
            **{"kernel_h": w.kernel[0], "kernel_w": w.kernel[1]},
            **{"stride_h": w.strides[0], "stride_w": w.strides[1], "dilation_h": w.dilations[0]},
            **{"dilation_w": w.dilations[1], "top": w.padding[0], "left_pad": w.padding[1], "empty": self._empty},
            **{"counts": self._counts, "left": max(-self.shift, 0), "right": max(self.shift, 0)},
            **{"low": word.lowest if word else 0, "high": word.most if word else 0, "bits": word.bits if word else 0},
            **{"zero_in": buffer.zero, "zero_out": self.out.zero},
            **out.flag_arguments,
        }
        return [Call(self.spec, arguments)]


@lowers(Move, function=WindowMax)
def lower_max_pool(context: LoweringContext[Move]) -> Lowered:
    """Lower the largest value of each window."""
    return _lower_max(context, _windows(context.function, context.step.x))


@lowers(Move, function=AxisExtreme)
def lower_global_max(context: LoweringContext[Move]) -> Lowered:
    """Lower the largest value of each image."""
    if not context.function.largest:
        raise NotLowered("the smallest value")
    return _lower_max(context, _whole_image(context.function.axes, context.step.x))


def _lower_max(context: LoweringContext[Move], windows: Windows) -> Lowered:
    step = context.step
    x = context.request_buffer(step.x)
    (least,) = step.constants
    assert least is not None
    empty = float(least) if step.x.format is None else step.x.encode(float(least)) + x.zero
    buffer = TensorBuffer.of(context.out, x.block, x.low, x.high)
    spec = Pool("max", x.stored, x.block)  # type: ignore[arg-type]
    return Lowered.by(PoolOp(context.isa, (x,), buffer, spec, windows, np.ones(1), empty=empty))


@lowers(Mean, total=WindowSum)
def lower_average_pool(context: LoweringContext[Mean]) -> Lowered:
    """Lower the mean or the sum of each window."""
    return _lower_mean(context, _windows(context.function, context.step.x))


@lowers(Mean, total=AxisSum)
def lower_global_average(context: LoweringContext[Mean]) -> Lowered:
    """Lower the mean or the sum of each image."""
    return _lower_mean(context, _whole_image(context.function.axes, context.step.x))


def _lower_mean(context: LoweringContext[Mean], windows: Windows) -> Lowered:
    step, out = context.step, context.out
    count = counts_of(step, None if out.format is None else context.arithmetic)
    x = context.request_buffer(step.x)
    buffer = TensorBuffer.of(out, x.block, flagged=context.counts)
    counts = np.broadcast_to(np.asarray(count, np.int64).reshape(-1), (prod(buffer.shape[2:]),))
    if out.format is None:
        return Lowered.by(PoolOp(context.isa, (x,), buffer, Pool("mean", "f32", x.block), windows, counts))
    word, shift = context.arithmetic.word(out.one_format), step.x.fraction_bits - out.fraction_bits
    method = context.arithmetic.mean.method
    if method == "shifted_count" and not (isinstance(count, int) and count == 1):
        counts = np.broadcast_to(np.asarray(shifted_counts(step, out, count)).reshape(-1), counts.shape)
        shift = max(shift, 0)
    elif method != "exact" and not (isinstance(count, int) and count == 1):
        raise NotLowered(f"means by mean.method = {method}")
    sum_bits = 17 + prod(windows.kernel).bit_length() + max(-shift, 0)
    if max(sum_bits, int(counts.max(initial=1)).bit_length() + max(shift, 0)) > MAX_SUM_BITS:
        raise NotLowered("sums of more than 60 bits")
    end = word.rounding, buffer.stored, word.fitting, word.keeps_sign, context.counts
    spec = Pool("mean", x.stored, x.block, *end)  # type: ignore[arg-type]
    return Lowered.by(PoolOp(context.isa, (x,), buffer, spec, windows, counts, shift, word))
