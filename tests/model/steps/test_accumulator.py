"""Linear steps in the registers of devices, compared with loops over taps in Python's integers."""

from fractions import Fraction
from itertools import product as every
from math import ceil, floor

import numpy as np
import pytest

from qengine.errors import OptionError
from qengine.kernels.reference.requantize import ACCUMULATOR_OVERFLOWS, new_tally
from qengine.model.rules import AccumulatorRule, Arithmetic
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.forms import ChannelScale, Convolution, MatrixProduct, TransposedConvolution
from qengine.model.steps.linear import Linear
from qengine.model.steps.step import Tensor
from qengine.qformat import Overflow, QFormat, Rounding, channel_formats

FLOAT = np.dtype(np.float32)
ROUND = {
    "half_even": round,
    "half_up": lambda v: floor(v + Fraction(1, 2)),
    "half_away": lambda v: floor(v + Fraction(1, 2)) if v > 0 else ceil(v - Fraction(1, 2)),
    "floor": floor,
    "trunc": int,
}


def tensor(name, form, shape, value=None):
    form = channel_formats(form, 0) if isinstance(form, list) else form and QFormat.parse(form)
    return Tensor(name, FLOAT, shape, value, form)


def fitted(v, bits, overflow, is_signed=True):
    least, most = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if is_signed else (0, (1 << bits) - 1)
    if overflow == "saturate":
        return min(max(v, least), most)
    return (v - least) % (1 << bits) + least


def summed(terms, bias, fraction_bits, out_bits, rule, rounding):
    """One sum of a device: `terms` are products in order; returns the sum before it is rounded, and if a rail was met.

    The sum is a Fraction of the output's unit, from which the constant of the rounding is taken off again.
    """
    own = fraction_bits if rule.fraction_bits is None else rule.fraction_bits
    cut = lambda v: ROUND[rule.rounding](Fraction(v) * Fraction(2) ** (own - fraction_bits))  # noqa: E731
    half = 1 << (own - out_bits - 1) if rule.rounds_inside and rounding == "half_up" and own > out_bits else 0
    held = lambda v: v if rule.bits is None else fitted(v, rule.bits, rule.overflow)  # noqa: E731
    exact = cut(bias) + half
    total = held(exact)
    met = total != exact
    for term in terms:
        step = cut(term)
        if rule.fraction_bits is not None and rule.overflow == "saturate":
            met |= held(step) != step
            step = held(step)
        exact += step
        met |= rule.overflow == "saturate" and held(total + step) != total + step
        total = held(total + step)
    if rule.overflow == "wrap":
        met = total != exact
    return Fraction(total - half, 1 << own) * (1 << out_bits) if own >= 0 else None, bool(met)


def convolution_terms(x, w, at, strides, dilations, pads, group, order):
    """The products of the output element `at`, in order."""
    n, m, *place = at
    per_group, kernel = w.shape[1], w.shape[2:]
    first = m // (w.shape[0] // group) * per_group
    terms = []
    places = [(c, *k) for c, *k in every(range(per_group), *map(range, kernel))]
    if order == "channels_last":
        places = [(c, *k) for *k, c in every(*map(range, kernel), range(per_group))]
    for c, *k in places:
        cell = [p * s + i * d - b[0] for p, s, i, d, b in zip(place, strides, k, dilations, pads, strict=True)]
        inside = all(0 <= i < size for i, size in zip(cell, x.shape[2:], strict=True))
        terms.append(int(x[(n, first + c, *cell)]) * int(w[(m, c, *k)]) if inside else 0)
    return terms


