"""Formats of biases: codes in a word of their own, shifted to the fraction bits of the sums."""

import numpy as np
import pytest
from model.formats.sessions import CHAIN, CONV, Q, X, session
from networks import weights

import qengine
from qengine import dequantize, quantize
from qengine.analysis.inspection.costs import Workload, find_cost
from qengine.analysis.report import compare
from qengine.errors import FormatError, UnsupportedError
from qengine.qformat import ChannelFormats
from qengine.quantization.qdq import quantized_model

ISAS = ["reference", None]
B = weights(4, seed=9)
EACH = ["Q0.3", "Q1.2", "Q0.3", "Q-1.4"]


def by_channel(values, formats):
    return np.array([dequantize(quantize(v, f), f) for v, f in zip(values, formats, strict=True)], np.float32)


ROUNDED = {
    "Q0.3": dequantize(quantize(B, "Q0.3"), "Q0.3"),
    "Q0.1": dequantize(quantize(B, "Q0.1"), "Q0.1"),
    "Q3.4": dequantize(quantize(B, "Q3.4"), "Q3.4"),
    "Q5.10": dequantize(quantize(B, "Q5.10"), "Q5.10"),
    "UQ0.4": dequantize(quantize(B, "UQ0.4"), "UQ0.4"),
    "each": by_channel(B, EACH),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("case", ROUNDED)
def test_a_bias_is_rounded_and_saturated_in_its_format(case, per_channel, isa):
    options = {"qformat": "Q4.7", "formats": {"V": "Q1.6"}, "per_channel": per_channel, "isa": isa}
    fmt = EACH if case == "each" else case
    s = session(CHAIN, {"W": "Q0.7", "b": fmt, **options.pop("formats")}, **options)
    wanted = session(CHAIN, {"W": "Q0.7", "V": "Q1.6"}, constants={"b": ROUNDED[case]}, **options)
    for name in ("c", "y"):
        (found,), (codes,) = (one.run([name], {"x": X}, raw=True) for one in (s, wanted))
        np.testing.assert_array_equal(found, codes, strict=True)
    (plain,) = session(CHAIN, {"W": "Q0.7", "V": "Q1.6"}, **options).run(["c"], {"x": X}, raw=True)
    assert case == "Q5.10" or (plain != s.run(["c"], {"x": X}, raw=True)[0]).any()


def test_a_session_has_the_format_and_the_codes():
    s = session(CHAIN, {"b": "Q0.3"}, qformat="Q4.3")
    assert s.formats["b"] == Q("Q0.3")
    assert s.notes == ()
    np.testing.assert_array_equal(s.run(["b"], {"x": X}, raw=True)[0], quantize(B, "Q0.3"), strict=True)
    again = session(CHAIN, s.formats)
    assert again.formats == s.formats
    assert "b" not in session(CHAIN, qformat="Q4.3").formats
    channels = session(CHAIN, {"b": EACH}, qformat="Q4.3").formats["b"]
    assert isinstance(channels, ChannelFormats)
    assert channels.formats == tuple(map(Q, EACH))


FOLDED = {
    "BatchNormalization": [("Conv", "x W", "c"), ("BatchNormalization", "c g o m v", "y")],
    "MatMul": [("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}), ("MatMul", "t M", "c"), ("Add", "c o", "y")],
    "alone": [("Relu", "x", "r"), ("BatchNormalization", "r g3 o3 m3 v3", "y")],
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("case", FOLDED)
def test_what_is_folded_into_a_bias_may_have_a_format(case, isa):
    constants = {"M": weights(3, 4), "o": B, "o3": B[:3]}
    constants |= {n + k: np.ones(c, np.float32) for n in "gv" for k, c in (("", 4), ("3", 3))}
    constants |= {"m" + k: np.zeros(c, np.float32) for k, c in (("", 4), ("3", 3))}
    name = "o3" if case == "alone" else "o"
    s = session(FOLDED[case], {name: "Q0.3"}, qformat="Q3.4", constants=constants, isa=isa)
    assert s.notes == ()
    assert s.formats[name] == Q("Q0.3")
    rounded = {**constants, name: dequantize(quantize(constants[name], "Q0.3"), "Q0.3")}
    wanted = session(FOLDED[case], qformat="Q3.4", constants=rounded, isa=isa)
    (found,), (codes,) = (one.run(None, {"x": X}, raw=True) for one in (s, wanted))
    np.testing.assert_array_equal(found, codes, strict=True)


def test_a_constant_that_is_more_than_a_bias_keeps_32_bits_as_one():
    nodes = [("Conv", "x W b", "c"), ("GlobalMaxPool", "c", "p"), ("Flatten", "p", "f"), ("Max", "f b", "y")]
    s = session(nodes, {"b": "Q0.3"}, qformat="Q3.4")
    plain = session(nodes, qformat="Q3.4")
    (found,), (codes,) = (one.run(["c"], {"x": X}, raw=True) for one in (s, plain))
    np.testing.assert_array_equal(found, codes)


def test_bad_formats_of_biases():
    with pytest.raises(FormatError, match=r"^formats give 'b' 2 formats for 4 channels"):
        session(CHAIN, {"b": ["Q0.3", "Q1.2"]}, qformat="Q4.3")
    with pytest.raises(FormatError, match="differ in word length"):
        session(CHAIN, {"b": ["Q0.3", "Q1.2", "Q0.3", "Q0.7"]}, qformat="Q4.3")
    with pytest.raises(FormatError, match=r"a word has 2 to 16"):
        session(CHAIN, {"b": "Q10.10"}, qformat="Q4.3")
    with pytest.raises(FormatError, match=r"^constant 'b' holds NaN"):
        session(CHAIN, {"b": "Q0.3"}, qformat="Q4.3", constants={"b": [0.0, np.nan, 1.0, 2.0]})


@pytest.mark.parametrize("case", ["Q0.3", "each"])
def test_a_quantized_model_has_the_rounded_bias(case):
    s = session(CHAIN, {"b": EACH if case == "each" else case}, qformat="Q4.3")
    back = qengine.InferenceSession(quantized_model(s))
    np.testing.assert_array_equal(back.run(None, {"x": X}, raw=True)[0], s.run(None, {"x": X}, raw=True)[0])
    wide = session(CHAIN, {"b": "Q12.3", "x": "Q-12.19", "W": "Q0.15"}, qformat="Q4.11", constants={"b": 4000 * B})
    with pytest.raises(UnsupportedError, match=r"^bias 'b' in Q12\.3 does not fit 32 bits with the 34 fraction bits"):
        quantized_model(wide)


def test_the_cost_of_a_bias_is_that_of_its_word():
    def cost(s):
        return find_cost("weights").total(Workload(s, {"x": X}, 1))

    plain, short = (session(CHAIN, given, qformat="Q4.3") for given in ({}, {"b": "Q0.3"}))
    assert cost(plain) - cost(short) == 4 * (32 - 4) / 8


def test_a_bias_that_saturates_in_its_format_is_noted_once():
    s = session(CHAIN, {"b": "Q-2.5"}, qformat="Q4.3")
    notes = [note for note in compare(s, s.in_float32(), {"x": X}).notes if "'b'" in note]
    over = int(np.count_nonzero(np.abs(B) > 0.25))
    assert notes == [f"{over} of 4 elements of constant 'b' saturate in Q-2.5"]


def test_a_format_takes_precedence_over_the_bias_of_a_quantized_model():
    nodes = [CONV, ("Relu", "c", "y")]
    written = quantized_model(session(nodes, qformat="Q4.3")).SerializeToString()
    found = qengine.InferenceSession(written, formats={"b": "Q0.3"}).run(None, {"x": X}, raw=True)[0]
    wanted, plain = (
        session(nodes, given, qformat="Q4.3").run(None, {"x": X}, raw=True)[0] for given in ({"b": "Q0.3"}, {})
    )
    np.testing.assert_array_equal(found, wanted, strict=True)
    assert (found != plain).any()
