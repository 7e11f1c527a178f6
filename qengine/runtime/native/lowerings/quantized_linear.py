"""Lowering of linear steps between integers; see `quantized_steps`."""

from __future__ import annotations

from math import prod

import numpy as np

from qengine.model.steps.forms import Convolution, MatrixProduct
from qengine.runtime.native.lowering_table import Lowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.integer_convolutions import ConvolutionSums
from qengine.runtime.native.lowerings.integer_products import product_sums
from qengine.runtime.native.lowerings.quantize import rescale_op
from qengine.runtime.native.op import Op
from qengine.runtime.native.quantized_steps import QuantizedLinear
from qengine.runtime.native.tensor_buffer import TensorBuffer


@lowers_plain(QuantizedLinear, Convolution)
def lower_convolution(context: PlainContext[QuantizedLinear]) -> Lowered:
    """Lower a convolution."""
    step, sums = context.step, _sums(context)
    convolution = ConvolutionSums(context, context.function, step.x, step.weights, None)
    convolution.zero_is(step.of_x.zero_point)
    ops = convolution.ops(sums, step.bias)
    return _rescaled(context, ops, sums, (1, -1, *(1,) * (len(step.shape) - 2)))


@lowers_plain(QuantizedLinear, MatrixProduct)
def lower_matrix_product(context: PlainContext[QuantizedLinear]) -> Lowered:
    """Lower the product of rows with a constant matrix."""
    step, sums = context.step, _sums(context)
    matrix = step.weights.T if context.function.transposed_w else step.weights
    ops = product_sums(context, (step.x, step.of_x.zero_point), matrix, step.bias, sums)
    return _rescaled(context, ops, sums, (*(1,) * (len(step.shape) - 1), -1))


def _sums(context: PlainContext[QuantizedLinear]) -> TensorBuffer:
    return TensorBuffer.flat(f"sums of {context.out.name}", prod(context.out.shape), "i32")


def _rescaled(
    context: PlainContext[QuantizedLinear], ops: tuple[Op, ...], sums: TensorBuffer, spread: tuple[int, ...]
) -> Lowered:
    """Return the ops that make sums, and the one that makes integers of them."""
    step, out = context.step, TensorBuffer.plain(context.out)
    factors = np.array(step.of_x.scale * step.factors / step.of_y.scale, np.float32)
    numbers = factors, step.of_y.zero_point
    op = rescale_op(context.isa, sums, numbers, out, step.shape, spread if factors.size > 1 else (), step.bounds)
    return Lowered((*ops, op), (out,))