def transposed_terms(x, w, at, strides, dilations, pads, group, order):
    """The products of an element of a transposed convolution: inputs from the first to the last that reach it."""
    n, m, *place = at
    per_group, filters, kernel = w.shape[0] // group, w.shape[1], w.shape[2:]
    first = m // filters * per_group
    backwards = [range(k - 1, -1, -1) for k in kernel]
    places = list(every(range(per_group), *backwards))
    if order == "channels_last":
        places = [(c, *k) for *k, c in every(*backwards, range(per_group))]
    terms = []
    for c, *k in places:
        cell = [p + b[0] - i * d for p, i, d, b in zip(place, k, dilations, pads, strict=True)]
        if any(i % s or not 0 <= i // s < size for i, s, size in zip(cell, strides, x.shape[2:], strict=True)):
            continue
        source = tuple(i // s for i, s in zip(cell, strides, strict=True))
        terms.append(int(x[(n, first + c, *source)]) * int(w[(first + c, m % filters, *k)]))
    return terms


ACCUMULATORS = {
    "wrap": {"bits": 14},
    "saturate": {"bits": 14, "overflow": "saturate"},
    "saturate, channels last": {"bits": 14, "overflow": "saturate", "order": "channels_last"},
    "half inside": {"bits": 13, "rounds_inside": True},
    "half inside a register that saturates": {"bits": 14, "overflow": "saturate", "rounds_inside": True},
    "cut": {"bits": 10, "fraction_bits": 5},
    "cut, half even": {"bits": 10, "fraction_bits": 6, "rounding": Rounding.HALF_EVEN},
    "cut and saturate": {"bits": 9, "fraction_bits": 5, "overflow": "saturate", "order": "channels_last"},
    "cut, half inside": {"bits": 10, "fraction_bits": 5, "rounds_inside": True},
    "more fraction bits": {"bits": 16, "fraction_bits": 14},
    "more fraction bits and saturate": {"bits": 17, "fraction_bits": 14, "overflow": "saturate"},
    "cut without an end": {"fraction_bits": 4},
    "wide": {"bits": 40, "overflow": "saturate"},
}

# form, shapes of x and w, and of the output; each with the terms of an element
CONVOLUTIONS = {
    "one axis": (((2,), (1,), ((1, 0),), 1), (2, 3, 9), (4, 3, 3), (2, 4, 4)),
    "two axes": (((1, 2), (2, 1), ((1, 2), (0, 1)), 1), (1, 2, 6, 5), (3, 2, 3, 2), (1, 3, 5, 3)),
    "groups": (((1, 1), (1, 1), ((0, 0), (1, 1)), 2), (1, 4, 4, 3), (4, 2, 2, 3), (1, 4, 3, 3)),
    "depthwise": (((1, 1), (1, 1), ((1, 1), (1, 1)), 3), (1, 3, 4, 3), (3, 1, 3, 3), (1, 3, 4, 3)),
    "three axes": (
        ((1, 1, 1), (1, 1, 1), ((0, 0), (1, 0), (0, 1)), 1),
        (1, 2, 3, 2, 3),
        (2, 2, 2, 2, 2),
        (1, 2, 2, 2, 3),
    ),
}


def codes(shape, form, seed):
    q = QFormat.parse(form).word()
    return np.random.default_rng(seed).integers(q.least, q.most + 1, shape).astype(q.dtype)


def assert_equals_loops(step, x, w, bias, terms_of, options, rounding, overflow="saturate", out="Q3.4"):
    """A step equals the loops on every element of the output, and counts the sums that met a rail."""
    rule = AccumulatorRule(**options)
    arithmetic = Arithmetic(rounding=Rounding(rounding), overflow=Overflow(overflow), accumulator=rule)
    fmt, tally = QFormat.parse(out), new_tally()
    y = step.fixed(tensor("y", out, step.shape), arithmetic)(x, w, *([] if bias is None else [bias]), tally=tally)
    bits = np.broadcast_to(step.x.fraction_bits + step.weight_fraction_bits(), step.shape)
    given = np.zeros(step.shape, object)
    if step.b is not None:
        real = step.b.value.reshape(step.bias_shape)
        given = np.broadcast_to(real, step.shape)
    met = 0
    for at in np.ndindex(*step.shape):
        n = int(bits[at])
        own = n if rule.fraction_bits is None else min(n, rule.fraction_bits)  # of the bias: those of the sums
        b = round(Fraction(float(given[at])) * Fraction(2) ** own) << (n - own)
        total, is_met = summed(terms_of(at), b, n, fmt.fraction_bits, rule, rounding)
        met += is_met
        wanted = fitted(ROUND[rounding](total), fmt.bits, overflow)
        assert y[at] == wanted, (at, total)
    assert tally[ACCUMULATOR_OVERFLOWS] == met
    return met


@pytest.mark.parametrize("shape", CONVOLUTIONS)
@pytest.mark.parametrize("register", ACCUMULATORS)
def test_convolutions_equal_loops_over_taps(shape, register):
    (strides, dilations, pads, group), xs, ws, ys = CONVOLUTIONS[shape]
    options = ACCUMULATORS[register]
    x, w = codes(xs, "Q3.4", 1), codes(ws, "Q0.7", 2)
    b = np.random.default_rng(3).normal(0, 2, ws[0]).astype(np.float32)
    form = Convolution(strides, dilations, pads, group)
    column = (ws[0], *(1,) * (len(ws) - 2))
    weights = tensor("w", "Q0.7", ws, (w / 128).astype(np.float32))
    step = Linear(
        tensor("x", "Q3.4", xs), weights, tensor("b", None, b.shape, b), form, ys, tuple(range(1, len(ws))), 1, column
    )
    order = options.get("order", "channels_first")
    geometry = (strides, dilations, pads, group, order)
    terms_of = lambda at: convolution_terms(x, w, at, *geometry)  # noqa: E731
    met = assert_equals_loops(step, x, w, b, terms_of, options, "half_up")
    assert (met > 0) == (register not in ("cut without an end", "wide"))


TRANSPOSED = {
    "one axis": (((2,), (1,), ((0, 1),), (0,), 1), (1, 3, 4), (3, 2, 3), (1, 2, 8)),
    "groups": (((2, 1), (1, 2), ((1, 0), (0, 1)), (1, 0), 2), (1, 4, 3, 3), (4, 2, 2, 2), (1, 4, 6, 4)),
}


@pytest.mark.parametrize("shape", TRANSPOSED)
@pytest.mark.parametrize("register", ACCUMULATORS)
def test_transposed_convolutions_equal_loops_over_taps(shape, register):
    (strides, dilations, pads, more, group), xs, ws, ys = TRANSPOSED[shape]
    options = ACCUMULATORS[register]
    x, w = codes(xs, "Q3.4", 1), codes(ws, "Q0.7", 2)
    b = np.random.default_rng(3).normal(0, 2, ys[1]).astype(np.float32)
    form = TransposedConvolution(strides, dilations, pads, more, group)
    column, summed_axes = (ys[1], *(1,) * (len(ws) - 2)), (0, *range(2, len(ws)))
    weights = tensor("w", "Q0.7", ws, (w / 128).astype(np.float32))
    step = Linear(tensor("x", "Q3.4", xs), weights, tensor("b", None, b.shape, b), form, ys, summed_axes, 1, column)
    order = options.get("order", "channels_first")
    terms_of = lambda at: transposed_terms(x, w, at, strides, dilations, pads, group, order)  # noqa: E731
    assert_equals_loops(step, x, w, b, terms_of, options, "half_up")


MATRICES = {
    "rows": ((3, 5), (5, 4), {}),
    "turned": ((5, 3), (4, 5), {"transposed_x": True, "transposed_w": True}),
    "stacks": ((2, 1, 3, 4), (3, 4, 2), {}),
    "vector and matrix": ((4,), (4, 3), {}),
    "matrix and vector": ((3, 4), (4,), {}),
    "two vectors": ((6,), (6,), {}),
}


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("shape", MATRICES)
@pytest.mark.parametrize(
    "register", ["wrap", "saturate", "half inside", "cut and saturate", "more fraction bits and saturate"]
)
def test_matrix_products_equal_loops_over_taps(shape, register, is_known):
    xs, ws, options = MATRICES[shape]
    form = MatrixProduct(**options)
    x, w = codes(xs, "Q3.4", 1), codes(ws, "Q0.7", 2)
    a, c = (x.T if form.transposed_x else x).astype(object), (w.T if form.transposed_w else w).astype(object)
    ys = np.matmul(a, c)
    weights = tensor("w", "Q0.7", ws, (w / 128).astype(np.float32) if is_known else None)
    axis = (1 if form.transposed_w else 0) if len(ws) == 2 else -2 if len(ws) > 2 else 0
    step = Linear(tensor("x", "Q3.4", xs), weights, None, form, np.shape(ys), (axis,), -1 if np.ndim(ys) else 0, ())

    def terms_of(at):
        rows = a if a.ndim > 1 else a[None]
        columns = c if c.ndim > 1 else c[:, None]
        stack = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
        at = [*at]
        place = at[: len(stack)]
        i = at[len(stack)] if a.ndim > 1 else 0
        j = at[-1] if c.ndim > 1 else 0
        row = np.broadcast_to(rows, (*stack, *rows.shape[-2:]))[tuple(place)][i]
        column = np.broadcast_to(columns, (*stack, *columns.shape[-2:]))[tuple(place)][:, j]
        return [int(u * v) for u, v in zip(row, column, strict=True)]

    if np.ndim(ys):
        assert_equals_loops(step, x, w, None, terms_of, ACCUMULATORS[register], "half_up")


@pytest.mark.parametrize("register", ACCUMULATORS)
def test_a_factor_of_each_channel_is_a_sum_of_bias_and_product(register):
    xs = (2, 3, 4)
    x, w = codes(xs, "Q3.4", 1), codes((3,), "Q0.7", 2)
    b = np.float32([2.5, -3.25, 0.5])
    weights = tensor("w", "Q0.7", (3,), (w / 128).astype(np.float32))
    step = Linear(tensor("x", "Q3.4", xs), weights, tensor("b", None, (3,), b), ChannelScale(1), xs, (), 1, (3, 1))
    terms_of = lambda at: [int(x[at]) * int(w[at[1]])]  # noqa: E731
    assert_equals_loops(step, x, w, b, terms_of, ACCUMULATORS[register], "half_up")


@pytest.mark.parametrize("register", ACCUMULATORS)
def test_channels_have_their_own_shift(register):
    """The weights of each channel have fraction bits of their own, and so have the products and the bias."""
    formats = ["Q0.7", "Q1.6", "Q-1.8"]
    xs, ys = (1, 2, 5), (1, 3, 4)
    x = codes(xs, "Q3.4", 1)
    w = codes((3, 2, 2), "Q0.7", 2)
    real = np.stack([w[i] * 2.0 ** -QFormat.parse(f).fraction_bits for i, f in enumerate(formats)])
    b = np.float32([0.75, -1.5, 1.0])
    weights = tensor("w", formats, w.shape, real.astype(np.float32))
    form = Convolution((1,), (1,), ((0, 0),), 1)
    step = Linear(tensor("x", "Q3.4", xs), weights, tensor("b", None, (3,), b), form, ys, (1, 2), 1, (3, 1))
    order = ACCUMULATORS[register].get("order", "channels_first")
    terms_of = lambda at: convolution_terms(x, w, at, (1,), (1,), ((0, 0),), 1, order)  # noqa: E731
    assert_equals_loops(step, x, w, b, terms_of, ACCUMULATORS[register], "half_up")


def product_of(x, w, b=None, *, result="floor", out="Q15.0", **rule):
    """The code of one sum of products of codes in Q7.0 and Q7.0, in Q15.0, and the count of overflows."""
    x, w = np.int8([x]), np.int8(w)
    weights = tensor("w", "Q7.0", w.shape, w.astype(np.float32))
    bias = None if b is None else tensor("b", None, (), np.float32(b))
    step = Linear(tensor("x", "Q7.0", x.shape), weights, bias, MatrixProduct(), (1,), (0,), 0, ())
    tally = new_tally()
    arithmetic = Arithmetic(rounding=Rounding(result), accumulator=AccumulatorRule(**rule))
    y = step.fixed(tensor("y", out, (1,)), arithmetic)
    return int(y(x, w, *([] if b is None else [np.float32(b)]), tally=tally)[0]), int(tally[ACCUMULATOR_OVERFLOWS])


def test_the_order_of_terms_decides_where_a_register_saturates():
    """100 + 100 - 100 in 8 bits: 127 - 100 = 27; 100 - 100 + 100 = 100."""
    saturate = {"bits": 8, "overflow": "saturate"}
    assert product_of([10, 10, -10], [10, 10, 10], **saturate) == (27, 1)
    assert product_of([10, -10, 10], [10, 10, 10], **saturate) == (100, 0)
    assert product_of([10, -10], [10, 10], 100.0, **saturate) == (27, 1)  # the bias comes first
    assert product_of([10, 10, -10], [10, 10, 10], bits=8) == (100, 0)  # 200 wraps to -56, and back


def test_rails_are_the_ends_of_the_register():
    """127 is held and not counted, 128 is stopped; -128 is held."""
    saturate = {"bits": 8, "overflow": "saturate"}
    assert product_of([127], [1], **saturate) == (127, 0)
    assert product_of([64, 64], [1, 1], **saturate) == (127, 1)
    assert product_of([-64, -64], [1, 1], **saturate) == (-128, 0)
    assert product_of([-64, -65], [1, 1], **saturate) == (-128, 1)


def test_rounding_inside_differs_only_within_half_a_step_of_the_end():
    """x, w in Q7.0, y in Q14.-1: s = 1. 127 + 1 wraps to -128 in 8 bits, and -128 >> 1 is -64."""
    assert product_of([127], [1], bits=8, rounds_inside=True, result="half_up", out="Q14.-1") == (-64, 1)
    assert product_of([127], [1], bits=8, result="half_up", out="Q14.-1") == (64, 0)
    assert product_of([126], [1], bits=8, rounds_inside=True, result="half_up", out="Q14.-1") == (63, 0)
    assert product_of([-128], [1], bits=8, rounds_inside=True, result="half_up", out="Q14.-1") == (-64, 0)


@pytest.mark.parametrize("rounding", ["half_even", "half_away", "trunc"])
def test_other_roundings_have_no_constant_to_be_inside(rounding):
    with pytest.raises(OptionError, match=rf"^accumulator.rounds_inside is for .* and 'y' has {rounding}: leave it"):
        product_of([1], [1], bits=8, rounds_inside=True, result=rounding)


def test_floor_has_no_constant():
    assert product_of([127], [1], bits=8, rounds_inside=True, result="floor", out="Q14.-1") == (63, 0)


def test_products_are_cut_one_by_one():
    """3/4 + 3/4 is 1 with a fraction bit in the sum, 1.5; each cut to a whole number is 0."""
    x, w = np.int8([3, 3]), np.int8([1, 1])
    weights = tensor("w", "Q6.1", (2,), np.float32([0.5, 0.5]))
    step = Linear(tensor("x", "Q6.1", (2,)), weights, None, MatrixProduct(), (1,), (0,), 0, ())
    for bits, wanted in ((0, 0), (1, 2), (2, 3)):
        rule = AccumulatorRule(fraction_bits=bits)
        kernel = step.fixed(tensor("y", "Q6.1", (1,)), Arithmetic(Rounding.FLOOR, accumulator=rule))
        assert kernel(x[None], w)[0] == wanted


def test_a_bound_proves_which_filters_are_exact():
    """|x| <= 128 in Q7.0: 128 * 3 + 100 is 484, below the 511 of 10 bits; -128 * 4 - 1 is below -512."""
    w = np.float32([[1, 1, 1], [2, 2, 0]]).T
    step = lambda b: Linear(  # noqa: E731
        tensor("x", "Q7.0", (1, 3)),
        tensor("w", "Q7.0", (3, 2), w),
        tensor("b", None, (2,), np.float32(b)),
        MatrixProduct(),
        (1, 2),
        (0,),
        1,
        (2,),
    )
    rule = AccumulatorRule(10, "saturate")
    of = lambda b: Accumulation(step(b), tensor("y", "Q15.0", (1, 2)), Arithmetic(accumulator=rule))  # noqa: E731
    assert of([100, 0]).may_overflow.tolist() == [False, False]
    assert not of([100, 0]).in_order
    assert of([100, -1]).may_overflow.tolist() == [False, True]
    assert of([100, 4]).may_overflow.tolist() == [False, True]  # 127 * 4 + 4 is 512
    assert of([100, 3]).may_overflow.tolist() == [False, False]
    assert of([100, -1]).in_order


@pytest.mark.parametrize(("shape", "overflows"), [((2,), [False, False]), ((2, 1), [True])])
def test_a_bias_for_each_row_is_not_one_for_each_column(shape, overflows):
    """Every column meets every bias of a row: 127 * 3 + 200 is beyond the 511 of 10 bits, 127 * 3 and 200 are not."""
    w, b = np.float32([[0, 1], [0, 1], [0, 1]]), np.float32([200, 0]).reshape(shape)
    weights, bias = tensor("w", "Q7.0", (3, 2), w), tensor("b", None, shape, b)
    step = Linear(tensor("x", "Q7.0", (2, 3)), weights, bias, MatrixProduct(), (2, 2), (0,), 1, shape)
    rule = AccumulatorRule(10, "saturate")
    found = Accumulation(step, tensor("y", "Q15.0", (2, 2)), Arithmetic(accumulator=rule))
    assert found.may_overflow.tolist() == overflows
