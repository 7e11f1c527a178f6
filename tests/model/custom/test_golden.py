"""A custom operator of torch from both of its exporters, compared with torch and bit for bit with its rule."""

from pathlib import Path

import numpy as np
import pytest

from qengine import InferenceSession, register_operator
from qengine.analysis.report import compare, sqnr
from qengine.data.golden import read_golden
from qengine.errors import UnsupportedError
from qengine.kernels.isa import available

ISAS = ["reference", available()[0].name]
GOLDEN = Path(__file__).parents[2] / "golden" / "custom"
MODELS = {"script": "/SoftShrink_output_0", "dynamo": "soft_shrink"}
BEFORE = {"script": "/analysis/Conv_output_0", "dynamo": "conv2d"}


def registered():
    @register_operator("SoftShrink", domain="mydomain")
    def soft_shrink(x, threshold, *, gain: float):
        return gain * np.sign(x) * np.maximum(np.abs(x) - threshold.reshape(1, -1, 1, 1), 0)

    @soft_shrink.fixed_point
    def _(x, threshold, *, gain):
        n = max(x.fraction_bits, threshold.fraction_bits)
        limit = (threshold.codes << (n - threshold.fraction_bits)).reshape(1, -1, 1, 1)
        codes = x.codes << (n - x.fraction_bits)
        times, per = gain.as_integer_ratio()  # a power of two
        return np.sign(codes) * np.maximum(np.abs(codes) - limit, 0) * times, n + per.bit_length() - 1


@pytest.mark.parametrize("name", MODELS)
def test_float32_is_what_torch_gave(name):
    registered()
    inputs, outputs = read_golden(GOLDEN / "golden.npz")
    (found,) = InferenceSession(GOLDEN / f"{name}.onnx").run(["output"], inputs)
    wanted = outputs["output"]
    assert found.shape == wanted.shape == inputs["input"].shape
    assert found.dtype == wanted.dtype
    assert np.abs(found - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max())
    # The shrinkage is seen: without it the answer is another one.
    assert np.abs(inputs["input"] - wanted).max() > 0.1


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", MODELS)
def test_fixed_point_is_the_rule_to_the_bit(name, isa):
    registered()
    inputs, outputs = read_golden(GOLDEN / "golden.npz")
    session = InferenceSession(GOLDEN / f"{name}.onnx", qformat="Q3.4", strict=True, isa=isa)
    assert str(session.formats["threshold"]) == "Q0.7"
    before, after = session.run([BEFORE[name], MODELS[name]], inputs, raw=True)
    limits = [8, 16, 32, 64, 48, 24]  # in steps of 2^-7; x has 4 fraction bits, 1.5 is 3 / 2
    for place, code in np.ndenumerate(before):
        total = max(abs(int(code)) * 8 - limits[place[1]], 0) * 3  # of 8 fraction bits, rounded to 4
        value = min((total + 7 + (total >> 4 & 1)) >> 4, 127 if code > 0 else 128)
        assert after[place] == (value if code > 0 else -value)
    wide = InferenceSession(GOLDEN / f"{name}.onnx", qformat="Q4.11", strict=True, isa=isa)
    assert sqnr(outputs["output"], wide.run(["output"], inputs)[0]) > 50


def test_both_exports_are_one_network():
    registered()
    inputs, _ = read_golden(GOLDEN / "golden.npz")
    first, second = (
        InferenceSession(GOLDEN / f"{name}.onnx", qformat="Q3.4").run(["output"], inputs, raw=True)[0]
        for name in MODELS
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", MODELS)
def test_without_the_rule_it_is_an_island(name):
    register_operator("SoftShrink", domain="mydomain")(
        lambda x, threshold, *, gain: (
            gain * np.sign(x) * np.maximum(np.abs(x) - np.reshape(threshold, (1, -1, 1, 1)), 0)
        )
    )
    inputs, _ = read_golden(GOLDEN / "golden.npz")
    path = GOLDEN / f"{name}.onnx"
    found = compare(InferenceSession(path, qformat="Q3.4"), InferenceSession(path), inputs)
    assert len(found.islands) == 1
    assert found.islands[0].endswith("(mydomain.SoftShrink)")
    with pytest.raises(UnsupportedError, match="strict"):
        InferenceSession(path, qformat="Q3.4", strict=True).run(None, inputs)


@pytest.mark.parametrize("name", MODELS)
def test_unregistered_it_is_refused(name):
    with pytest.raises(UnsupportedError, match=r'@qengine.register_operator\("SoftShrink", domain="mydomain"\)'):
        InferenceSession(GOLDEN / f"{name}.onnx")
