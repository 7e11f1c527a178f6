"""Large tensors in bands of rows: the same bits, on any number of threads, and little memory."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from networks import network, weights
from runtime.native.native import ISAS, assert_same, both
from runtime.native.test_other_steps import feeds_of

from qengine import InferenceSession, zoo
from qengine.runtime.native import schedule
from qengine.runtime.native.executor import NativeSegment

CONSTANTS = {
    "a": weights(20, 3, 5, 5, scale=0.2),
    "b": weights(20, seed=2),
    "d": weights(20, 1, 3, 3, seed=3),
    "e": weights(20, 20, 1, 1, seed=4, scale=0.3),
    "f": weights(3, 20, 3, 3, seed=5, scale=0.2),
    "t": weights(20, 4, 3, 3, seed=6, scale=0.3),
    "none": np.zeros(0, np.float32),
    "scales": np.float32([1, 1, 1.5, 1.25]),
    "widths": np.array([0, 0, 2, 3, 0, 0, 5, -1]),
    "fill": np.float32(0.5),
}
PADDED = {"pads": [1] * 4}
CHAINS = {
    "convolutions": [
        ("Conv", "x a b", "p", {"pads": [2] * 4}),
        ("Relu", "p", "q"),
        ("Conv", "q e", "r"),
        ("Conv", "r f", "y", PADDED),
    ],
    "a stride in between": [
        ("Conv", "x a b", "p", {"pads": [2] * 4, "strides": [2, 1]}),
        ("Conv", "p d", "q", {"group": 20, **PADDED, "strides": [2, 2]}),
        ("Conv", "q f", "y", PADDED),
    ],
    "a way around": [
        ("Conv", "x a b", "p", {"pads": [2] * 4}),
        ("Conv", "p d", "q", {"group": 20, **PADDED}),
        ("Add", "q p", "s"),
        ("MaxPool", "s", "m", {"kernel_shape": [3, 3], "strides": [2, 1], "pads": [1] * 4}),
        ("Conv", "m f", "y", PADDED),
    ],
    "larger again": [
        ("Resize", "x none scales", "u", {"mode": "cubic"}),
        ("Conv", "u a b", "p", {"pads": [2] * 4, "strides": [2, 2]}),
        ("ConvTranspose", "p t", "q", {"strides": [3, 2], "pads": [0, 1, 0, 1]}),
        ("AveragePool", "q", "v", {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}),
        ("Resize", "v none scales", "y", {"mode": "nearest"}),
    ],
    "channels last before": [
        ("Transpose", "x", "l", {"perm": [0, 2, 3, 1]}),
        ("Transpose", "l", "s", {"perm": [0, 3, 1, 2]}),
        ("Conv", "s a b", "p", {"pads": [2] * 4}),
        ("Conv", "p f", "y", PADDED),
    ],
    "padded in between": [
        ("Conv", "x a b", "p", {"pads": [2] * 4}),
        ("Relu", "p", "r"),
        ("Pad", "r widths fill", "q"),
        ("Conv", "q f", "y", PADDED),
    ],
}


@pytest.fixture
def small_caches(monkeypatch):
    monkeypatch.setattr(schedule, "LARGE_BYTES", 0)
    monkeypatch.setattr(schedule, "CACHE_BYTES", 2000)


def bands(session, feeds):
    executor = session.executor(session.plan(session.check_feeds(feeds)), raw=True)
    return [band for part in executor.parts if isinstance(part, NativeSegment) for band in part.compiled.bands]


@pytest.mark.parametrize(
    ("name", "word", "threads", "height"),
    covering(CHAINS, [{}, {"qformat": "Q2.5"}, {"qformat": "Q3.12"}], [1, 2, 3], [101, 120]),
)
def test_bands_change_no_bit(name, word, threads, height, small_caches):
    model = network(CHAINS[name], inputs={"x": [1 + height % 2, 3, height, 21]}, constants=CONSTANTS, opset=18)
    feeds = feeds_of(model, 0.7)
    got, want, _ = both(model, feeds, ISAS[0], threads, **word)
    assert_same(got, want)
    session = InferenceSession(model, isa=ISAS[0], threads=threads, **word)
    assert any(last > first for first, last, _ in bands(session, feeds))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("word", [{}, {"qformat": "Q0.7"}, {"qformat": "Q0.15"}])
def test_srcnn(isa, word):
    x = np.random.default_rng(1).random((1, 3, 90, 96), dtype=np.float32)
    for factor in ([1, 1, 3, 3], [1, 1, 2, 3.3]):
        feeds = {"input": x, "factor": np.float32(factor)}
        got, want, kernels = both(str(zoo.find("srcnn").path), feeds, isa, 2, **word)
        assert_same(got, want)
        assert [k.split()[0] for k in kernels] == [
            "quantize" if word else "pack", "resize", "resize", "dot", "dot", "narrow", "unpack",
        ]  # fmt: skip


def test_tensors_between_convolutions_are_never_whole():
    """One tensor of 64 channels of 900 x 900 float32 has 207 MB."""
    session = InferenceSession(str(zoo.find("srcnn").path), isa=ISAS[0], threads=2)
    feeds = {"input": np.zeros((1, 3, 300, 300), np.float32), "factor": np.float32([1, 1, 3, 3])}
    session.run(None, feeds)
    executor = session.executor(session.plan(session.check_feeds(feeds)))
    assert executor.memory < 60e6


W, V = weights(16, 16, 1, 1, scale=0.2), weights(16, 4, 2, 1, scale=0.4)
# Readers of the first convolution that skip rows of it, or have rows that read nothing.
SKIPPERS = {
    "1x1, stride 2": ("Conv", "t w", "y", {"strides": [2, 2]}),
    "1x1, stride 5": ("Conv", "t w", "y", {"strides": [5, 1]}),
    "few channels": ("Conv", "t f", "y", {"strides": [3, 1]}),
    "depthwise, stride 3": ("Conv", "t d", "y", {"strides": [3, 2], "group": 16}),
    "max pool 2 by 3": ("MaxPool", "t", "y", {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 0, 1, 0]}),
    "average pool 1 by 4": ("AveragePool", "t", "y", {"kernel_shape": [1, 1], "strides": [4, 1]}),
    "nearest, a quarter": ("Resize", "t none quarter", "y", {"mode": "nearest"}),
    "linear, a fifth": ("Resize", "t none fifth", "y", {"mode": "linear"}),
    "upside down": (
        "Resize",
        "t roi same",
        "y",
        {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"},
    ),
    "transposed, stride 4": ("ConvTranspose", "t v", "y", {"strides": [4, 2], "group": 1}),
    "transposed, dilated as its stride": ("ConvTranspose", "t v", "y", {"strides": [2, 1], "dilations": [2, 1]}),
    "transposed, stride 7": ("ConvTranspose", "t v", "y", {"strides": [7, 3]}),
}


@pytest.mark.parametrize(
    ("name", "word", "threads", "cache"),
    covering(SKIPPERS, [{}, {"qformat": "Q2.5"}, {"qformat": "Q3.12"}], [1, 2, 3], [500, 4000, 40000]),
)
def test_readers_that_skip_rows(name, word, threads, cache, monkeypatch):
    monkeypatch.setattr(schedule, "LARGE_BYTES", 0)
    monkeypatch.setattr(schedule, "CACHE_BYTES", cache)
    constants = {
        **{"w": W, "v": V, "f": weights(3, 16, 1, 1, seed=1), "d": weights(16, 1, 2, 1, seed=2)},
        **{"none": np.zeros(0, np.float32), "quarter": np.float32([1, 1, 0.25, 0.5])},
        **{"fifth": np.float32([1, 1, 0.2, 1]), "same": np.float32([1, 1, 1, 1])},
        "roi": np.float32([0, 0, 1, 0, 1, 1, 0, 1]),
    }
    model = network(
        [("Conv", "x w", "t"), SKIPPERS[name]], inputs={"x": [1, 16, 203, 9]}, constants=constants, opset=18
    )
    got, want, _ = both(model, feeds_of(model, 0.7), ISAS[0], threads, **word)
    assert_same(got, want)


def test_strides_with_the_true_sizes_of_caches():
    """Nothing around the windows is written, with caches of their true sizes."""
    for stride in (2, 3, 4):
        model = network(
            [("Conv", "x w", "t"), ("Conv", "t w", "y", {"strides": [stride, stride]})],
            inputs={"x": [1, 16, 600, 600]},
            constants={"w": W},
        )
        got, want, _ = both(model, feeds_of(model), ISAS[0], qformat="Q3.4")
        assert_same(got, want)
        session = InferenceSession(model, isa=ISAS[0], qformat="Q3.4")
        assert bands(session, feeds_of(model))
