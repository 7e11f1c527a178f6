"""Lowering of ConvInteger and QLinearConv: exact sums of products of 8-bit integers with zero points.

The input is packed into blocks of channels, with its zero point as padding, so that every window is whole; the dot
kernel stores its sums in 32 bits; and what zero points add is subtracted as the sums are brought to ONNX's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.epilogue import Sums
from qengine.kernels.integer_product import PackImages, UnpackSums
from qengine.kernels.layout import natural_block
from qengine.kernels.program import Call
from qengine.model.eager.evaluator import find_evaluator
from qengine.model.steps import Evaluated, Tensor
from qengine.model.steps.forms import Convolution
from qengine.runtime.native.columns import convolution_on_rows, is_column
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.dot import DotOp
from qengine.runtime.native.lowerings.linear_op import Filters
from qengine.runtime.native.lowerings.quantize import known, rescale_op
from qengine.runtime.native.op import Op, Rows
from qengine.runtime.native.output_stage import OutputStage
from qengine.runtime.native.plain_op import Part, PlainCalls
from qengine.runtime.native.sampling import convolution_sampling
from qengine.runtime.native.tensor_buffer import TensorBuffer, View, constant_buffer, images


@dataclass(frozen=True)
class _SumsStage(OutputStage):
    """Output stage that stores sums in 32 bits."""

    @property
    def epilogue(self) -> Any:
        """The end of the sums."""
        return Sums()

    def channel_numbers(self, order: NDArray[np.intp], totals: NDArray[np.int64] | int) -> NDArray[np.uint8]:  # noqa: ARG002
        """Return the numbers that sums begin with."""
        return np.zeros(order.size, np.int32).view(np.uint8)

    @property
    def vector_bytes(self) -> int:
        """The bytes of the numbers of 16 channels."""
        return Sums().number_bytes


_STAGE = _SumsStage(None, 0, np.zeros(1, np.float32), np.zeros(2, np.float32))


@lowers_plain(Evaluated, "ConvInteger")
def lower_conv_integer(context: PlainContext[Evaluated]) -> Lowered:
    """Lower ConvInteger with constant filters."""
    x, w, x_zero, w_zero = (*context.step.evaluation.inputs, None, None)[:4]
    assert x is not None
    assert w is not None
    out = TensorBuffer.plain(context.out)
    return Lowered(ConvolutionSums.of(context, x, w, x_zero, w_zero).ops(out, None), (out,))


@lowers_plain(Evaluated, "QLinearConv")
def lower_qlinear_conv(context: PlainContext[Evaluated]) -> Lowered:
    """Lower QLinearConv with constant filters and scales."""
    inputs: Sequence[Any] = context.step.evaluation.inputs
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = inputs[:8]
    bias = inputs[8] if len(inputs) > 8 else None
    shape = context.out.shape
    sums = TensorBuffer.flat(f"sums of {context.out.name}", prod(shape), "i32")
    biases = None if bias is None else known(bias)
    ops = ConvolutionSums.of(context, x, w, x_zero, w_zero).ops(sums, biases)
    factors = np.float32(known(x_scale, "x_scale").reshape(())) * known(w_scale, "w_scale", may_be_zero=False).ravel()
    scales = np.array(factors / np.float32(known(y_scale, "y_scale").reshape(())), np.float32)
    out = TensorBuffer.plain(context.out)
    spread = (1, -1, *(1,) * (len(shape) - 2)) if scales.size > 1 else ()
    op = rescale_op(context.isa, sums, (scales, known(y_zero).ravel()), out, shape, spread)
    return Lowered((*ops, op), (out,))


class ConvolutionSums:
    """The sums of a convolution of an input with constant filters, with zero points of both."""

    def __init__(
        self,
        context: PlainContext[Any],
        form: Convolution,
        x: Tensor,
        w: NDArray[Any],
        w_zero: NDArray[Any] | None,
    ) -> None:
        shape = images(x.shape)
        if shape is None or x.ndim < 3 or min(min(p) for p in form.pads) < 0:
            raise NotLowered(f"a convolution of integers with {x.ndim - 2} spatial axes, or negative padding")
        if is_column(x.shape) and (row := convolution_on_rows(form, w.shape)) is not None:
            form, shape = row, (*shape[:2], 1, shape[2])
        self.context, self.form, self.shape, self.x = context, form, shape, context.request(x)
        self.is_signed = x.dtype == np.int8
        self.zero = constant_buffer(np.zeros(1, x.dtype))
        self.w, self.points = _centred_filters(w, w_zero)
        if len(form.strides) == 1:
            self.w = self.w.reshape(*w.shape[:2], 1, -1)

    @classmethod
    def of(
        cls, context: PlainContext[Evaluated], x: Tensor, w: Tensor, x_zero: Tensor | None, w_zero: Tensor | None
    ) -> ConvolutionSums:
        """Return the sums of a node."""
        node = context.step.evaluation.node
        evaluator = find_evaluator(node)
        assert evaluator is not None
        form = evaluator.keywords(node)["window"].step(x, w).product
        assert isinstance(form, Convolution)
        sums = cls(context, form, x, known(w), None if w_zero is None else known(w_zero))
        if x_zero is not None:
            sums.zero = context.request(x_zero)
        return sums

    def zero_is(self, point: NDArray[Any]) -> None:
        """Set a constant zero point of the input."""
        self.zero = constant_buffer(point)

    def _both(self, values: Sequence[Any], other: Any) -> tuple[Any, Any]:
        return (other, values[0]) if len(values) == 1 else (values[0], values[1])

    def ops(self, out: TensorBuffer, bias: NDArray[Any] | None) -> tuple[Op, ...]:
        """Return the ops that write the sums, plus a bias, to a plain buffer."""
        isa, (batch, channels, height, width) = self.context.isa, self.shape
        (top, bottom), (left, right) = self._both(self.form.pads, (0, 0))
        padded = batch, channels, height + top + bottom, width + left + right
        block = natural_block(channels)
        buffer = TensorBuffer(f"{self.x.name} in blocks", padded, "u8", block, low=0, high=255)
        pack = _PackImagesOp(isa, (self.x, self.zero), buffer, self.is_signed, (top, left), (height, width))
        group, filters = self.form.group, self._filters()
        kernel = self.w.shape[2], self.w.shape[3]
        strides, dilations = self._both(self.form.strides, 1), self._both(self.form.dilations, 1)
        sampling = convolution_sampling(kernel, strides, dilations, ((0, 0), (0, 0)))
        rows, columns = (
            (n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(padded[2:], kernel, dilations, strides, strict=True)
        )
        sums = TensorBuffer("sums", (batch, len(filters), rows, columns), "i32", DotOp.output_block(len(filters)))
        dot = DotOp(isa, (buffer,), sums, Filters("s8", filters, group, sampling), _STAGE)
        return pack, dot, self._unpacking(sums, out, bias)

    def _filters(self) -> NDArray[np.int8]:
        """Return the filters; where they have zero points, each group has one more, which sums its input."""
        if self.points is None:
            return self.w.astype(np.int8)
        groups = self.w.reshape(self.form.group, -1, *self.w.shape[1:]).astype(np.int8)
        return np.concatenate([groups, np.ones_like(groups[:, :1])], 1).reshape(-1, *self.w.shape[1:])

    def _unpacking(self, sums: TensorBuffer, out: TensorBuffer, bias: NDArray[Any] | None) -> Op:
        """Return the op that brings sums to ONNX's order, and subtracts what zero points add."""
        channels, rows = len(self.w), sums.shape[0] * sums.shape[2]
        zeros = np.zeros(channels, np.int32)
        points = zeros if self.points is None else np.array(np.broadcast_to(self.points, channels), np.int32)
        totals = self.w.reshape(channels, -1).sum(1, dtype=np.int32)
        numbers = [constant_buffer(a) for a in (totals, points, zeros if bias is None else bias.astype(np.int32))]
        spec = UnpackSums(self.is_signed, self.points is not None)

        def make(part: Part) -> list[Call]:
            x, zero, totals_place, points_place, bias_place = part.inputs
            layout = sums.layout
            strides = {"x_batch": layout.image, "x_block": layout.plane, "x_row": layout.row, "block": sums.block}
            places = {"x": x, "zero": zero, "sums": totals_place, "points": points_place, "bias": bias_place}
            sizes = {
                "channels": channels,
                "group": channels // self.form.group,
                "length": prod(self.w.shape[1:]),
                "height": sums.shape[2],
                "width": sums.shape[3],
            }
            span = {"y": part.outputs[0], "first": part.first, "end": part.end}
            return [Call(spec, {**places, **strides, **sizes, **span})]

        inputs = (sums, self.zero, *numbers)
        return PlainCalls(self.context.isa, inputs, out, "unpack_sums", make, rows, 1.5 * prod(sums.shape))


