import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

from qengine import InferenceSession, QFormat
from qengine.errors import FormatError
from qengine.report import advise, best_uniform_format, compare, percent, sqnr, total_sqnr

Q = QFormat.parse
UNIT = np.linspace(0, 0.99, 3 * 6 * 5, dtype=np.float32).reshape(1, 3, 6, 5)
CONV = network([("Conv", "x w", "y")], constants={"w": np.float32([[[[0.3]], [[0.33]], [[0.36]]]])})
COPY = network([("Identity", "x", "y")], inputs={"x": ["N"]})


def compared(model, x, qformat="Q4.3", names=None, **options):
    feeds = x if isinstance(x, dict) else {"x": np.float32(x)}
    return compare(InferenceSession(model, qformat=qformat, **options), InferenceSession(model), feeds, names)


def advised(model, x, qformat):
    """The advice, and the formats that were tried."""
    tried = []

    def run(form):
        tried.append(str(form))
        return {"y": InferenceSession(model, qformat=form).run(["y"], {"x": np.float32(x)})[0]}

    return advise(compared(model, x, qformat), Q(qformat), run), tried


def decibels(signal, noise):
    return pytest.approx(10 * np.log10(np.sum(np.square(signal)) / np.sum(np.square(noise))), abs=1e-4)


# --- the comparison


def test_tallies_and_noise_by_hand():
    model = network([("Neg", "x", "y")], inputs={"x": [6]})
    x = [0, 0.1, 0.5, -1, 9, -9]  # codes 0 0 1 -2 7 -8 in steps of 0.5
    first, second = compared(model, x, "Q2.1").tensors
    assert (first.name, first.operator, first.kind, first.format) == ("x", "input", "quantize", "Q2.1")
    assert (first.saturated, first.flushed, first.largest, first.elements, first.unused_bits) == (2, 1, 8, 6, 0)
    assert first.sqnr_db == decibels(x, [0.1, 5.5, 5])
    assert (second.name, second.operator, second.kind, second.format) == ("y", "Neg", "table", "Q2.1")
    assert (second.saturated, second.flushed, second.largest, second.elements, second.unused_bits) == (1, 0, 7, 6, 0)
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
    nodes = [("Conv", "x w", "c"), ("Softmax", "c", "s"), ("Shape", "x", "n"), ("Neg", "s", "y")]
    model = network(nodes, constants={"w": weights(2, 3, 1, 1) + 9}, outputs=["y", "n"])
    found = compared(model, UNIT, "Q2.5")
    assert found.islands == ("node 'the_s' (Softmax)",)
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


# --- advice


def test_unused_integer_bits():
    found, tried = advised(CONV, UNIT, "Q4.3")
    assert tried == [str(found.format)] == ["Q0.7"]
    assert found.reason == "Q4.3 leaves 4 of its 4 integer bits unused"
    (exact,) = run_onnxruntime(CONV, {"x": UNIT})
    for qformat, told in (("Q4.3", found.sqnr_db_before), ("Q0.7", found.sqnr_db)):
        (own,) = InferenceSession(CONV, qformat=qformat).run(None, {"x": UNIT})
        assert told == pytest.approx(decibels(exact, exact.astype(np.float64) - own).expected, abs=1e-2)
    assert found.sqnr_db > found.sqnr_db_before + 20


COPIES = {
    "unsigned": (UNIT, "UQ4.4", "UQ0.8", "UQ4.4 leaves 4 of its 4 integer bits unused"),
    "half of them": (UNIT * 2, "Q5.10", "Q1.14", "Q5.10 leaves 4 of its 5 integer bits unused"),
    "more than there are": (UNIT / 8, "Q2.5", "Q-3.10", "Q2.5 leaves the top 5 bits of its word unused"),
    "but for one": (
        [*np.linspace(0, 0.99, 40_000), 1.5],
        "Q4.3",
        "Q0.7",
        "Q4.3 leaves 4 of its 4 integer bits unused by all but <0.01% of the values",
    ),
    "too small": (UNIT * 7.9 - 4, "Q0.7", "Q2.5", "Q0.7 lacks 2 integer bits, and 75.56% of 'x' saturates"),
    "too small by one": (UNIT * 1.9, "Q0.7", "Q1.6", "Q0.7 lacks 1 integer bit, and 46.67% of 'x' saturates"),
    "negative": (UNIT - UNIT.flat[44], "UQ0.8", "Q-1.8", "UQ0.8 holds no negative values, and 48.89% of 'x' are neg"),
}


