from contextlib import contextmanager

import numpy as np
import pytest
from comparisons import COPY, UNIT, compared, decibels
from networks import network, run_onnxruntime, weights

from qengine import InferenceSession, QFormat
from qengine.analysis.report import compare, percent
from qengine.metrics.sqnr import sqnr, sqnr_of_outputs
from qengine.runtime.plan.plan import Plan

Q = QFormat.parse


# --- the comparison


def test_tallies_and_noise_by_hand():
    model = network([("Neg", "x", "y")], inputs={"x": [6]})
    x = [0, 0.1, 0.5, -1, 9, -9]  # codes 0 0 1 -2 7 -8 in steps of 0.5
    first, second = compared(model, x, "Q2.1").tensors
    assert (first.name, first.operator, first.kind, first.format) == ("x", "input", "quantize", "Q2.1")
    assert (first.saturated, first.underflowed, first.largest, first.elements, first.unused_bits) == (2, 1, 8, 6, 0)
    assert first.sqnr_db == decibels(x, [0.1, 5.5, 5])
    assert (second.name, second.operator, second.kind, second.format) == ("y", "Neg", "table", "Q2.1")
    assert (second.saturated, second.underflowed, second.largest, second.elements, second.unused_bits) == (
        1,
        0,
        7,
        6,
        0,
    )
    assert second.sqnr_db == decibels(x, [0.1, 5.5, 5.5])


def test_what_wraps_is_counted_as_what_saturates():
    model = network([("Add", "x x", "y")], inputs={"x": [4]})
    x = [1.5, -2, 3.5, 9]  # codes 3 -4 7 and 18
    counts, codes = {}, {}
    for overflow in ("saturate", "wrap"):
        found = compared(model, x, "Q2.1", overflow=overflow)
        counts[overflow] = [t.saturated for t in found.tensors]
        codes[overflow] = found.codes["y"].tolist()
    assert codes == {"saturate": [6, -8, 7, 7], "wrap": [6, -8, -2, 4]}
    assert counts == {"saturate": [1, 2], "wrap": [1, 1]}  # 18 wraps to 2, and twice that fits


def test_what_an_activation_cuts_anyway_is_not_counted():
    model = network([("Conv", "x w", "c"), ("Relu", "c", "y")], inputs={"x": [1, 1, 4]}, constants={"w": [[[2.0]]]})
    x = np.reshape([3, -3.5, -4, 1], (1, 1, 4))  # codes 6 -7 -8 2, doubled 12 -14 -16 4
    counts = [compared(model, x, "Q2.1", overflow=overflow).tensors[1] for overflow in ("saturate", "wrap")]
    assert [(t.name, t.operator, t.kind, t.saturated) for t in counts] == [
        ("y", "Conv+Relu", "linear", 1),
        ("y", "Conv+Relu", "linear", 3),
    ]


@pytest.mark.parametrize("options", [{"overflow": "wrap"}, {"rounding": "floor", "per_channel": True}])
def test_comparing_changes_no_bit(options):
    nodes = [("Conv", "x W", "c"), ("Clip", "c low high", "r"), ("AveragePool", "r", "y", {"kernel_shape": [2, 2]})]
    model = network(nodes, constants={"W": weights(4, 3, 3, 3), "low": 0.0, "high": 2.0})
    feeds, names = {"x": weights(1, 3, 6, 5, scale=3)}, ["y", "c", "x"]
    fixed, real = InferenceSession(model, qformat="Q2.5", **options), InferenceSession(model)
    found = compare(fixed, real, feeds, names)
    for given, wanted in (
        (found.codes, fixed.run(names, feeds, raw=True)),
        (found.outputs, fixed.run(names, feeds)),
        (found.float_outputs, real.run(names, feeds)),
    ):
        assert list(given) == names
        for name, array in zip(names, wanted, strict=True):
            np.testing.assert_array_equal(given[name], array, strict=True)
    assert [(t.name, t.operator) for t in found.tensors] == [
        ("x", "input"),
        ("r", "Conv+Clip"),
        ("y", "AveragePool"),
        ("c", "Conv"),
    ]
    for t in found.tensors:
        (exact,) = run_onnxruntime(model, feeds, [t.name]) if t.name != "x" else (feeds["x"],)
        (own,) = fixed.run([t.name], feeds)
        assert t.sqnr_db == pytest.approx(decibels(exact, exact.astype(np.float64) - own).expected, abs=1e-2)
        np.testing.assert_allclose(found.statistics[t.name], exact.ravel(), atol=1e-5)