def _centred_filters(w: NDArray[Any], zero: NDArray[Any] | None) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
    """Return filters as signed bytes, and their zero points where these are not subtracted."""
    points = np.zeros(1, np.int32) if zero is None else zero.astype(np.int32).reshape(-1)
    centred = w.astype(np.int32) - points.reshape(-1, *(1,) * (w.ndim - 1))
    if centred.min() >= -128 and centred.max() <= 127:
        return centred, None
    less = 128 if w.dtype == np.uint8 else 0
    return w.astype(np.int32) - less, points - less


@dataclass(eq=False)
class _PackImagesOp(Op):
    """Packing of bytes into blocks of channels, with padding.

    Attributes
    ----------
    is_signed : whether the bytes are signed.
    before, size : rows and columns of padding before an image, and its size.
    """

    is_signed: bool
    before: tuple[int, int]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        self.kernel = "pack_images"

    def input_rows(self, buffer: TensorBuffer, first: int, end: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return the rows of an input that are read: it lies in plain order, which is one row."""
        return 0, 1

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the call that packs some rows."""
        (x, zero), (batch, channels, _, padded) = views, self.out.shape
        (top, left), (height, width) = self.before, self.size
        numbers = {"batch": batch, "channels": channels, "height": height, "width": width, "top": top, "left": left}
        target = {"y": out.at(0), "y_batch": out.image, "y_block": out.plane, "y_row": out.row, "block": self.out.block}
        span = {"padded": padded, "first": rows.first, "end": rows.end}
        return [Call(PackImages(self.is_signed), {"x": x.origin, "zero": zero.origin, **target, **numbers, **span})]
