"""Runs that count the values of tensors: what a reference run counts, whatever the threads, shapes and ranges."""

import numpy as np
import pytest
from networks import network

from qengine.errors import FeedError
from qengine.kernels.isa import available
from qengine.quantization.calibration import choose_formats, observe
from qengine.quantization.calibration.histogram import Histogram, HistogramArrays

RNG = np.random.default_rng(5)


def whole(*shape):
    """Whole numbers, of which float32 sums are exact in any order."""
    return RNG.integers(-3, 4, shape).astype(np.float32)


# Convolutions of each kernel, odd channels, a sum, pooling, and steps of the reference in between.
MODEL = network(
    [
        ("Conv", "x w b", "c", {"pads": [1, 1, 1, 1]}),
        ("Relu", "c", "r"),
        ("Conv", "r d", "e", {"group": 20, "pads": [1, 1, 1, 1]}),
        ("Add", "r e", "s"),
        ("MaxPool", "s", "p", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Transpose", "p", "t", {"perm": [0, 1, 3, 2]}),
        ("Conv", "t v", "f"),
        ("Flatten", "f", "g"),
        ("Gemm", "g m", "h", {"transB": 1}),
        ("Softmax", "h", "y"),
    ],
    inputs={"x": ["N", 3, 8, 12]},
    constants={
        "w": whole(20, 3, 3, 3),
        "b": whole(20),
        "d": whole(20, 1, 3, 3),
        "v": whole(5, 20, 1, 1),
        "m": whole(7, 5 * 4 * 6),
    },
)


def feeds(scales=(1, 1, 2, 0, 64)):
    return [{"x": whole(2, 3, 8, 12) * scale} for scale in scales]


def assert_same(found, expected, exact):
    assert list(found.histograms) == list(expected.histograms)
    assert found.runs == expected.runs
    for name in exact:
        one, other = (HistogramArrays.of([o.histograms[name]]) for o in (found, expected))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("isa", available(), ids=lambda isa: isa.name)
def test_exact_numbers_are_counted_exactly(isa, threads):
    data = feeds()
    expected = observe(MODEL, data, isa="reference")
    found = observe(MODEL, data, isa=isa.name, threads=threads)
    assert_same(found, expected, [name for name in expected.histograms if name != "y"])
    assert choose_formats(found).formats == choose_formats(expected).formats


@pytest.mark.parametrize("isa", available(), ids=lambda isa: isa.name)
def test_histograms_do_not_depend_on_threads_or_batches(isa):
    x = RNG.normal(size=(8, 3, 8, 12)).astype(np.float32)
    whole_set, parts = [{"x": x}], [{"x": part} for part in np.split(x, [1, 3])]
    one = observe(MODEL, whole_set, isa=isa.name, threads=1)
    for other, names in (
        (observe(MODEL, whole_set, isa=isa.name, threads=3), one.histograms),
        # A product of few rows adds up in another order than one of many.
        (observe(MODEL, parts, isa=isa.name, threads=2), one.histograms.keys() - {"h", "y"}),
    ):
        for name in names:
            pair = (HistogramArrays.of([each.histograms[name]]) for each in (one, other))
            for field, a, b in zip(HistogramArrays._fields, *pair, strict=True):
                if field != "runs" or other.runs == one.runs:
                    np.testing.assert_array_equal(a, b, err_msg=f"{name} {field}")


def test_scores_before_a_softmax_are_counted_without_the_mask():
    model = network(
        [("Conv", "x w", "c"), ("Add", "c mask", "s"), ("Softmax", "s", "y", {"axis": -1})],
        inputs={"x": [1, 16, 4, 16]},
        constants={"w": whole(16, 16, 1, 1), "mask": np.float32([0.0] * 8 + [-1e9] * 8)},
    )
    data = [{"x": whole(1, 16, 4, 16)}]
    expected, found = observe(model, data, isa="reference"), observe(model, data, isa=available()[0].name)
    assert_same(found, expected, ["x", "c", "s"])
    assert found.histograms["s"].least > -1e3


def test_infinities_and_nan_are_counted_and_refused_in_inputs():
    model = network(
        [("Mul", "x k", "a"), ("Sub", "a a", "y")],
        inputs={"x": [1, 16, 1, 17]},
        outputs=["a", "y"],
        constants={"k": np.float32(1e38)},
    )
    x = whole(1, 16, 1, 17) * 100
    found, expected = (observe(model, [{"x": x}], isa=isa) for isa in (available()[0].name, "reference"))
    assert_same(found, expected, ["x", "a", "y"])
    assert found.histograms["a"].infinite == np.count_nonzero(x)
    assert found.histograms["y"].nan == np.count_nonzero(x)
    x[0, 3, 0, 4] = np.nan
    with pytest.raises(FeedError, match="run 1 of the data: input 'x' holds NaN"):
        observe(model, [{"x": x}], isa=available()[0].name)


@pytest.mark.parametrize("isa", [None, *available()], ids=str)
def test_a_histogram_of_an_array_grows_with_its_range(isa, monkeypatch):
    monkeypatch.setenv("QENGINE_ISA", "reference" if isa is None else isa.name)
    parts = [(RNG.normal(size=999) * scale).astype(np.float32) for scale in (0.0, 1e-30, 1.0, 1e-3, 70.0, 1e9)]
    step, whole_at_once = Histogram(), Histogram()
    for part in parts:
        step.add(part)
    whole_at_once.add(np.concatenate(parts))
    for a, b in zip(HistogramArrays.of([step]), HistogramArrays.of([whole_at_once]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_sliced_to_nothing_is_counted_as_nothing():
    nodes = [("Neg", "x", "n"), ("Slice", "n zero zero one", "s"), ("Slice", "s zero one", "y")]
    model = network(nodes, inputs={"x": [3, 2, 2]}, constants={"zero": [0], "one": [1]})
    found = observe(model, [{"x": whole(3, 2, 2)}], isa="generic")
    assert found.histograms["n"].finite == 12
    assert found.histograms["s"].finite == found.histograms["y"].finite == 0


@pytest.mark.parametrize("isa", available(), ids=lambda isa: isa.name)
def test_three_spatial_axes(isa):
    model = network(
        [
            ("Conv", "x w", "c", {"pads": [1] * 6}),
            ("Relu", "c", "r"),
            ("MaxPool", "r", "p", {"kernel_shape": [2] * 3, "strides": [2] * 3}),
            ("Conv", "p v", "y"),
        ],
        inputs={"x": [1, 2, 4, 6, 4]},
        constants={"w": whole(8, 2, 3, 3, 3), "v": whole(4, 8, 1, 1, 1)},
    )
    data = [{"x": whole(1, 2, 4, 6, 4)} for _ in range(2)]
    expected = observe(model, data, isa="reference")
    assert_same(observe(model, data, isa=isa.name), expected, expected.histograms)
