"""Lowering of matrix products in plain order: of real numbers, and of two computed matrices of codes.

Products of codes are whole numbers, and so are their sums. As long as no sum leaves the integers that a real number
holds exactly, 2^24 in float32 and 2^53 in float64, a product of real numbers is exact in any order of additions. So
codes become real numbers, and the exact sums are requantized.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from qengine.model.graph import NO_ACTIVATION
from qengine.model.ops.linear import ScaledProduct
from qengine.model.steps import Island, Linear, Tensor
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.forms import ChannelScale, MatrixProduct
from qengine.runtime.native.broadcast_op import ExactNumbers, broadcast_op
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.broadcast import bounds_of, exact_op
from qengine.runtime.native.lowerings.code_products import lower_product_with_constant
from qengine.runtime.native.lowerings.register_sums import lower_in_order
from qengine.runtime.native.matrix_product import Added, Stack, product_ops, stack_offsets
from qengine.runtime.native.op import Op
from qengine.runtime.native.tensor_buffer import TensorBuffer, constant_buffer

_REALS = ("f32", "f64")
_EXACT_BITS = {"f32": 24, "f64": 53}
"""Bits of the integers that real numbers hold exactly."""


@lowers_plain(Linear, MatrixProduct, first=True)
def lower_matrix_product(context: PlainContext[Linear]) -> Lowered:
    """Lower a product with its bias and its activation."""
    step = context.step
    if not context.is_float:
        return _product_of_codes(context)
    activation = step.activation or NO_ACTIVATION
    bias = None if step.b is None else Tensor(step.b.name, step.b.dtype, step.bias_shape, step.b.value)
    return _lower(context, (step.x, step.w, bias), context.function, bounds=(activation.low, activation.high))


def _product_of_codes(context: PlainContext[Linear]) -> Lowered:
    """Lower a product of codes."""
    step, out = context.step, context.out
    if Accumulation(step, out, context.arithmetic).in_order:
        return lower_in_order(context)
    if step.w.value is not None:
        return lower_product_with_constant(context)
    rules = Accumulation(step, out, context.arithmetic)
    if step.b is not None or rules.kept_bits is not None:
        raise NotLowered("a product of computed codes with a bias, or with a register that may be too narrow")
    length = step.x.shape[0 if context.function.transposed_x else -1]
    limit = _largest(step.x) * _largest(step.w) * length
    element = next((name for name, bits in _EXACT_BITS.items() if limit < 1 << bits), None)
    if element is None:
        raise NotLowered("sums of products of more than 53 bits")
    ops: list[Op] = []

    def as_reals(t: Tensor) -> TensorBuffer:
        buffer = TensorBuffer(f"{t.name} ({element})", (1, 1, 1, prod(t.shape)), element, 1)
        ops.append(broadcast_op(context.isa, "cast", [(context.request(t), t.shape)], buffer, t.shape))
        return buffer

    sums = TensorBuffer(f"{out.name} (sums)", (1, 1, 1, prod(out.shape)), element, 1)
    ops += _product(context, (step.x, as_reals(step.x)), (step.w, as_reals(step.w)), context.function, sums)
    activation = step.activation or NO_ACTIVATION
    bounds = {"low": out.encode_bound(activation.low), "high": out.encode_bound(activation.high)}
    shift = step.x.fraction_bits + step.w.fraction_bits - out.fraction_bits
    numbers = ExactNumbers(context.arithmetic.word(out.one_format), shift, (0,), **bounds)
    return Lowered.by(*ops, exact_op(context, "add", [(sums, out)], out, numbers, limit))


@lowers_plain(Island, ScaledProduct, first=True)
def lower_scaled_product(context: PlainContext[Island]) -> Lowered:
    """Lower a Gemm with factors."""
    x, w, *third = context.step.inputs
    scaled = context.function
    return _lower(context, (x, w, third[0] if third else None), scaled.product, (scaled.alpha, scaled.beta))


@lowers_plain(Linear, ChannelScale)
def lower_channel_scale(context: PlainContext[Linear]) -> Lowered:
    """Lower x times a factor of each channel, plus an offset of each."""
    step, out = context.step, TensorBuffer.plain(context.out)
    if step.x.format is not None and context.out.format is not None:
        return lower_in_order(context)
    if not context.is_float or step.b is None or step.w.shape != (step.x.shape[context.function.axis],):
        raise NotLowered("a factor of each channel of codes")
    column, shape = step.bias_shape, step.x.shape
    product = TensorBuffer(f"{out.name} (product)", out.shape, out.stored, 1)
    activation = step.activation or NO_ACTIVATION
    bounds = bounds_of(activation.low, activation.high, step.dtype)
    x, w, b = (context.request(t) for t in (step.x, step.w, step.b))
    ops = (
        broadcast_op(context.isa, "multiply", [(x, shape), (w, column)], product, shape),
        broadcast_op(context.isa, "add", [(product, shape), (b, column)], out, shape, bounds=bounds),
    )
    return Lowered(ops, (out,))


def _lower(
    context: PlainContext[Linear] | PlainContext[Island],
    operands: tuple[Tensor, Tensor, Tensor | None],
    product: MatrixProduct,
    factors: tuple[float, float] = (1.0, 1.0),
    bounds: tuple[float | None, float | None] = (None, None),
) -> Lowered:
    """Return the ops of factors[0] x w + factors[1] c."""
    x, w, c = operands
    out = TensorBuffer.plain(context.out)
    if not context.is_float or out.stored not in _REALS:
        raise NotLowered(f"a product of {'codes' if not context.is_float else x.dtype}")
    pairs = (x, context.request(x)), (w, context.request(w))
    return Lowered(tuple(_product(context, *pairs, product, out, c, factors, bounds)), (out,))


def _product(
    context: PlainContext[Any],
    x_given: tuple[Tensor, TensorBuffer],
    w_given: tuple[Tensor, TensorBuffer],
    product: MatrixProduct,
    out: TensorBuffer,
    c: Tensor | None = None,
    factors: tuple[float, float] = (1.0, 1.0),
    bounds: tuple[float | None, float | None] = (None, None),
) -> Sequence[Op]:
    """Return the ops of factors[0] x w + factors[1] c, of tensors in buffers of real numbers."""
    (x, x_buffer), (w, w_buffer) = x_given, w_given
    left, right = (1, *x.shape) if x.ndim == 1 else x.shape, (*w.shape, 1) if w.ndim == 1 else w.shape
    stack = np.broadcast_shapes(left[:-2], right[:-2])
    if prod(right[:-2]) == 1 and not product.transposed_x:  # all rows are one matrix
        left, right, stack = (prod(left[:-1]), left[-1]), right[-2:], ()
    a = Stack(x_buffer, stack_offsets(left, stack), *_steps(left, is_transposed=product.transposed_x))
    b = Stack(w_buffer, stack_offsets(right, stack), *_steps(right, is_transposed=product.transposed_w))
    rows, inner = left[-2:][::-1] if product.transposed_x else left[-2:]
    columns = right[-2] if product.transposed_w else right[-1]
    added = None if c is None else _added(context, c, rows, columns, factors[1], is_one=not stack)
    return product_ops(context.isa, a, b, out, (rows, inner, columns), factor=factors[0], added=added, bounds=bounds)


def _largest(t: Tensor) -> int:
    word = t.one_format.word()
    return max(word.most, -word.least)


def _steps(shape: Sequence[int], *, is_transposed: bool) -> tuple[int, int]:
    """Return the distances from row to row and from column to column of the matrix as the product reads it."""
    return (1, shape[-1]) if is_transposed else (shape[-1], 1)


def _added(
    context: PlainContext[Any],
    c: Tensor,
    rows: int,
    columns: int,
    factor: float,
    *,
    is_one: bool,
) -> Added:
    """Return what is added: a row, or a number for every element of a product of two matrices.

    Parameters
    ----------
    context, c, rows, columns, factor
        Context, tensor that is added, shape of the result, and factor of the tensor.
    is_one
        Whether the result is one matrix.
    """
    is_row = prod(c.shape[:-1]) == 1
    if c.value is not None:
        array = np.asarray(c.value, context.out.dtype)
        if is_row:
            full = np.broadcast_to(array.reshape(-1), (columns,))
        elif len(c.shape) == 2 and (is_one or c.shape == (rows, 1)):  # a column is the same for all of a stack
            full = np.broadcast_to(array, (rows, columns))
        else:
            raise NotLowered(f"a bias of shape {list(c.shape)}")
        return Added(constant_buffer(np.ascontiguousarray(full), c.name), 0 if is_row else columns, factor)
    if c.dtype != context.out.dtype or prod(c.shape) != (columns if is_row else rows * columns) or not is_one:
        raise NotLowered(f"a computed bias of shape {list(c.shape)}")
    return Added(context.request(c), 0 if is_row else columns, factor)
