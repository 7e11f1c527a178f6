from fractions import Fraction

import numpy as np
import pytest
from networks import network

from qengine import InferenceSession
from qengine.errors import FormatError
from qengine.kernels.reference.linear import matrix_product
from qengine.model.graph import ActivationBounds
from qengine.model.rules import Arithmetic
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.linear import Linear
from qengine.model.steps.step import Tensor
from qengine.qformat import QFormat, channel_formats, quantize

FLOAT = np.dtype(np.float32)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("bias", "held"), [(0.2, round(0.2 * 2**12) << 21), (0.25, 2**31), (2.0, 2**34)])
def test_a_computed_bias_is_held_in_32_bits(sign, bias, held):
    """x and the bias in Q3.12, the weight 2^-8 in Q-7.22 by default: the accumulator has 34 fraction bits."""
    model = network(
        [("Identity", "c", "b"), ("Gemm", "x w b", "y")],
        inputs={"x": [1, 1], "c": [1]},
        constants={"w": [[2.0**-8]]},
    )
    s = InferenceSession(model, qformat="Q3.12", formats={"w": "Q-6.21"})
    (y,) = s.run(None, {"x": np.float32([[1.0]]), "c": np.float32([sign * bias])}, raw=True)
    held = min(max(sign * held, -(2**31)), 2**31 - 1)
    assert y.item() == round(Fraction((1 << 12) * (1 << 13) + held, 1 << 21))  # half to even, as Python rounds


@pytest.mark.parametrize(("bits", "x", "c"), [(16, 8.0, 7.5), (16, 1.5, -7.9), (17, 8.0, 15.99), (20, 8.0, -16.0)])
def test_a_computed_bias_wraps_in_a_narrow_accumulator(bits, x, c):
    """The products alone fit the accumulator; only a limit that counts the bias shows that the sum does not."""
    model = network(
        [("Identity", "c", "b"), ("Gemm", "x w b", "y")],
        inputs={"x": [1, 1], "c": [1]},
        constants={"w": [[2.0**-12]]},
    )
    formats = {"x": "Q4.3", "w": "Q-1.16", "c": "Q4.11", "y": "Q4.11"}
    s = InferenceSession(model, formats=formats, accumulator_bits=bits)
    (y,) = s.run(None, {"x": np.float32([[x]]), "c": np.float32([c])}, raw=True)
    n = 3 + 16  # fraction bits of the accumulator
    product = min(round(x * 2**3), 127) * 2**4
    bias = min(round(c * 2**11), 2**15 - 1) << (n - 11)
    half = 1 << (bits - 1)
    accumulator = (product + bias + half) % (1 << bits) - half
    assert y.item() == round(Fraction(accumulator, 1 << (n - 11)))  # half to even, as Python rounds


@pytest.mark.parametrize("bias", [300.0, -300.0, 20.0])
def test_a_computed_bias_counts_in_a_narrow_accumulator(bias):
    """Products of 8 bits by 8 fit 16 bits whatever the input is, and the sum with the bias does not: it wraps."""
    model = network(
        [("Identity", "c", "b"), ("Gemm", "x w b", "y")],
        inputs={"x": [1, 1], "c": [1]},
        constants={"w": [[0.5]]},
    )
    formats = {"x": "Q3.4", "w": "Q3.4", "c": "Q10.5", "y": "Q7.8"}
    session = InferenceSession(model, formats=formats, accumulator_bits=16)
    (y,) = session.run(None, {"x": np.float32([[0.25]]), "c": np.float32([bias])}, raw=True)
    total = 4 * 8 + round(bias * 2**8)
    wrapped = (total + 2**15) % 2**16 - 2**15
    assert (total != wrapped) == (abs(bias) > 100)
    assert y.item() == wrapped


