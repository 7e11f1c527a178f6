"""The table of lowerings, the kernel that a linear step gets, and the limits beyond which no kernel computes a step."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from qengine.kernels.isa import GENERIC
from qengine.kernels.program import Slot
from qengine.kernels.reference.coordinates import Axis
from qengine.model.rules import Arithmetic
from qengine.model.steps import Combine, Join, Linear, Mean, Move, Resize, Table, Tensor
from qengine.model.steps.forms import (
    AxisExtreme,
    AxisSum,
    Bounded,
    ChannelScale,
    Concatenated,
    Convolution,
    MatrixProduct,
    Reshaped,
    TransposedConvolution,
    WindowMax,
    WindowSum,
)
from qengine.qformat import QFormat
from qengine.runtime.native import lowering_table as table
from qengine.runtime.native.lowering_table import Lowered, LoweringContext, NotLowered, function_of, lowers
from qengine.runtime.native.lowerings import linear, lowering_of
from qengine.runtime.native.lowerings.depthwise import DepthwiseOp
from qengine.runtime.native.lowerings.dot import DotOp
from qengine.runtime.native.lowerings.narrow_conv import NarrowConvOp
from qengine.runtime.native.tensor_buffer import TensorBuffer

F32 = np.dtype(np.float32)


def tensor(name, shape, form=None, value=None):
    if value is not None:
        value = np.broadcast_to(np.asarray(value, np.float32), shape)
    return Tensor(name, F32, tuple(shape), value, None if form is None else QFormat.parse(form))


def lower(step, form=None, arithmetic=None, buffers=None):
    """Lower a step without a plan: every input that is asked for has a buffer of its own."""

    def request_buffer(t, *, block=None, stored=None, shape=None):
        if t.value is not None:
            raise NotLowered("constant")
        flat = t if shape is None else Tensor(t.name, t.dtype, shape, None, t.format)
        buffer = TensorBuffer.of(flat, block)
        if stored not in (None, buffer.stored):
            buffer.stored, buffer.zero = stored, 0
        return buffer

    out = tensor("y", step.shape, form)
    buffers = buffers or {}
    context = LoweringContext(
        step, function_of(step), out, arithmetic or Arithmetic(), GENERIC, request_buffer,
        lambda name: buffers.get(name, []), lambda: Slot("nan"),
    )  # fmt: skip
    return lowering_of(step)(context)


IMAGE = tensor("x", (1, 16, 8, 8))
WINDOW = ((2, 2), (2, 2), (1, 1), ((0, 0), (0, 0)))


def convolution(w_shape, x=IMAGE, strides=(1, 1), group=1, width=8, w=0.5, form=None, w_form=None):
    product = Convolution(strides, (1, 1), ((0, 0), (0, 0)), group)
    shape = (1, w_shape[0], 8, width)
    return Linear(x, tensor("w", w_shape, w_form, w), None, product, shape, (1, 2, 3), 1, (w_shape[0], 1, 1))


# The table

ENTRIES = {
    (Linear, Convolution), (Linear, TransposedConvolution), (Linear, ChannelScale), (Linear, MatrixProduct),
    (Combine, None), (Table, None), (Resize, None),
    (Move, WindowMax), (Move, AxisExtreme), (Move, Bounded), (Move, Reshaped),
    (Mean, WindowSum), (Mean, AxisSum),
    (Join, Concatenated),
}  # fmt: skip


def test_the_table():
    assert set(table._LOWERINGS) >= ENTRIES


@pytest.mark.parametrize(
    "step",
    [
        Move(IMAGE, np.negative, IMAGE.shape),
        Mean(IMAGE, np.sum, (), 1),
        Join((IMAGE,), np.copy, IMAGE.shape),
        Linear(IMAGE, IMAGE, None, np.matmul, IMAGE.shape, (1,), 1, ()),
    ],
    ids=lambda step: step.kind,
)
def test_a_step_with_another_function_is_not_lowered(step):
    with pytest.raises(NotLowered, match=f"{step.kind}, which has no native kernel"):
        lowering_of(step)


def test_the_function_of_a_step():
    bounded = Bounded()
    assert function_of(Move(IMAGE, bounded, IMAGE.shape)) is bounded
    assert function_of(Table(IMAGE, np.tanh)) is None


@pytest.fixture
def own_table(monkeypatch):
    monkeypatch.setattr(table, "_LOWERINGS", dict(table._LOWERINGS))
    monkeypatch.setattr(table, "_FUNCTION_FIELDS", dict(table._FUNCTION_FIELDS))


def test_a_lowering_is_added_by_its_decorator(own_table):
    class Negated:
        pass

    @lowers(Move, function=Negated)
    def lower_negated(context):
        return Lowered((), ())

    assert lowering_of(Move(IMAGE, Negated(), IMAGE.shape)) is lower_negated
    with pytest.raises(AssertionError):
        lowers(Move, function=Negated)(lower_negated)  # twice
    with pytest.raises(AssertionError):
        lowers(Move, others=Negated)(lower_negated)  # another field than the table's


def test_a_step_by_its_type_alone(own_table):
    class Other(Table):
        pass

    with pytest.raises(NotLowered):
        lowering_of(Other(IMAGE, np.tanh))
    lowers(Other)(lower)
    assert lowering_of(Other(IMAGE, np.tanh)) is lower


# Reshapes


def test_a_reshape_keeps_the_buffers_of_the_new_shape():
    same, other = (TensorBuffer("x", (1, 16, *size), "f32", 16) for size in ((8, 8), (4, 16)))
    step = Move(IMAGE, Reshaped((1, 16, 8, 8)), (1, 16, 8, 8))
    lowered = lower(step, buffers={"x": [same, other]})
    assert (lowered.ops, lowered.outputs) == ((), (same,))
    with pytest.raises(NotLowered, match="changes the order in memory"):
        lower(step, buffers={"x": [other]})


# Kernels of linear steps


@pytest.mark.parametrize(
    ("step", "op", "block"),
    [
        (convolution((8, 16, 3, 3)), NarrowConvOp, 1),
        (convolution((9, 16, 3, 3)), DotOp, 9),
        (convolution((8, 16, 3, 3), strides=(2, 1)), DotOp, 8),
        (convolution((8, 16, 3, 3), strides=(1, 2)), DotOp, 8),
        (convolution((8, 8, 3, 3), group=2), DotOp, 8),
        (convolution((8, 15, 3, 3), tensor("x", (1, 15, 8, 8))), DotOp, 8),
        # In float32 lanes beyond the channels spread what is not a number; in fixed point their weights are 0.
        (convolution((8, 17, 3, 3), tensor("x", (1, 17, 8, 8))), DotOp, 8),
        # Rows of at least two vectors: 2 pixels of float32
        (convolution((8, 16, 3, 3), width=2), NarrowConvOp, 1),
        (convolution((8, 16, 3, 3), width=1), DotOp, 8),
        (convolution((16, 1, 3, 3), group=16), DepthwiseOp, 16),
        (convolution((16, 1, 3, 3), strides=(9, 8), group=16), DepthwiseOp, 16),
        (convolution((16, 1, 3, 3), strides=(1, 9), group=16), DotOp, 16),
        (convolution((32, 1, 3, 3), group=16), DotOp, 16),
        (convolution((15, 1, 3, 3), tensor("x", (1, 15, 8, 8)), group=15), DotOp, 15),
        (convolution((17, 1, 3, 3), tensor("x", (1, 17, 8, 8)), group=17), DepthwiseOp, 16),
    ],
)
def test_the_kernel_of_a_convolution(step, op, block):
    (found,) = lower(step).ops
    assert type(found) is op
    assert found.out.block == block
    assert found.out.shape == step.shape


@pytest.mark.parametrize(
    ("x", "w", "kind"),
    [
        ("Q2.5", "Q0.7", "s8"),
        ("UQ2.6", "Q0.7", "s8"),
        ("Q2.6", "Q0.7", "s16"),  # 9 bits
        ("Q3.12", "Q0.7", "s16"),
        ("Q2.5", "Q0.15", "s16"),
        # Bytes where the weights fit, whatever their format
        ("Q2.5", "UQ1.7", "s8"),
    ],
)
def test_the_type_of_the_factors(x, w, kind):
    shape = (1, 16, 8, 8)
    value = 127 / 128 if w.endswith(".7") else 0.5
    (op,) = lower(convolution((9, 16, 3, 3), tensor("x", shape, x), w=value, w_form=w), "Q7.8").ops
    assert op.kind == kind
    assert op.inputs[0].stored == {"s8": "u8", "s16": "i16"}[kind]


@pytest.mark.parametrize(("value", "kind"), [(-1.0, "s8"), (127 / 128, "s8"), (-129 / 128, "s16"), (1.0, "s16")])
def test_weights_of_8_bits_by_their_values(value, kind):
    x = tensor("x", (1, 16, 8, 8), "Q2.5")
    (op,) = lower(convolution((9, 16, 3, 3), x, w=value, w_form="Q2.7"), "Q7.8").ops
    assert op.kind == kind


def test_unsigned_weights_of_16_bits_are_not_lowered():
    x = tensor("x", (1, 16, 8, 8), "Q2.5")
    lower(convolution((9, 16, 3, 3), x, w=32767 / 65536, w_form="UQ0.16"), "Q7.8")
    with pytest.raises(NotLowered, match="unsigned weights of 16 bits"):
        lower(convolution((9, 16, 3, 3), x, w=32768 / 65536, w_form="UQ0.16"), "Q7.8")


def test_a_matrix_product_takes_rows_as_pixels():
    x, w = tensor("x", (3, 5, 32)), tensor("w", (32, 40), value=1)
    (op,) = lower(Linear(x, w, None, MatrixProduct(), (3, 5, 40), (0,), -1, ())).ops
    assert op.inputs[0].shape == (15, 32, 1, 1)
    assert op.out.shape == (15, 40, 1, 1)
    assert op.filters.as_pixels
    assert op.macs == 15 * 32 * 40


def test_multiply_accumulates_and_halo_of_a_convolution():
    product = Convolution((2, 1), (1, 2), ((1, 0), (3, 1)), 1)
    step = Linear(IMAGE, tensor("w", (20, 16, 3, 3), value=1), None, product, (1, 20, 4, 8), (1, 2, 3), 1, (20, 1, 1))
    (op,) = lower(step).ops
    assert op.macs == 4 * 8 * 20 * 16 * 9
    # Rows -1..1 of the first pixel and 5..7 of the last; columns -3..1 of the first and 4..8 of the last.
    halo = op.halo(op.inputs[0])
    assert (halo.top, halo.bottom, halo.gap) == (1, 0, 3)
    assert op.input_rows(op.inputs[0], 1, 3) == (1, 6)


def test_a_transposed_convolution_counts_the_taps_of_each_phase():
    product = TransposedConvolution((2, 3), (1, 1), ((0, 0), (0, 0)), (0, 0), 1)
    shape = (1, 20, 16, 24)
    step = Linear(IMAGE, tensor("w", (16, 20, 2, 2), value=1), None, product, shape, (1, 2, 3), 1, (20, 1, 1))
    (op,) = lower(step).ops
    assert op.macs == 8 * 8 * 20 * 16 * 4


# Limits


def test_sums_of_products_of_45_bits(monkeypatch):
    class Light(DotOp):
        def __post_init__(self):
            """Pack no weights."""

    monkeypatch.setattr(linear, "OPS", (Light,))
    x = lambda inputs: tensor("x", (1, inputs), "Q0.15")  # noqa: E731

    def product(inputs):
        w = tensor("w", (inputs, 1), "Q0.15", -1)
        return Linear(x(inputs), w, None, MatrixProduct(), (1, 1), (0,), -1, ())

    assert lower(product((1 << 15) - 1), "Q12.3").ops
    with pytest.raises(NotLowered, match="more than 45 bits"):
        lower(product(1 << 15), "Q12.3")


def test_64_phases_of_a_transposed_convolution():
    def transposed(strides):
        product = TransposedConvolution(strides, (1, 1), ((0, 0), (0, 0)), (0, 0), 1)
        shape = (1, 20, 8 * strides[0], 8 * strides[1])
        return Linear(IMAGE, tensor("w", (16, 20, 1, 1), value=1), None, product, shape, (1, 2, 3), 1, (20, 1, 1))

    assert lower(transposed((32, 2))).ops
    with pytest.raises(NotLowered, match=r"strides \[13, 5\]"):
        lower(transposed((13, 5)))


def test_a_prelu_of_60_bits():
    def prelu(n):
        x, slopes = tensor("x", (1, 16, 8, 8), "Q7.0"), tensor("s", (16, 1, 1), f"Q{7 - n}.{n}", 2.0 ** (-n))
        return Combine("prelu", (x, slopes))

    assert lower(prelu(52), "Q7.0").ops  # 2^7 * 2^52
    with pytest.raises(NotLowered, match="more than 60 bits"):
        lower(prelu(53), "Q7.0")


def test_a_sum_of_60_bits():
    def add(n):
        return Combine("add", (tensor("x", IMAGE.shape, "Q7.0"), tensor("z", IMAGE.shape, f"Q{7 - n}.{n}")))

    # (128 + the stored code of 0, 128) << n, and as much unshifted
    assert lower(add(51), "Q7.0").ops
    with pytest.raises(NotLowered, match="more than 60 bits"):
        lower(add(52), "Q7.0")


@pytest.mark.parametrize(("n", "lowered"), [(40, True), (41, False), (-57, True), (-58, False)])
def test_a_mean_of_60_bits(n, lowered):
    """The sum of 2x2 cells has 17 + 3 bits; 4, with its 3 bits, is what half of it is compared with."""
    step = Mean(tensor("x", IMAGE.shape, "Q7.0"), WindowSum(*WINDOW), (1, 16, 4, 4), 4)
    if lowered:
        assert lower(step, f"Q{7 - n}.{n}").ops
    else:
        with pytest.raises(NotLowered, match="more than 60 bits"):
            lower(step, f"Q{7 - n}.{n}")


@pytest.mark.parametrize(("a", "lowered"), [(-1.0, True), (-1e6, False)])
def test_a_row_of_a_resize_of_31_bits(a, lowered):
    axis = Axis(3, 8, 16, Fraction(2))
    step = Resize(tensor("x", IMAGE.shape, "Q0.15"), (axis,), (1, 16, 8, 16), "cubic", "half_pixel", cubic_coeff_a=a)
    if lowered:
        columns, rows = lower(step, "Q0.15").ops
        assert (columns.out.stored, columns.output_halo.gap) == ("i32", 1)
        assert rows.out.shape == (1, 16, 8, 16)
    else:
        with pytest.raises(NotLowered, match="more than 32 bits"):
            lower(step, "Q0.15")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Combine("divide", (IMAGE, IMAGE)), "divide of 2"),
        (Combine("add", (IMAGE, IMAGE, IMAGE)), "add of 3"),
        (Combine("add", (IMAGE, tensor("z", (1, 16, 8, 1)))), r"'z' \[1, 16, 8, 1\], broadcast"),
        (Combine("prelu", (IMAGE, tensor("z", IMAGE.shape))), "slopes that are computed"),
        (Combine("prelu", (tensor("z", IMAGE.shape, value=1), IMAGE)), "slopes that are computed"),
        (Move(IMAGE, AxisExtreme((2, 3), True, False), (1, 16, 1, 1), constants=(0.0,)), "the smallest value"),
        (Move(IMAGE, AxisExtreme((1,), True, True), (1, 1, 8, 8), constants=(0.0,)), "axes other than the spatial"),
        (Mean(IMAGE, AxisSum((3,), True), (1, 16, 8, 1), 8), "axes other than the spatial"),
        (Table(IMAGE, np.sin), "a function that is not known by name"),
        (Join((IMAGE, IMAGE), Concatenated(2), (1, 16, 16, 8)), "an axis other than channels"),
        (Join((IMAGE, tensor("c", IMAGE.shape, value=1)), Concatenated(1), (1, 32, 8, 8)), "a constant part"),
        (Resize(IMAGE, (Axis(1, 16, 32, Fraction(2)),), (1, 32, 8, 8), "linear", "half_pixel"),
         "axes other than the spatial"),
        (Linear(IMAGE, tensor("w", (8, 16, 1, 1)), None, Convolution(*WINDOW[1:], 1), (1, 8, 4, 4), (1,), 1, ()),
         "weights that are computed"),
    ],
)  # fmt: skip
def test_reasons(step, message):
    with pytest.raises(NotLowered, match=message):
        lower(step)
