"""Registered operators in a network: float32, a rule in fixed point, table, move, island."""

from fractions import Fraction

import numpy as np
import onnx
import pytest
from covering import covering
from networks import network, weights
from oracle import OVERFLOWS, ROUNDINGS, Fmt
from oracle.codes import overflow_code, round_fraction

from qengine import FixedPoint, InferenceSession, QFormat, dequantize, quantize, register_operator
from qengine.analysis.report import compare
from qengine.errors import FormatError, UnsupportedError
from qengine.kernels.isa import available

ISAS = ["reference", available()[0].name]
X = weights(1, 3, 6, 5, seed=1, scale=1.0)
W = weights(4, 3, 3, 3)
CNN = network(
    [
        ("Conv", "x w", "c"),
        ("my.domain.Blend", "c", "b", {"factor": 0.75}),
        ("Relu", "b", "r"),
        ("MaxPool", "r", "y", {"kernel_shape": [2, 2]}),
    ],
    constants={"w": W},
)


def blend():
    """x * factor + the mean over channels / 4, with a rule of 8 fraction bits for the factor."""

    @register_operator("Blend", domain="my.domain")
    def operator(x, *, factor: float = 0.5):
        return x * np.float32(factor) + x.sum(axis=1, keepdims=True) / 16

    return operator


def blend_exactly(seen=None):
    operator = blend()

    @operator.fixed_point
    def _(x, *, factor):
        if seen is not None:
            seen.append(x)
        scaled = x.codes * round(factor * 256)
        return scaled + x.codes.sum(axis=1, keepdims=True) * 16, x.fraction_bits + 8

    return operator


def expected_blend(codes, out_bits, n_in, n_out, rounding, overflow):
    """Return the result of `blend`, computed with Python's integers."""
    result = np.empty(codes.shape, np.int64)
    for place, code in np.ndenumerate(codes):
        column = [int(c) for c in codes[place[0], :, place[2], place[3]]]
        total = int(code) * 192 + sum(column) * 16
        shift = n_in + 8 - n_out
        rounded = round_fraction(Fraction(total, 1 << shift), rounding, shift)
        result[place] = overflow_code(rounded, Fmt(out_bits, 0), overflow)
    return result


@pytest.mark.parametrize("isa", ISAS)
def test_float32(isa):
    blend()
    session = InferenceSession(CNN, isa=isa)
    c, y = session.run(["c", "y"], {"x": X})
    b = c * np.float32(0.75) + c.sum(axis=1, keepdims=True) / 16
    r = np.maximum(b, 0)
    windows = np.lib.stride_tricks.sliding_window_view(r, (2, 2), axis=(2, 3))
    np.testing.assert_array_equal(y, windows.max(axis=(-1, -2)), strict=True)


@pytest.mark.parametrize(("rounding", "overflow", "isa"), covering(ROUNDINGS, OVERFLOWS, ISAS))
def test_a_rule_gives_exact_integers_that_are_rounded_once(rounding, overflow, isa):
    blend_exactly()
    session = InferenceSession(
        CNN,
        qformat="Q3.4",
        formats={"b": "Q1.5", "r": "Q1.5"},
        rounding=rounding,
        overflow=overflow,
        strict=True,
        isa=isa,
    )
    c, b, y = session.run(["c", "b", "y"], {"x": X}, raw=True)
    wanted = expected_blend(c, 7, 4, 5, rounding, overflow)
    assert wanted.max() == 63 or overflow in ("wrap", "zero")
    np.testing.assert_array_equal(b, wanted.astype(np.int8), strict=True)
    windows = np.lib.stride_tricks.sliding_window_view(np.maximum(b, 0), (2, 2), axis=(2, 3))
    np.testing.assert_array_equal(y, windows.max(axis=(-1, -2)), strict=True)


def test_a_rule_sees_codes_and_formats():
    seen = []
    blend_exactly(seen)
    session = InferenceSession(CNN, qformat="Q3.4", formats={"c": "Q2.9"})
    (c,) = session.run(["c"], {"x": X}, raw=True)
    session.run(None, {"x": X})
    (x,) = seen
    assert isinstance(x, FixedPoint)
    assert (x.format, x.fraction_bits, x.codes.dtype) == (QFormat.parse("Q2.9"), 9, np.int64)
    np.testing.assert_array_equal(x.codes, c)