@pytest.mark.parametrize(
    ("qformat", "codes", "unused"),
    [
        ("Q4.3", [4, 2, -1], 4),
        ("Q4.3", [0], 7),
        ("Q4.3", [63], 1),
        ("Q4.3", [64], 0),
        ("Q4.3", [127, -128], 0),
        ("Q4.3", [-64], 0),
        ("UQ4.4", [15], 4),
        ("UQ4.4", [255], 0),
        ("Q0.15", [1], 14),
        ("Q2.1", [3], 1),
    ],
)
def test_bits_that_no_code_needs(qformat, codes, unused):
    found = compared(COPY, np.array(codes) * Q(qformat).step, qformat).tensors[0]
    assert (found.unused_bits, found.largest, found.saturated) == (unused, max(map(abs, codes)), 0)


def test_islands_and_notes():
    nodes = [("Conv", "x w", "c"), ("Mod", "c m", "s", {"fmod": 1}), ("Shape", "x", "n"), ("Neg", "s", "y")]
    model = network(nodes, constants={"w": weights(2, 3, 1, 1) + 9, "m": 0.5}, outputs=["y", "n"])
    found = compared(model, UNIT, "Q2.5")
    assert found.islands == ("node 'the_s' (Mod)",)
    assert [(t.name, t.kind) for t in found.tensors if t.name in "cs"] == [("c", "linear"), ("s", "island")]
    assert found.notes == ()
    for values in (found.outputs, found.float_outputs, found.codes):
        np.testing.assert_array_equal(values["n"], np.int64([1, 3, 6, 5]), strict=True)
    narrow = compared(model, UNIT, "Q2.5", weight_qformat="Q0.7")
    assert narrow.notes == ("6 of 6 elements of constant 'w' saturate in Q0.7",)


def test_statistics_are_finite_and_of_large_tensors_a_sample_with_the_extremes():
    assert compared(COPY, [1, np.inf, 2, -np.inf]).statistics["x"].tolist() == [1, 2]
    assert compared(COPY, [1, np.inf]).tensors[0].sqnr_db is None
    large = np.zeros(200_001, np.float32)
    large[[3, 77_777]] = -5, 6
    sample = compared(COPY, large).statistics["x"]
    assert (sample.min(), sample.max(), sample.dtype) == (-5, 6, np.float64)
    assert 40_000 < sample.size <= (1 << 16) + 2


# --- losses that no tensor's own numbers show


def test_constants_that_their_format_cannot_hold():
    w = np.float32([0.25, -0.3, 1.0, -5]).reshape(4, 1, 1, 1) * np.ones((1, 3, 1, 1), np.float32)
    model = network([("Conv", "x w", "y")], constants={"w": w})
    assert compared(model, UNIT, weight_qformat="Q0.7").notes == ("6 of 12 elements of constant 'w' saturate in Q0.7",)
    assert compared(model, UNIT, weight_qformat="Q7.0").notes == ()  # half of them underflow, which may be meant
    model = network([("Conv", "x w", "y")], constants={"w": w[:3]})
    assert compared(model, UNIT, weight_qformat="Q7.0").notes == ("6 of 9 elements of constant 'w' underflow in Q7.0",)
    assert compared(model, UNIT).notes == ()


def test_constants_go_by_the_names_of_the_model():
    norm = {"g": [9.0] * 2, "z": [0.0] * 2, "o": [1.0] * 2}
    model = network(
        [("Conv", "x w", "c"), ("BatchNormalization", "c g z z o", "y")],
        constants={"w": np.full((2, 3, 1, 1), 0.5, np.float32), **norm},
    )
    assert compared(model, UNIT, weight_qformat="Q0.7").notes == ("6 of 6 elements of constant 'w' saturate in Q0.7",)


