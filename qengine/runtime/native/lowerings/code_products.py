"""Products of rows of 8-bit codes in plain order with a constant matrix, by the dot kernel and its epilogue."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from math import prod

import numpy as np

from qengine.kernels.dot import FactorType
from qengine.kernels.epilogue import LANES, choose_epilogue
from qengine.kernels.program import Call
from qengine.model.graph import NO_ACTIVATION
from qengine.model.steps import Linear
from qengine.model.steps.accumulator import Accumulation
from qengine.runtime.native.byte_weights import TAP, ByteWeights, packed_rows
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext
from qengine.runtime.native.op import Op
from qengine.runtime.native.plain_op import Part, PlainCalls
from qengine.runtime.native.row_product import Places, RowProduct
from qengine.runtime.native.tensor_buffer import ITEMSIZE, TensorBuffer, constant_buffer

_MIN_AXES = 3
"""Axes of a tensor from which rows lie in plain order; with fewer they are read where they lie."""


@dataclass(eq=False)
class CodeProduct(PlainCalls):
    """A product of rows of codes with a constant matrix.

    Attributes
    ----------
    products : number of multiply-accumulates.
    """

    products: InitVar[int] = 0

    def __post_init__(self, label: str, others: tuple[TensorBuffer, ...], products: int) -> None:
        super().__post_init__(label, others)
        self._products = products

    @property
    def kind(self) -> FactorType | None:
        """The type of the factors."""
        return "s8"

    @property
    def macs(self) -> int:
        """The multiply-accumulates of the operator."""
        return self._products


def lower_product_with_constant(context: PlainContext[Linear]) -> Lowered:
    """Lower a product of codes of up to 8 bits with a constant matrix."""
    step, out = context.step, context.out
    x, w, b = step.x, step.w, step.b
    if x.ndim < _MIN_AXES and not context.lies_plain:
        raise NotLowered("rows that lie in blocks")
    word = x.one_format.word()
    if word.dtype.itemsize != 1 or w.ndim != 2 or context.function.transposed_x:
        raise NotLowered("a product of plain codes of 16 bits, or of several matrices")
    if b is not None and b.value is None:
        raise NotLowered("a product of plain codes with a computed bias")
    rules = Accumulation(step, out, context.arithmetic)
    matrix = (w.codes.T if context.function.transposed_w else w.codes).astype(np.int64)
    length, columns = matrix.shape
    bias = np.zeros(columns, np.int64)
    if rules.bias is not None:
        if prod(rules.bias.shape[:-1]) != 1 or rules.bias.dtype == object:
            raise NotLowered("a bias of other than a row, or of more than 60 bits")
        bias += rules.bias.reshape(-1)
    magnitudes, activation = np.abs(matrix).sum(axis=0), step.activation or NO_ACTIVATION
    data = choose_epilogue(
        bias,
        np.abs(bias) + magnitudes * max(word.most, -word.least),
        np.broadcast_to(np.ravel(rules.shift), columns),
        context.arithmetic.word(out.one_format),
        low=out.encode_bound(activation.low),
        high=out.encode_bound(activation.high),
        accumulator_bits=rules.kept_bits,
        wraps_half=bool(np.any(rules.half)),
        zero=0,
    )
    if data is None or data.epilogue.wide:
        raise NotLowered("sums of plain codes of more than 32 bits")
    rows = prod(x.shape[:-1])
    source, ops = context.request(x), list[Op]()
    weights = ByteWeights.of(matrix[None], context.isa)
    if word.signed or length % TAP:
        source, packing = packed_rows(context.isa, source, (rows, length), is_signed=word.signed)
        ops.append(packing)
    vectors = -(-columns // LANES)
    order = np.arange(vectors * LANES).reshape(-1, LANES)
    surplus = matrix.sum(axis=0) * (128 if word.signed else 0)
    numbers = constant_buffer(data.packed(np.where(order < columns, order, -1), surplus), "numbers")
    scalars = constant_buffer(data.scalars, "scalars")
    assert scalars.elements is not None
    taps = len(weights.offsets)
    product = RowProduct(
        context.isa,
        "s8",
        int(weights.offsets.ctypes.data),
        taps,
        columns,
        data.epilogue,
        int(scalars.elements.ctypes.data),
    )
    grid, result = product.grid(rows), TensorBuffer.plain(out)
    row, y_row = -(-length // TAP) * TAP, columns * ITEMSIZE[result.stored]

    def make(part: Part) -> list[Call]:
        left, right, given = part.inputs
        calls = []
        for _, some, which in grid.within(part.first, part.end):
            places = Places(left, row, right, given, part.outputs[0], y_row)
            calls += product.calls(places.at(some.start), len(some), which.start, which.stop)
        return calls

    inputs, work = (source, weights.packed, numbers), product.cycles * rows
    op = CodeProduct(context.isa, inputs, result, "dot", make, grid.parts, work, products=rows * length * columns)
    op.address_of(weights.offsets)
    op.address_of(scalars.elements)
    return Lowered.by(*ops, op)