def test_saturations_are_counted_and_no_island_is_listed():
    blend_exactly()
    session = InferenceSession(CNN, qformat="Q3.4", formats={"b": "Q0.5", "r": "Q0.5"})
    found = compare(session, InferenceSession(CNN), {"x": X})
    (b,) = [t for t in found.tensors if t.name == "b"]
    (c,) = session.run(["c"], {"x": X}, raw=True)
    beyond = expected_blend(c, 16, 4, 5, "half_even", "saturate")
    assert b.saturated == np.count_nonzero((beyond > 31) | (beyond < -32)) > 0
    assert (b.kind, b.operator, b.elements) == ("custom", "Blend", beyond.size)
    assert found.islands == ()


def test_without_a_rule_it_is_an_island_that_strict_refuses():
    blend()
    session, exact = InferenceSession(CNN, qformat="Q3.4", isa="reference"), InferenceSession(CNN)
    c, b = session.run(["c", "b"], {"x": X}, raw=True)
    real = dequantize(c, "Q3.4")
    np.testing.assert_array_equal(
        b, quantize(real * np.float32(0.75) + real.sum(axis=1, keepdims=True) / 16, "Q3.4"), strict=True
    )
    found = compare(session, exact, {"x": X})
    assert found.islands == ("node 'the_b' (my.domain.Blend)",)
    assert [t.kind for t in found.tensors if t.name == "b"] == ["island"]
    with pytest.raises(UnsupportedError, match=r"node 'the_b' \(my.domain.Blend\): strict: no fixed-point rule"):
        InferenceSession(CNN, qformat="Q3.4", strict=True).run(None, {"x": X})


def test_an_island_that_gives_indices_leaves_fixed_point_too():
    @register_operator("Arg", domain="my.domain")
    def arg(x):
        return x.argmax(axis=-1)

    built = network([("Relu", "x", "r"), ("my.domain.Arg", "r", "y")])
    found = compare(InferenceSession(built, qformat="Q3.4"), InferenceSession(built), {"x": X})
    assert found.islands == ("node 'the_y' (my.domain.Arg)",)
    with pytest.raises(UnsupportedError, match=r"node 'the_y' \(my.domain.Arg\): strict: no fixed-point rule"):
        InferenceSession(built, qformat="Q3.4", strict=True).run(None, {"x": X})


def test_nan_of_an_island_names_the_node():
    @register_operator("Blend", domain="my.domain")
    def operator(x, *, factor):
        return np.log(x)

    assert np.isnan(InferenceSession(CNN).run(["b"], {"x": X})[0]).any()
    with pytest.raises(FormatError, match=r"node 'the_b' \(my.domain.Blend\): tensor 'b' became NaN"):
        InferenceSession(CNN, qformat="Q3.4").run(None, {"x": X})


TABLE = network([("my.domain.Swell", "x", "s", {"power": 3}), ("Neg", "s", "y")])


@pytest.mark.parametrize("isa", ISAS)
def test_a_table(isa):
    seen = []

    @register_operator("Swell", domain="my.domain", fixed_point="table")
    def swell(x, *, power: float, offset: float = 0.25):
        seen.append((x.dtype, power, type(power), offset))
        return np.sign(x) * np.abs(x) ** power + offset

    (y,) = InferenceSession(TABLE, isa=isa).run(None, {"x": X})
    wide = X.astype(np.float64)
    np.testing.assert_array_equal(y, -(np.sign(wide) * np.abs(wide) ** 3 + 0.25).astype(np.float32), strict=True)
    session = InferenceSession(TABLE, qformat="Q3.4", formats={"s": "Q4.3", "y": "Q4.3"}, strict=True, isa=isa)
    s, y = session.run(["s", "y"], {"x": X}, raw=True)
    real = dequantize(quantize(X, "Q3.4"), "Q3.4").astype(np.float64)
    np.testing.assert_array_equal(s, quantize(np.sign(real) * np.abs(real) ** 3 + 0.25, "Q4.3"), strict=True)
    assert set(seen) == {(np.dtype(np.float64), 3.0, float, 0.25)}
    assert len(session.plan({"x": X}).steps) == 2  # one plan, without a section of its own


