"""float16 on native kernels: every step is rounded, and arrays of float16 stand at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS, both
from runtime.native.plain.cases import PlainCase, check

from qengine import InferenceSession

RNG = np.random.default_rng(2)
HALF = np.float16


def weights(*shape):
    return (RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(HALF)


def feeds(*shape):
    return {"x": np.random.default_rng(7).normal(size=shape).astype(HALF)}


CNN = network(
    [
        ("Conv", "x w0 b0", "a", {"pads": [1, 1, 1, 1]}),
        ("Relu", "a", "b"),
        ("MaxPool", "b", "c", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Conv", "c w1", "d", {"pads": [1, 1, 1, 1], "group": 20}),
        ("Clip", "d low high", "e"),
        ("Add", "e c", "f"),
        ("Resize", "f - scales", "g", {"mode": "linear"}),
        ("Concat", "b g", "h", {"axis": 1}),
        ("GlobalAveragePool", "h", "i"),
        ("Flatten", "i", "j"),
        ("Gemm", "j w2 b2", "y", {"transB": 1}),
    ],
    inputs={"x": (HALF, [2, 3, 12, 10])},
    outputs=("y", "h"),
    constants={
        **{"w0": weights(20, 3, 3, 3), "b0": weights(20), "w1": weights(20, 1, 3, 3), "w2": weights(7, 40)},
        **{"b2": weights(7), "low": HALF(0), "high": HALF(1.3), "scales": np.array([1, 1, 2, 2], np.float32)},
    },
)
MOVED = network(
    [
        ("Transpose", "x", "a", {"perm": [0, 2, 3, 1]}),
        ("Mul", "a s", "b"),
        ("Sub", "b a", "c"),
        ("Where", "mask c b", "d"),
        ("Cast", "d", "e", {"to": 1}),
        ("Div", "e t", "f"),
        ("Cast", "f", "g", {"to": 10}),
        ("Less", "g d", "h"),
        ("Max", "g c", "y"),
    ],
    inputs={"x": (HALF, [2, 3, 12, 10])},
    outputs=("y", "h", "a", "g"),
    constants={"s": weights(3), "t": np.float32(3), "mask": np.array([[True], [False]] * 5)},
    values={"h": (np.bool_, None), "g": (HALF, None), "y": (HALF, None), "a": (HALF, None)},
)


@pytest.mark.parametrize("isa", ISAS)
def test_a_network_is_rounded_as_the_reference_rounds(isa):
    check(PlainCase(CNN, feeds(2, 3, 12, 10), "round", tolerance=2**-9), isa, threads=1)


@pytest.mark.parametrize("isa", ISAS)
def test_operations_that_round_once_are_equal(isa):
    check(PlainCase(MOVED, feeds(2, 3, 12, 10), "round"), isa, threads=1)


def test_threads_give_the_same(monkeypatch):
    monkeypatch.setattr("qengine.runtime.native.schedule._MIN_CYCLES", 0)
    got = [InferenceSession(CNN, isa=ISAS[0], threads=n).run(None, feeds(2, 3, 12, 10)) for n in (1, 3)]
    for a, b in zip(*got, strict=True):
        np.testing.assert_array_equal(a, b)


def test_bands_change_no_bit(monkeypatch):
    nodes = [("Conv", "x w0 b0", "a", {"pads": [1] * 4}), ("Relu", "a", "b"), ("Conv", "b w1", "y", {"group": 20})]
    constants = {"w0": weights(20, 3, 3, 3), "b0": weights(20), "w1": weights(20, 1, 3, 3)}
    model = network(nodes, inputs={"x": (HALF, [1, 3, 90, 21])}, constants=constants)
    (whole,) = InferenceSession(model, isa=ISAS[0]).run(None, feeds(1, 3, 90, 21))
    monkeypatch.setattr("qengine.runtime.native.schedule.CACHE_BYTES", 1 << 14)
    monkeypatch.setattr("qengine.runtime.native.schedule.LARGE_BYTES", 1 << 14)
    session = InferenceSession(model, isa=ISAS[0], threads=1)
    (found,) = session.run(None, feeds(1, 3, 90, 21))
    np.testing.assert_array_equal(found, whole)
    executor = session.executor(session.plan(session.check_feeds(feeds(1, 3, 90, 21))))
    assert any(segment.compiled.bands for segment in executor.segments)


def test_a_step_of_the_reference_reads_and_writes_float16():
    nodes = [("Relu", "x", "a"), ("GridSample", "a grid", "b"), ("Add", "b b", "y")]
    constants = {"grid": np.random.default_rng(3).uniform(-1, 1, (5, 4, 4, 2)).astype(HALF)}
    model = network(nodes, inputs={"x": (HALF, [5, 3, 3, 2])}, outputs=("y", "a"), constants=constants)
    got, want, _ = both(model, feeds(5, 3, 3, 2), ISAS[0])
    for a, b in zip(got, want, strict=True):
        assert a.dtype == HALF
        np.testing.assert_array_equal(a, b)