def tensor(name, value, form, shape=None):
    """A constant, or a tensor of a shape without elements; a format is a text, or a list with one for each column."""
    form = channel_formats(form, 1) if isinstance(form, list) else form and QFormat.parse(form)
    array = None if value is None else np.asarray(value, np.float32)
    return Tensor(name, FLOAT, array.shape if shape is None else shape, array, form)


def product_of(w, b=None, *, x="Q3.4", form="Q0.7", activation=None, b_form=None):
    """Return a matrix product of x (1, 2) with constants w (2, 3) and b (3,); None is computed in the run."""
    bias = tensor("b", b, b_form, (3,)) if b is not None or b_form else None
    return Linear(
        tensor("x", None, x, (1, 2)),
        tensor("w", w, form, (2, 3)),
        bias,
        matrix_product,
        (1, 3),
        (0,),
        1,
        (3,),
        activation,
    )


def bound_of(step):
    return Accumulation(step, tensor("y", None, "Q3.4", (1, 3)), Arithmetic()).bound


def codes_of(step, form):
    """Return the codes of the output for the codes of x below."""
    run = step.fixed(tensor("y", None, form, (1, 3)), Arithmetic())
    return run(CODES, *[constant.elements for constant in step.operands[1:]])[0].tolist()


W = np.float32([[0.5, -0.25, 1 / 128], [-1, 0.25, 0]])
CODES = np.int8([[16, -128]])  # of x, 1 and -8


@pytest.mark.parametrize(
    "activation", [None, ActivationBounds(0.0, None), ActivationBounds(None, 4.0), ActivationBounds(-20.0, 20.0)]
)
def test_a_constant_bias_is_rounded_half_to_even_to_the_accumulator(activation):
    """x has 4 fraction bits and w 7: the sums and the bias have 11, and 2.5 units of the bias are 2."""
    step = product_of(W, np.float32([2.5, -3.5, 2048 * 9]) / 2048, activation=activation)
    codes = codes_of(step, "Q3.4")
    sums = [16 * 64 + 128 * 128 + 2, -16 * 32 - 128 * 32 - 4, 16 + 2048 * 9]
    low, high = (activation.low, activation.high) if activation else (None, None)
    least, most = -128 if low is None else max(low * 16, -128), 127 if high is None else min(high * 16, 127)
    assert codes == [min(max(round(Fraction(total, 128)), least), most) for total in sums]


@pytest.mark.parametrize(("value", "saturated"), [(2.0**20, 1), (-(2.0**20), 0), (-(2.0**20) - 0.25, 1), (1e30, 1)])
def test_a_constant_bias_saturates_in_32_bits(value, saturated):
    """2^31 units of 2^-11 are 2^20; the largest code is one unit less."""
    step = product_of(W, [0.0, value, 1.0])
    assert step.saturated_bias(Arithmetic()) == saturated
    held = min(max(round(Fraction(value) * 2048), -(1 << 31)), (1 << 31) - 1)
    for w in (W, None):
        products = 128 * (128 if w is not None else 2 * 128)  # of the second column of no weights the word decides
        step = product_of(w, [0.0, value, 1.0])
        largest = 128 * (64 + 128) if w is not None else products
        assert bound_of(step) == largest + abs(held)


def test_limits_of_sums():
    """|x| is at most 128; of known weights the largest sum of a column counts, of others the word."""
    assert bound_of(product_of(W)) == 128 * (64 + 128)
    assert bound_of(product_of(None)) == 128 * 128 * 2
    assert bound_of(product_of(np.zeros((2, 3)))) == 0
    assert bound_of(product_of(W, b_form="Q3.4")) == 128 * (64 + 128) + 2**31
    assert bound_of(product_of(W, x="UQ4.4")) == 128 * 0 + 255 * (64 + 128)
    default = Arithmetic()
    assert product_of(W).saturated_bias(default) == product_of(W, b_form="Q3.4").saturated_bias(default) == 0


