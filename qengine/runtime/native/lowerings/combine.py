"""Lowering of sums and products of two tensors, and of PRelu with constant slopes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qengine.kernels.epilogue import LANES, choose_epilogue
from qengine.kernels.layout import natural_block
from qengine.model.graph import NO_ACTIVATION
from qengine.model.steps import Combine, Tensor
from qengine.model.steps.combine import aligned
from qengine.runtime.native.lowering_table import Lowered, LoweringContext, NotLowered, PlainContext, lowers
from qengine.runtime.native.lowerings.elementwise import Constant, ElementwiseOp, Operation, requantize_op
from qengine.runtime.native.op import Op, float_bounds
from qengine.runtime.native.tensor_buffer import STORED_DTYPE, TensorBuffer, images, stored_as

MAX_SUM = 1 << 60
"""The smallest magnitude of an intermediate result that is not lowered: 64 bits, less what requantization adds."""

_OPERATIONS: dict[str, Operation] = {"add": "add", "subtract": "add", "multiply": "multiply", "prelu": "prelu"}


@lowers(Combine)
def lower_combine(context: LoweringContext[Combine]) -> Lowered:
    """Lower an operation on two tensors, one of which may be constant."""
    step, out = context.step, context.out
    if step.operation not in _OPERATIONS or len(step.terms) != 2:
        raise NotLowered(f"{step.operation} of {len(step.terms)} tensors")
    operation, shape = _OPERATIONS[step.operation], images(out.shape)
    terms, ops = [aligned_term(context, t) for t in step.terms], list[Op]()
    if shape is None:
        raise NotLowered(f"a tensor with {len(out.shape)} axes")
    block = natural_block(shape[1])
    inputs: list[TensorBuffer] = []
    constant: Constant | None = None
    for i, (term, own) in enumerate(zip(terms, step.terms, strict=True)):
        if term.value is not None:
            constant = _constant(term, out, block, is_first=i == 0)
        elif term.shape == out.shape or (block == LANES and _has_one_pixel(term, shape)):
            buffer = context.request_buffer(own, block=block)
            if term is not own:
                ops.append(_alignment_op(context, buffer, term, own))
                buffer = ops[-1].out
            inputs.append(buffer)
        else:
            raise NotLowered(f"'{term.name}' {list(term.shape)}, broadcast to {list(out.shape)}")
    signs = (1, -1) if step.operation == "subtract" else (1, 1)
    if operation == "prelu" and (constant is None or constant.is_first):
        raise NotLowered("slopes that are computed during the run")
    activation = step.activation or NO_ACTIVATION
    if out.format is None:
        bounds, buffer = float_bounds(activation.low, activation.high), TensorBuffer.of(out, block)
        op = ElementwiseOp(context.isa, tuple(inputs), buffer, operation, (0, 0), None, bounds, constant, signs)
        return Lowered.by(op)
    operands = inputs.copy()
    if constant is not None:
        operands.insert(0 if constant.is_first else len(operands), constant.buffer)
    a = _alignment(operation, operands, [t.fraction_bits for t in terms], signs)
    if a.limit >= MAX_SUM or abs(a.bias) >= MAX_SUM:
        raise NotLowered("intermediate results of more than 60 bits")
    low, high = out.encode_bound(activation.low), out.encode_bound(activation.high)
    word, shift = context.arithmetic.word(out.one_format), a.fraction_bits - out.fraction_bits
    counts = context.counts
    requantization = choose_epilogue(np.array([a.bias]), a.limit, shift, word, low=low, high=high, counts=counts)
    if requantization is None:
        raise NotLowered("intermediate results of more than 64 bits")
    buffer, bounds = TensorBuffer.of(out, block, low, high, flagged=counts), float_bounds(None, None)
    op = ElementwiseOp(context.isa, tuple(inputs), buffer, operation, a.shifts, requantization, bounds, constant, signs)
    return Lowered.by(*ops, op)


def aligned_term(context: LoweringContext[Combine] | PlainContext[Combine], term: Tensor) -> Tensor:
    """Return an operand in the format of a sum, where the rules want it so; a constant with its codes."""
    out, arithmetic = context.out, context.arithmetic
    if not arithmetic.aligns or out.format is None or term.format in (None, out.format):
        return term
    moved = replace(term, name=f"{term.name} in the format of {out.name}", format=out.format)
    if term.value is not None:
        word = arithmetic.word(out.one_format)
        moved.keep_codes(aligned(term.codes, term.fraction_bits - out.fraction_bits, word))
    return moved


def _alignment_op(context: LoweringContext[Combine], x: TensorBuffer, term: Tensor, own: Tensor) -> Op:
    """Return the op that brings an operand to the format of the sum."""
    word, shift = context.arithmetic.word(context.out.one_format), own.fraction_bits - term.fraction_bits
    return requantize_op(context.isa, x, TensorBuffer.of(term, x.block), word, shift)


@dataclass(frozen=True)
class _Alignment:
    """Shifts that align operands, and what is then known of the exact result.

    Attributes
    ----------
    shifts : left shift of each operand.
    limit : bound of the magnitude of the result.
    fraction_bits : fraction bits of the result.
    bias : number added to the result, which takes off what the stored code of 0 adds.
    """

    shifts: tuple[int, int]
    limit: int
    fraction_bits: int
    bias: int = 0


def _alignment(
    operation: Operation, operands: list[TensorBuffer], fraction_bits: list[int], signs: tuple[int, int]
) -> _Alignment:
    """Return how two operands are aligned."""
    first, second = (b.max_magnitude for b in operands)
    if operation == "multiply":
        return _Alignment((0, 0), first * second, sum(fraction_bits))
    if operation == "prelu":
        finest = max(fraction_bits[1], 0)
        shift = finest - fraction_bits[1]
        return _Alignment((finest, shift), first * max(1 << finest, second << shift), fraction_bits[0] + finest)
    finest = max(fraction_bits)
    shifts = (finest - fraction_bits[0], finest - fraction_bits[1])
    # A lane holds the stored code, shifted: code plus the stored code of 0.
    limit = sum((b.max_magnitude + abs(b.zero)) << s for b, s in zip(operands, shifts, strict=True))
    zeros = [sign * b.zero << s for sign, b, s in zip(signs, operands, shifts, strict=True)]
    return _Alignment(shifts, limit, finest, -sum(zeros))


def _has_one_pixel(t: Tensor, shape: tuple[int, int, int, int]) -> bool:
    """Whether a tensor has one number for every channel of every image."""
    return t.shape == (*shape[:2], *(1,) * (t.ndim - 2)) and t.ndim > 2


def _constant(t: Tensor, out: Tensor, block: int, *, is_first: bool) -> Constant:
    """Return a constant that broadcasts against the output as rows of the output's layout."""
    shape, spread = images(out.shape), (1,) * (len(out.shape) - t.ndim) + t.shape
    as_images = images(spread)
    if stored_as(t) is None or as_images is None or np.broadcast_shapes(spread, out.shape) != out.shape:
        raise NotLowered(f"constant '{t.name}' {list(t.shape)} {t.dtype}")
    assert shape is not None
    buffer = TensorBuffer.of(Tensor(t.name, t.dtype, (1, 1, 1, 1), None, t.format), block)
    values = t.elements.reshape(as_images)
    stored = values.astype(np.int64) + buffer.zero if t.format is not None else values
    batch, channels, height, width = as_images[0], shape[1], as_images[2], shape[3]
    blocks = -(-channels // block)
    full = np.full((batch, blocks * block, height, width), buffer.zero, STORED_DTYPE[buffer.stored])
    full[:, :channels] = stored
    rows = full.reshape(batch, blocks, block, height, width).transpose(0, 1, 3, 4, 2)
    return Constant(buffer, np.ascontiguousarray(rows).reshape(batch, blocks, height, width * block), is_first)
