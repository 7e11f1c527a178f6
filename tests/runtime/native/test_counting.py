"""Counted runs on native kernels: codes and counts equal the reference, SQNR and samples but for float32 rounding."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from covering import covering
from networks import network, weights
from oracle import OVERFLOWS, ROUNDINGS
from runtime.native.native import ISAS, assert_same
from runtime.native.test_bands import CHAINS, CONSTANTS
from runtime.native.test_convolutions import SHAPES, SUMS, convolution
from runtime.native.test_other_steps import MODELS, WORDS, feeds_of

from qengine import InferenceSession
from qengine.analysis.report import compare
from qengine.errors import FeedError
from qengine.runtime.native import schedule, statistics
from qengine.runtime.native.counting import ComparePart
from qengine.runtime.native.executor import NativeSegment, ReferencePart

FIXED = {name: options for name, options in WORDS.items() if options}
EXACT_DB = 110.0  # float32 itself is no better


def executor_of(model, feeds, isa, threads=1, names=None, **options):
    """The executor of a counted run, on native kernels."""
    session = InferenceSession(model, isa=isa, threads=threads, **options)
    arrays = session.check_feeds(feeds)
    names = names or [value.name for value in session.graph.outputs]
    real = session.in_float32()
    executor = session.plans.counted(session.plan(arrays, names), real.plan(arrays, names))
    assert executor is not None
    return executor.executor


def finite(array):
    """An array with numbers for what is not finite, as large as any other."""
    return np.nan_to_num(array, nan=-1e5, posinf=1e6, neginf=-1e6) if array.dtype == np.float32 else array


def assert_counted(model, feeds, isa, threads=1, names=None, **options):
    """A counted run on native kernels gives what the reference gives; return the comparison."""
    native = InferenceSession(model, isa=isa, threads=threads, **options)
    reference = InferenceSession(model, isa="reference", **options)
    for _ in range(2):  # buffers are used again
        got = compare(native, native.in_float32(), feeds, names)
    want = compare(reference, reference.in_float32(), feeds, names)
    for ours, theirs in zip(got.tensors, want.tensors, strict=True):
        ours, theirs = asdict(ours), asdict(theirs)
        decibels = [one.pop("sqnr_db") for one in (ours, theirs)]
        assert ours == theirs
        if None in decibels:
            assert decibels == [None, None]
        else:
            assert min(decibels[0], EXACT_DB) == pytest.approx(min(decibels[1], EXACT_DB), abs=0.05)
    assert list(got.codes) == list(want.codes)
    for values in ("codes", "outputs", "float_outputs"):
        ours, theirs = getattr(got, values), getattr(want, values)
        assert_same(*(list(map(finite, arrays.values())) for arrays in (ours, theirs)))
    assert list(got.statistics) == list(want.statistics)
    for name, sample in got.statistics.items():
        expected = want.statistics[name]
        assert sample.dtype == np.float64
        np.testing.assert_allclose(sample, expected, rtol=0, atol=1e-5 * max(1.0, np.abs(expected).max(initial=0)))
    assert (got.notes, got.islands) == (want.notes, want.islands)
    return got


@pytest.mark.parametrize(("name", "word", "isa", "threads"), covering(MODELS, FIXED, ISAS, [1, 2]))
def test_every_step_and_word(name, word, isa, threads):
    model, ran = MODELS[name]
    feeds = feeds_of(model)
    found = assert_counted(model, feeds, isa, threads, **FIXED[word])
    assert sum(t.saturated for t in found.tensors) > 0 or "16" in word
    parts = executor_of(model, feeds, isa, threads, **FIXED[word]).parts
    assert all(isinstance(part, NativeSegment) for part in parts)
    assert any(op.kernel.startswith(ran) for part in parts for op in part.ops)


@pytest.mark.parametrize(
    ("name", "operator", "word", "isa", "threads"),
    covering(SHAPES, ["Conv", "ConvTranspose"], FIXED, ISAS, [1, 3]),
)
def test_every_convolution(name, operator, word, isa, threads):
    model, feeds, _ = convolution(name, operator)
    assert_counted(model, feeds, isa, threads, **FIXED[word])


@pytest.mark.parametrize(
    ("qformat", "rounding", "overflow", "name", "sums", "isa"),
    covering(
        ["Q2.5", "Q1.3", "UQ3.5", "Q3.12", "Q1.9", "UQ4.12"],
        ROUNDINGS,
        OVERFLOWS,
        ["3x3", "to three channels", "depthwise"],
        SUMS,
        ISAS,
    ),
)
def test_every_rounding_and_overflow(qformat, rounding, overflow, name, sums, isa):
    model, feeds, _ = convolution(name, batch=1)
    # With its activation and without: an activation hides saturations.
    options = {"qformat": qformat, "rounding": rounding, "overflow": overflow, **sums}
    assert_counted(model, feeds, isa, names=["c", "y"], **options)


def test_sums_that_leave_the_accumulator_are_counted():
    model, feeds, _ = convolution("3x3", batch=1)
    for bits in (14, 40):
        notes = assert_counted(model, feeds, ISAS[0], qformat="Q3.12", accumulator_bits=bits).notes
        assert any("accumulator" in note for note in notes) == (bits == 14)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("formats", [("Q0.7", "Q9.-2"), ("Q0.15", "Q12.3"), ("Q9.-2", "Q-3.10"), ("Q0.15", "Q-2.17")])
def test_shifts_near_and_far(formats, overflow, isa):
    model, feeds, _ = convolution("1x1", batch=1)
    formats = {"x": formats[0], "c": formats[1], "y": formats[1]}
    assert_counted(model, feeds, isa, names=["c"], formats=formats, overflow=overflow)


@pytest.mark.parametrize(("rounding", "overflow", "isa"), covering(ROUNDINGS, OVERFLOWS, ISAS))
def test_formats_that_differ(rounding, overflow, isa):
    model = network(
        [
            ("Add", "x z", "a"),
            ("Mul", "a x", "m"),
            ("AveragePool", "m", "p", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
            ("Resize", "p none scales", "r", {"mode": "cubic"}),
            ("PRelu", "r slope", "u"),
            ("Sigmoid", "u", "g"),
            ("Concat", "g r x", "y", {"axis": 1}),
        ],
        inputs={"x": [2, 3, 9, 13], "z": [2, 3, 9, 13]},
        constants={
            "none": np.zeros(0, np.float32),
            "scales": np.float32([1, 1, 1.0001, 1]),
            "slope": np.float32([[[0.4]], [[3.0]], [[-1.0]]]),
        },
        opset=18,
    )
    formats = {"x": "Q2.5", "z": "Q-1.14", "a": "Q4.3", "m": "Q3.9", "p": "UQ2.7", "r": "Q3.4", "u": "Q1.6"}
    formats |= {"g": "Q-2.9", "y": "Q0.10"}
    options = {"formats": formats, "rounding": rounding, "overflow": overflow}
    assert_counted(model, feeds_of(model), isa, names=["a", "g", "y"], **options)


@pytest.mark.parametrize(
    ("qformat", "rounding", "overflow", "isa"),
    covering(["Q2.5", "UQ3.5", "Q12.3", "Q-3.10", "UQ-120.136"], ROUNDINGS, OVERFLOWS, ISAS),
)
def test_inputs(qformat, rounding, overflow, isa):
    values = np.float32([0, -0.0, 0.015625, -0.015625, 1e-38, -1e-38, 1e-45, -1e-45, 3e38, -3e38, np.inf, -np.inf])
    ties = (np.arange(-40, 40, dtype=np.float32) + np.float32(0.5)) / 32
    near = np.nextafter(ties, np.float32(9)), np.nextafter(ties, np.float32(-9))
    x = np.concatenate([values, ties, *near, ties * 1e6])
    model = network([("Relu", "x", "y")], inputs={"x": [1, 1, 1, len(x)]})
    feeds = {"x": x.reshape(1, 1, 1, -1)}
    assert_counted(model, feeds, isa, names=["x", "y"], qformat=qformat, rounding=rounding, overflow=overflow)


# --- bands


@pytest.fixture
def small_caches(monkeypatch):
    monkeypatch.setattr(schedule, "LARGE_BYTES", 0)
    monkeypatch.setattr(schedule, "CACHE_BYTES", 2000)


@pytest.mark.parametrize(
    ("name", "word", "threads", "height"),
    covering(
        [name for name in CHAINS if name != "channels last before"],  # a run that counts transposes in plain order
        [{"qformat": "Q2.5"}, {"qformat": "Q3.12"}],
        [1, 2, 3],
        [101, 120],
    ),
)
def test_bands_count_every_row_once(name, word, threads, height, small_caches):
    model = network(CHAINS[name], inputs={"x": [1 + height % 2, 3, height, 21]}, constants=CONSTANTS, opset=18)
    feeds = feeds_of(model, 0.7)
    assert_counted(model, feeds, ISAS[0], threads, **word)
    executor = executor_of(model, feeds, ISAS[0], threads, **word)
    (region, *_) = [band for segment in executor.segments for band in segment.compiled.bands]
    ops = executor.segments[0].ops[region[0] : region[1] + 1]
    assert sum(isinstance(op, statistics.StatisticsOp) for op in ops) >= 3


def test_rows_that_no_step_reads_count(small_caches):
    """Strides of 3 read one row in three, and none of the last two."""
    nodes = [("Conv", "x a b", "p", {"pads": [2] * 4}), ("Conv", "p e", "y", {"strides": [3, 3]})]
    model = network(nodes, inputs={"x": [1, 3, 99, 21]}, constants=CONSTANTS)
    for threads in (1, 2, 3):
        found = assert_counted(model, feeds_of(model), ISAS[0], threads, qformat="Q1.6")
        assert {t.name: t.elements for t in found.tensors}["p"] == 20 * 99 * 21


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("scaled", ["p", "q"])
def test_a_tensor_that_is_read_after_its_region(scaled, threads, small_caches):
    """One that a convolution of the region reads too, beyond the rows of its own band, and one that none does."""
    nodes = [
        ("Conv", "x a b", "p", {"pads": [2] * 4}),
        ("Conv", "p d", "q", {"group": 20, "pads": [1] * 4}),
        ("GlobalAveragePool", "q", "g"),
        ("Mul", f"{scaled} g", "s"),
        ("Conv", "s f", "y", {"pads": [1] * 4}),
    ]
    model = network(nodes, inputs={"x": [1, 3, 90, 21]}, constants=CONSTANTS)
    assert_counted(model, feeds_of(model), ISAS[0], threads, names=["y", "q"], qformat="Q1.6")


def test_sums_do_not_depend_on_the_number_of_threads(small_caches):
    model = network(CHAINS["convolutions"], inputs={"x": [1, 3, 101, 21]}, constants=CONSTANTS, opset=18)
    feeds, found = feeds_of(model, 0.7), []
    for threads in (1, 2, 3):
        session = InferenceSession(model, isa=ISAS[0], threads=threads, qformat="Q2.5")
        found.append([t.sqnr_db for t in compare(session, session.in_float32(), feeds).tensors])
    assert found[0] == found[1] == found[2]


# --- steps of the reference, and tensors that kernels do not read

X = {"x": [2, 20, 9, 7]}
AROUND = {
    "a step of both on the reference": [("Conv", "x e", "c"), ("Softmax", "c", "s", {"axis": 1}), ("Conv", "s e", "y")],
    "a function that only fixed point has": [("Conv", "x e", "c"), ("Exp", "c", "s"), ("Conv", "s e", "y")],
    "moves": [("Conv", "x e", "c"), ("Transpose", "c", "m", {"perm": [0, 1, 3, 2]}), ("Relu", "m", "y")],
    "an input of the reference": [("Transpose", "x", "m", {"perm": [0, 1, 3, 2]}), ("Neg", "m", "y")],
    "more axes": [("Conv", "x e", "c"), ("Unsqueeze", "c axes", "u"), ("Neg", "u", "v"), ("Squeeze", "v axes", "y")],
    "one axis": [("Conv", "x e", "c"), ("Reshape", "c flat", "m"), ("Neg", "m", "y")],
    "a quotient": [("Conv", "x e", "c"), ("Div", "c x", "y")],
    "a reshape in memory": [("GlobalMaxPool", "x", "g"), ("Flatten", "g", "m"), ("Neg", "m", "y")],
    "integers": [("Conv", "x e", "c"), ("ArgMax", "c", "y", {"axis": 1})],
    "a join of one format": [("Conv", "x e", "c"), ("Concat", "c x c", "m", {"axis": 2}), ("Neg", "m", "y")],
    "an output and its reader": [("Conv", "x e", "y"), ("Neg", "y", "z")],
}


@pytest.mark.parametrize(("name", "word", "threads"), covering(AROUND, FIXED, [1, 2]))
def test_steps_of_the_reference(name, word, threads):
    constants = {**CONSTANTS, "axes": np.int64([0]), "flat": np.int64([-1])}
    model = network(AROUND[name], inputs=X, constants=constants, opset=18)
    assert_counted(model, feeds_of(model), ISAS[0], threads, **FIXED[word])


def test_large_arrays_are_compared_by_a_kernel():
    model = network([("Div", "x z", "y")], inputs={"x": [2, 20, 50, 41], "z": [2, 20, 50, 41]})
    feeds = feeds_of(model)
    assert_counted(model, feeds, ISAS[0], 2, qformat="Q1.6")
    parts = executor_of(model, feeds, ISAS[0], qformat="Q1.6").parts
    assert any(isinstance(part, ReferencePart) for part in parts)
    assert not any(isinstance(part, ComparePart) for part in parts)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floating_types(dtype):
    nodes = [("Conv", "x w", "c"), ("Relu", "c", "y")]
    w = np.rint(4 * weights(5, 3, 3, 3)).astype(dtype) / 4
    model = network(nodes, inputs={"x": (dtype, [2, 3, 9, 7])}, constants={"w": w})
    # Sums of these are numbers of float16, so that neither side rounds.
    x = np.rint(np.random.default_rng(1).normal(0, 4, (2, 3, 9, 7))).astype(dtype) / 2
    assert_counted(model, {"x": x}, ISAS[0], names=["c", "y"], qformat="Q1.6")


def test_values_that_are_not_finite():
    model = network([("Conv", "x e", "c"), ("Relu", "c", "y")], inputs=X, constants=CONSTANTS)
    feeds = feeds_of(model)
    feeds["x"][0, 3, 2, 2] = np.inf
    found = assert_counted(model, feeds, ISAS[0], qformat="Q1.6")
    assert found.tensors[0].sqnr_db is None
    feeds["x"][0, 3, 2, 2] = np.nan
    session = InferenceSession(model, isa=ISAS[0], qformat="Q1.6")
    with pytest.raises(FeedError, match="'x' holds NaN"):
        compare(session, session.in_float32(), feeds)


def test_samples_of_large_tensors(monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLE_SIZE", 100)
    model = network([("Conv", "x e", "c"), ("Relu", "c", "y")], inputs=X, constants=CONSTANTS)
    for threads in (1, 2):
        found = assert_counted(model, feeds_of(model), ISAS[0], threads, qformat="Q1.6")
        assert all(90 < sample.size <= 102 for sample in found.statistics.values())


def test_memory_is_that_of_bands(monkeypatch):
    """A tensor between convolutions is 20 times the input: it is never whole in memory."""
    monkeypatch.setattr(schedule, "LARGE_BYTES", 1 << 16)
    monkeypatch.setattr(schedule, "CACHE_BYTES", 1 << 16)
    model = network(CHAINS["convolutions"], inputs={"x": [1, 3, 400, 100]}, constants=CONSTANTS)
    executor = executor_of(model, feeds_of(model), ISAS[0], qformat="Q2.5")
    assert executor.memory < 4 * 20 * 400 * 100