@pytest.mark.parametrize(
    ("shape", "axis", "formats", "wanted"),
    [
        ((1, 3), 1, ["Q0.7", "Q1.6", "Q-1.8"], [7, 6, 8]),
        ((1, 3), -1, ["Q0.7", "Q1.6", "Q-1.8"], [7, 6, 8]),
        ((1, 2, 5, 4), 1, ["Q0.7", "Q1.6"], [[[7]], [[6]]]),
        ((1, 2, 5, 4), -3, ["Q0.7", "Q1.6"], [[[7]], [[6]]]),
        ((1, 4, 5), 1, ["Q0.7", "Q1.6"], [[7], [6], [7], [6]]),  # a transposed convolution of two groups
    ],
)
def test_fraction_bits_of_channels_broadcast_against_the_output(shape, axis, formats, wanted):
    w = tensor("w", None, formats, (2, len(formats)))
    step = Linear(tensor("x", None, "Q3.4", (1, 2)), w, None, matrix_product, shape, (0,), axis, (1,))
    assert step.weight_fraction_bits().tolist() == wanted
    plain = Linear(step.x, tensor("w", None, "Q0.7", w.shape), None, matrix_product, shape, (0,), axis, (1,))
    assert plain.weight_fraction_bits() == 7


def test_weights_and_bias_have_the_fraction_bits_of_their_channel():
    formats = ["Q0.7", "Q1.6", "Q-1.8"]
    step = product_of(W, np.float32([1, 2, 3]) / 8, form=formats)
    codes = codes_of(step, "Q7.8")
    w = [quantize(W[:, k], form) / 2.0 ** int(form.split(".")[1]) for k, form in enumerate(formats)]
    wanted = [w[k][0] - 8 * w[k][1] + (k + 1) / 8 for k in range(3)]
    assert codes == [round(Fraction(v) * 256) for v in wanted]


@pytest.mark.parametrize("shift", [-3, -1, 0, 1, 3])
def test_a_computed_bias_comes_to_the_fraction_bits_of_the_accumulator(shift):
    step = product_of(W, b_form=f"Q{4 - shift}.{11 + shift}")
    bias = np.int16([[-5, 4, 12]])
    (codes,) = step.fixed(tensor("y", None, "Q4.11", (1, 3)), Arithmetic())(CODES, np.asarray(W * 128, np.int8), bias)
    sums = [16 * 64 + 128 * 128, -16 * 32 - 128 * 32, 16]
    assert codes.tolist() == [
        t + round(Fraction(b) / Fraction(2) ** shift) for t, b in zip(sums, bias[0].tolist(), strict=True)
    ]


def test_what_has_no_code_is_refused():
    with pytest.raises(FormatError, match=r"^constant 'b' holds NaN: fixed point has no code for it$"):
        product_of(W, [0.0, np.nan, 1.0]).saturated_bias(Arithmetic())
    with pytest.raises(FormatError, match=r"^weights 'w' have no format$"):
        product_of(W, form=None).weight_fraction_bits()


def test_known_operands_give_one_sum_on_every_machine():
    """float64, in the order of the elements, rounded once: 2^53 + 1 - 2^53 is 0 in this order."""
    x = Tensor("x", FLOAT, (1, 3), np.float32([[2.0**53, 1, -(2.0**53)]]))
    w = Tensor("w", FLOAT, (3, 1), np.ones((3, 1), np.float32))
    b = Tensor("b", FLOAT, (1,), np.float32([0.5]))
    step = Linear(x, w, b, matrix_product, (1, 1), (0,), 1, (1,), ActivationBounds(0.25, None))
    np.testing.assert_array_equal(step.known(), np.float32([[0.5]]), strict=True)
    whole = [Tensor(t.name, np.dtype(np.int64), t.shape, t.value.astype(np.int64)) for t in (x, w)]
    step = Linear(*whole, None, matrix_product, (1, 1), (0,), 1, (1,))
    np.testing.assert_array_equal(step.known(), np.int64([[1]]), strict=True)