@pytest.mark.parametrize("kind", COPIES)
def test_reasons(kind):
    x, qformat, wanted, reason = COPIES[kind]
    found, tried = advised(COPY, np.ravel(x), qformat)
    assert tried == [str(found.format)] == [wanted]
    assert found.reason.startswith(reason)
    assert found.sqnr_db >= found.sqnr_db_before + 6


@pytest.mark.parametrize(
    ("operator", "inputs", "x", "qformat", "reason"),
    [
        ("Neg", "x", UNIT - 0.3, "UQ0.8", "70.00% of 'y' are negative"),
        ("Add", "x x", UNIT, "Q0.7", "Q0.7 lacks 1 integer bit, and 50.00% of 'y' saturates"),
    ],
)
def test_the_tensor_that_suffers_most_is_named(operator, inputs, x, qformat, reason):
    model = network([(operator, inputs, "y")], inputs={"x": ["N"]})
    assert advised(model, x.ravel(), qformat)[0].reason.endswith(reason)


@pytest.mark.parametrize(("scale", "qformat"), [(1, "Q0.7"), (1, "UQ0.8"), (15, "Q4.3"), (0, "Q4.3")])
def test_a_good_format_is_left_alone(scale, qformat):
    assert advised(COPY, UNIT.ravel() * scale, qformat) == (None, [])


def test_nothing_is_better_than_exact():
    assert advised(COPY, [0.5, -0.25, 3], "Q4.3")[0] is None


@pytest.mark.parametrize(("gain", "named"), [(5.9, False), (6.1, True), (-1.0, False)])
def test_only_a_format_that_is_clearly_better_is_named(gain, named):
    found = compared(COPY, UNIT.ravel(), "Q4.3")
    noise = (found.outputs["y"] - found.float_outputs["y"]).astype(np.float64)
    better = {"y": found.float_outputs["y"] + noise * 10 ** (-gain / 20)}
    advice = advise(found, Q("Q4.3"), lambda _: better)
    assert (advice is not None) == named
    if advice:
        assert advice.sqnr_db == pytest.approx(advice.sqnr_db_before + gain, abs=1e-6)


def test_a_format_that_does_not_run_is_not_named():
    def refuse(_):
        raise FormatError("no")

    assert advise(compared(COPY, UNIT.ravel()), Q("Q4.3"), refuse) is None


@pytest.mark.parametrize(
    ("values", "options", "wanted"),
    [
        ({"x": np.linspace(-1, 0.99, 500)}, {}, "Q0.7"),
        ({"x": np.linspace(0, 0.99, 500)}, {}, "Q0.7"),
        ({"x": np.linspace(0, 0.99, 500)}, {"unsigned": True}, "UQ0.8"),
        ({"x": np.linspace(-0.5, 0.99, 500)}, {"unsigned": True}, "Q0.7"),
        ({"x": np.linspace(-4, 3.9, 500)}, {}, "Q2.5"),
        ({"x": np.linspace(-1e-9, 1e-9, 500)}, {}, "Q-29.36"),
        # Saturation of the one costs 36.5^2, and no fraction bit 0.5^2 each of the others.
        ({"x": np.array([100.0] + [0.5] * 10_000)}, {}, "Q6.1"),
        # 3/1024 is rounded to 0 or to 1/256, 1 is kept or saturates at 0.5: relative to each.
        ({"x": np.array([3 / 1024]), "y": np.array([1.0])}, {}, "Q-1.8"),
        ({"x": np.zeros(3), "y": np.linspace(-2, 1.9, 500)}, {}, "Q1.6"),
        ({"x": np.zeros(3)}, {}, "None"),
        ({"x": np.zeros(0)}, {}, "None"),
        ({}, {}, "None"),
        ({"x": np.array([1e38])}, {}, "None"),
    ],
)
def test_the_one_format_that_serves_all(values, options, wanted):
    assert str(best_uniform_format(values, 8, **options)) == wanted


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
    assert total_sqnr(signal, other) == pytest.approx(10.0)
    assert total_sqnr({"zero": f * 0, "i": np.array([1])}, other) is None


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
