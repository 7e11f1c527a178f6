"""Extreme cases: long strides, infinities, long sums, every bias, inputs that nothing reads."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network, weights
from runtime.native.native import ISAS, assert_same, both
from runtime.native.test_other_steps import feeds_of

from qengine import InferenceSession
from qengine.errors import FeedError

WORDS = [{}, {"qformat": "Q3.4"}, {"qformat": "Q3.12"}]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("stride", [2, 8, 9, 1000, 100_000])
@pytest.mark.parametrize("group", [1, 16])
def test_long_strides(group, stride, word):
    model = network(
        [("Conv", "x w", "y", {"group": group, "strides": [1, stride]})],
        inputs={"x": [1, 16, 3, 3]},
        constants={"w": weights(16, 16 // group, 1, 1)},
    )
    got, want, kernels = both(model, feeds_of(model), ISAS[0], **word)
    assert_same(got, want)
    assert not any(kernel.startswith("reference") for kernel in kernels)


@pytest.mark.parametrize("strides", [[8, 8], [9, 9], [300, 300], [1000, 1]])
def test_long_strides_of_a_transposed_convolution(strides):
    model = network(
        [("ConvTranspose", "x w", "y", {"strides": strides})],
        inputs={"x": [1, 3, 2, 1]},
        constants={"w": weights(3, 2, 1, 2)},
    )
    got, want, kernels = both(model, feeds_of(model), ISAS[0], qformat="Q3.4")
    assert_same(got, want)
    assert any("strides" in kernel for kernel in kernels) == (strides != [8, 8])


BIASES = {"of one": (1,), "of channels": (5,), "of one row": (1, 5), "a number": (), "of rows": (3, 1), "whole": (3, 5)}


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("word", [w for w in WORDS if w])
@pytest.mark.parametrize("bias", BIASES)
def test_every_bias_of_a_gemm(bias, word, per_channel):
    constants = {"w": weights(4, 5) * np.float32([1, 0.01, 0.3, 0.1, 0.7]), "b": np.asarray(weights(*BIASES[bias]))}
    model = network([("Gemm", "x w b", "y")], inputs={"x": [3, 4]}, constants=constants)
    got, want, kernels = both(model, feeds_of(model), ISAS[0], per_channel=per_channel, **word)
    assert_same(got, want)
    differs = bias in ("of rows", "whole")
    assert [k for k in kernels if k.startswith("reference")] == [
        "reference: a bias that differs from row to row"
    ] * differs


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize("fraction_bits", [1, 14])
def test_left_shifts_into_unsigned_16_bit_words(fraction_bits, overflow, isa):
    """Codes above 2^15 are the upper half of an unsigned word: neither a clamp nor a sign may take them."""
    model = network([("Conv", "x w", "y")], inputs={"x": [1, 1, 1, 12]}, constants={"w": [[[[1.0]]]]})
    codes = [0, 1, 3, 4, 1023, 8191, 16383, 16384, 20000, 32767, 32768, 65535]
    formats = {"x": "UQ16.0", "w": "Q7.0", "y": f"UQ{16 - fraction_bits}.{fraction_bits}"}
    feeds = {"x": np.float32(codes).reshape(1, 1, 1, -1)}
    got, want, kernels = both(model, feeds, isa, formats=formats, overflow=overflow)
    assert_same(got, want)
    assert not any(kernel.startswith("reference") for kernel in kernels)
    exact = [code << fraction_bits for code in codes]
    assert got[0].ravel().tolist() == [v & 0xFFFF if overflow == "wrap" else min(v, 65535) for v in exact]


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize(
    ("channels", "outputs", "group"), [(8, 8, 2), (8, 8, 8), (24, 36, 4), (32, 64, 32), (40, 20, 20), (5, 15, 5)]
)
@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_nan_and_infinity_stay_in_their_group(operator, channels, outputs, group, bad):
    shape = (outputs, channels // group) if operator == "Conv" else (channels, outputs // group)
    model = network(
        [(operator, "x w", "y", {"group": group})],
        inputs={"x": [1, channels, 5, 6]},
        constants={"w": weights(*shape, 2, 3)},
    )
    feeds = feeds_of(model)
    feeds["x"][0, channels // 2, 2, 2] = bad
    got, want, _ = both(model, feeds, ISAS[0])
    np.testing.assert_array_equal(np.isnan(got[0]), np.isnan(want[0]))
    np.testing.assert_allclose(got[0], want[0], rtol=0, atol=1e-5 * np.abs(want[0][np.isfinite(want[0])]).max())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("inputs", [4608, 100_000])
def test_long_sums_of_equal_numbers(inputs, isa):
    model = network(
        [("MatMul", "x w", "y")], inputs={"x": [2, inputs]}, constants={"w": np.full((inputs, 3), 0.1, np.float32)}
    )
    session = InferenceSession(model, isa=isa)
    (y,) = session.run(None, {"x": np.full((2, inputs), 0.1, np.float32)})
    np.testing.assert_allclose(y, inputs * float(np.float32(0.1)) ** 2, rtol=1e-5)


@pytest.mark.parametrize("isa", ISAS)
def test_the_mean_of_a_large_image(isa):
    model = network([("GlobalAveragePool", "x", "y")], inputs={"x": [1, 1, 2048, 2048]})
    (y,) = InferenceSession(model, isa=isa).run(None, {"x": np.full((1, 1, 2048, 2048), 0.1, np.float32)})
    np.testing.assert_allclose(y, np.float32(0.1), rtol=1e-6)


def test_nan_in_an_input_that_nothing_reads():
    model = network([("Relu", "x", "y")], inputs={"x": [1, 3], "z": [1, 3]})
    session = InferenceSession(model, isa=ISAS[0], qformat="Q3.4")
    x = np.ones((1, 3), np.float32)
    assert session.run(None, {"x": x, "z": x})[0].tolist() == [[1, 1, 1]]
    with pytest.raises(FeedError, match="input 'z' holds NaN"):
        session.run(None, {"x": x, "z": x * np.float32(np.nan)})
