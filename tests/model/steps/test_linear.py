from fractions import Fraction

import numpy as np
import pytest
from networks import network

from qengine import InferenceSession


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