MOVE = network(
    [("Relu", "x", "r"), ("my.domain.Roll", "r k", "m"), ("Abs", "m", "y")],
    inputs={"x": [1, 3, 6, 5], "k": (np.int64, [])},
)


@pytest.mark.parametrize("isa", ISAS)
def test_a_move(isa):
    @register_operator("Roll", domain="my.domain", fixed_point="move")
    def roll(x, k):
        return np.roll(x, int(k), axis=-1)

    feeds = {"x": X, "k": np.int64(2)}
    np.testing.assert_array_equal(
        InferenceSession(MOVE, isa=isa).run(None, feeds)[0], np.roll(np.maximum(X, 0), 2, axis=-1), strict=True
    )
    session = InferenceSession(MOVE, qformat="Q3.4", formats={"m": "Q1.10"}, strict=True, isa=isa)
    assert session.formats["r"] == session.formats["x"] == QFormat.parse("Q1.10")
    (m,) = session.run(["m"], feeds, raw=True)
    np.testing.assert_array_equal(m, np.roll(np.maximum(quantize(X, "Q1.10"), 0), 2, axis=-1), strict=True)
    (report,) = [t for t in compare(session, InferenceSession(MOVE), feeds).tensors if t.name == "m"]
    assert (report.kind, report.elements, report.largest) == ("custom", m.size, m.max())
    converted = InferenceSession(MOVE, formats={"x": "Q1.10", "m": "Q3.4", "y": "Q3.4"}, isa=isa)
    (codes,) = converted.run(["m"], feeds, raw=True)
    np.testing.assert_array_equal(codes, quantize(dequantize(m, "Q1.10"), "Q3.4"), strict=True)


def test_two_outputs_of_which_one_is_no_real_number():
    @register_operator("Largest", domain="my.domain")
    def largest(x):
        return x.max(axis=-1), x.argmax(axis=-1)

    @largest.fixed_point
    def _(x):
        return (x.codes.max(axis=-1), x.fraction_bits), (x.codes.argmax(axis=-1), None)

    built = network(
        [
            ("my.domain.Largest", "x", "v i"),
            ("Add", "i one", "j"),
            ("Neg", "v", "y"),
            ("my.domain.Largest", "x", "- k"),
            ("my.domain.Largest", "x", "w"),
        ],
        outputs=("v", "j", "y", "k", "w"),
        constants={"one": np.int64(1)},
    )
    v, j, y, k, w = InferenceSession(built).run(None, {"x": X})
    np.testing.assert_array_equal(v, X.max(axis=-1), strict=True)
    np.testing.assert_array_equal(j, X.argmax(axis=-1) + 1, strict=True)
    np.testing.assert_array_equal(k, X.argmax(axis=-1), strict=True)
    np.testing.assert_array_equal(w, v)
    np.testing.assert_array_equal(y, -v)
    codes = quantize(X, "Q3.4")
    for isa in ISAS:
        session = InferenceSession(built, qformat="Q3.4", isa=isa)
        v, j, y, k, w = session.run(None, {"x": X}, raw=True)
        np.testing.assert_array_equal(v, codes.max(axis=-1), strict=True)
        np.testing.assert_array_equal(j, codes.argmax(axis=-1) + 1, strict=True)
        np.testing.assert_array_equal(k, codes.argmax(axis=-1), strict=True)
        np.testing.assert_array_equal(w, v)
        np.testing.assert_array_equal(y, -v)