def test_a_bias_that_its_32_bits_cannot_hold():
    constants = {"w": np.full((2, 3, 1, 1), 0.01, np.float32), "b": [0.2, 2.0]}  # and Q3.12 of x
    model = network([("Conv", "x w b", "y")], constants=constants)
    assert compared(model, UNIT, "Q3.12").notes == ()  # by itself w leaves room for it
    found = compared(model, UNIT, "Q3.12", formats={"w": "Q-6.21"})
    assert len(found.notes) == 1
    assert found.notes[0].startswith("1 of 2 elements of bias 'b' saturate in 32 bits, the word of every bias")


def test_sums_that_leave_the_accumulator():
    """Products have 6 fraction bits: 0.5 * 2 is 64 units of the accumulator, and 8 bits hold -128 to 127 of them."""
    model = network([("Gemm", "x w", "y")], inputs={"x": [3, 1]}, constants={"w": [[0.5]]})
    x = np.float32([[2], [8], [-8]])
    options = {"weight_qformat": "Q4.3", "accumulator_bits": 8}
    found = compared(model, x, **options)
    assert found.notes == ("2 of 3 sums of 'y' did not fit into the accumulator and wrapped",)
    assert found.codes["y"].ravel().tolist() == [8, 0, 0]
    assert compared(model, x, **{**options, "accumulator_bits": 10}).notes == ()


# --- numbers for people


def test_sqnr():
    f = np.float32([3, -4, 0])
    assert sqnr(f, f) == float("inf")
    assert sqnr(f, np.float32([3, -4, 0.5])) == pytest.approx(20.0)
    assert sqnr(f, f * 0) == pytest.approx(0.0)
    assert sqnr(np.float16([300, 0]), np.float16([300, 3])) == pytest.approx(40.0)
    assert sqnr(f * 0, f * 0) == float("inf")
    assert sqnr(f[:0], f[:0]) == float("inf")
    assert sqnr(f * 0, f) is None
    for bad in (np.inf, np.nan, 1e200):
        assert sqnr(np.array([bad, 1]), np.array([0.0, 1])) is None
        assert sqnr(np.array([0.0, 1]), np.array([bad, 1])) is None


def test_sqnr_of_several():
    f = np.float32([3, -4, 0])
    signal = {"a": f, "b": f, "zero": f * 0, "i": np.array([1, 2])}
    other = {"a": f * np.float32(0), "b": np.float32([3, -4, 0.5]), "zero": f, "i": np.array([5, 5])}
    assert sqnr_of_outputs(signal, other) == pytest.approx(
        -10 * np.log10((1 + 0.01) / 2)
    )  # the mean of noise to signal
    assert sqnr_of_outputs({"zero": f * 0, "i": np.array([1])}, other) is None


@pytest.mark.parametrize(
    ("count", "total", "text"),
    [
        (0, 0, "0%"),
        (0, 9, "0%"),
        (9, 9, "100%"),
        (1, 3, "33.33%"),
        (1, 10**4, "0.01%"),
        (1, 10**4 + 1, "<0.01%"),
        (10**6 - 1, 10**6, "99.99%"),
    ],
)
def test_shares(count, total, text):
    assert percent(count, total) == text


def test_the_limit_of_threads_holds_for_the_comparison(monkeypatch):
    s, seen = InferenceSession(COPY, qformat="Q4.3", threads=1), []
    limited = s.limited

    @contextmanager
    def watched():
        with limited():
            seen.append("begin")
            yield
            seen.append("end")

    monkeypatch.setattr(s, "limited", watched)
    original = Plan.trace

    def trace(self, *given):
        for pair in original(self, *given):
            seen.append(pair[0].name)
            yield pair

    monkeypatch.setattr(Plan, "trace", trace)
    compare(s, InferenceSession(COPY), {"x": np.float32([1])})
    assert seen == ["begin", "x", "x", "y", "y", "end"]