def test_an_optional_input_and_a_constant_in_a_format_of_its_own():
    @register_operator("Affine", domain="my.domain")
    def affine(x, scale, shift=None):
        return x * scale if shift is None else x * scale + shift

    formats = []

    @affine.fixed_point
    def _(x, scale, shift=None):
        formats.append((scale.format, None if shift is None else shift.format))
        total, n = x.codes * scale.codes, x.fraction_bits + scale.fraction_bits
        if shift is None:
            return total, n
        return total + (shift.codes << (n - shift.fraction_bits)), n

    scale, shift = np.float32([0.5, -1.25, 0.3]).reshape(3, 1, 1), np.float32(0.7)
    built = network(
        [("my.domain.Affine", "x a", "p"), ("my.domain.Affine", "x a -", "q"), ("my.domain.Affine", "x a b", "y")],
        outputs=("p", "q", "y"),
        constants={"a": scale, "b": shift},
    )
    p, q, y = InferenceSession(built).run(None, {"x": X})
    np.testing.assert_array_equal(p, X * scale)
    np.testing.assert_array_equal(q, X * scale)
    np.testing.assert_array_equal(y, X * scale + shift)
    session = InferenceSession(built, qformat="Q3.4", formats={"b": "Q1.3"}, strict=True)
    assert (str(session.formats["a"]), str(session.formats["b"])) == ("Q1.6", "Q1.3")
    p, q, y, a = session.run(["p", "q", "y", "a"], {"x": X}, raw=True)
    np.testing.assert_array_equal(a, quantize(scale, "Q1.6"))
    codes = quantize(X, "Q3.4").astype(np.int64)
    total = codes * a
    np.testing.assert_array_equal(p, quantize(total / 2**10, "Q3.4"), strict=True)
    np.testing.assert_array_equal(q, p)
    np.testing.assert_array_equal(y, quantize((total + (6 << 7)) / 2**10, "Q3.4"), strict=True)
    assert set(formats) == {(QFormat.parse("Q1.6"), None), (QFormat.parse("Q1.6"), QFormat.parse("Q1.3"))}


def test_an_operator_without_inputs():
    @register_operator("Ramp", domain="my.domain")
    def ramp(*, n: int = 3):
        return np.arange(n, dtype=np.float32) / 4

    @ramp.fixed_point
    def _(*, n):
        return np.arange(n), 2

    built = network([("my.domain.Ramp", "", "r", {"n": 5}), ("Add", "x r", "y")])
    ramped = np.arange(5, dtype=np.float32) / 4
    np.testing.assert_array_equal(InferenceSession(built).run(None, {"x": X})[0], X + ramped)
    session = InferenceSession(built, qformat="Q3.4", strict=True)
    wanted = np.clip(np.rint(X * 16) + np.arange(5) * 4, -128, 127)
    np.testing.assert_array_equal(session.run(None, {"x": X}, raw=True)[0], wanted.astype(np.int8), strict=True)


def test_what_constants_alone_decide_is_computed_once_unless_it_is_not_deterministic():
    calls = []
    built = network([("my.domain.Make", "k", "m"), ("Add", "x m", "y")], constants={"k": np.float32([0.5])})

    def make(x):
        calls.append(1)
        return x * 2

    register_operator("Make", domain="my.domain")(make)
    session = InferenceSession(built, qformat="Q3.4", strict=True)
    for _ in range(3):
        (y,) = session.run(None, {"x": X}, raw=True)
    np.testing.assert_array_equal(y, quantize(dequantize(quantize(X, "Q3.4"), "Q3.4") + 1, "Q3.4"))
    assert len(calls) == 1
    register_operator("Make", domain="my.domain", deterministic=False)(make)
    session = InferenceSession(built)
    for _ in range(3):
        session.run(None, {"x": X})
    assert len(calls) == 4


def test_a_shape_that_it_computes():
    @register_operator("Halves", domain="my.domain")
    def halves(shape):
        return shape // 2

    built = network([("my.domain.Halves", "s", "h"), ("Expand", "x h", "y")], inputs={"x": [1], "s": (np.int64, [2])})
    for qformat in (None, "Q3.4"):
        (y,) = InferenceSession(built, qformat=qformat).run(None, {"x": np.float32([1]), "s": np.int64([4, 6])})
        np.testing.assert_array_equal(y, np.ones((2, 3), np.float32), strict=True)


def test_the_newest_version_that_the_model_reaches_serves():
    @register_operator("Blend", domain="my.domain", since=1)
    def first(x, *, factor):
        return x + 1

    @register_operator("Blend", domain="my.domain", since=2)
    def second(x, *, factor):
        return x + 2

    proto = onnx.load_from_string(CNN)
    for opset in (1, 2, 3):
        proto.opset_import[1].version = opset
        c, b = InferenceSession(proto).run(["c", "b"], {"x": X})
        np.testing.assert_array_equal(b, c + np.float32(min(opset, 2)))
