"""Codes of inputs and real numbers of outputs in plain order, bit for bit those of the reference."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from networks import network
from oracle import OVERFLOWS, ROUNDINGS
from runtime.native.native import ISAS, kernels

from qengine import InferenceSession
from qengine.errors import FeedError

SHAPES = [(1,), (15,), (2, 3, 1, 2, 4), (5000,), (3, 4097, 1)]
FORMATS = ["Q3.4", "UQ0.8", "Q-3.6", "Q7.8", "UQ16.0", "Q2.3", "Q-140.149", "Q127.-112", "Q-125.132", "UQ-100.110"]
LARGE = np.finfo(np.float32).max
TINY = np.float32(1e-45)
SPECIAL = np.float32([0, -0.0, TINY, -TINY, 1e-39, np.inf, -np.inf, LARGE, -LARGE, 3e15, -1e6, 65535.5, -32768.5])


def moved(shape):
    """Return a model whose step lies in plain order, as convolutions cannot read it."""
    return network(
        [("Flatten", "x", "r", {"axis": 0}), ("Gather", "r i", "y", {"axis": 1})],
        inputs={"x": list(shape)},
        constants={"i": np.arange(int(np.prod(shape)), dtype=np.int64)},
    )


def feeds_of(shape, fmt):
    """Return numbers near every code and tie of a format, and special ones."""
    rng, size = np.random.default_rng(len(shape)), int(np.prod(shape))
    n = int(fmt.partition(".")[2])
    near = rng.integers(-300, 300, size) / 2
    x = np.clip(np.ldexp(near * rng.choice([1, 1, 100, 1.001], size), -n), -LARGE, LARGE).astype(np.float32)
    some = rng.permutation(size)[: min(len(SPECIAL), size)]
    x[some] = rng.permutation(SPECIAL)[: len(some)]
    return {"x": x.reshape(shape)}


def assert_equal(model, feeds, isa, threads, **options):
    native = InferenceSession(model, isa=isa, threads=threads, **options)
    reference = InferenceSession(model, isa="reference", **options)
    names = kernels(native, feeds)
    assert "quantize" in names
    assert not [name for name in names if name.startswith("reference")]
    for raw in (True, False):
        (got,), (want,) = (session.run(None, feeds, raw=raw) for session in (native, reference))
        np.testing.assert_array_equal(got, want, strict=True)
        assert got.tobytes() == want.tobytes()
    return native


@pytest.mark.parametrize(("fmt", "rounding", "overflow", "isa"), covering(FORMATS, ROUNDINGS, OVERFLOWS, ISAS))
def test_codes_of_every_number(fmt, rounding, overflow, isa):
    shape = (3, 67)
    assert_equal(moved(shape), feeds_of(shape, fmt), isa, 1, qformat=fmt, rounding=rounding, overflow=overflow)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_and_threads(shape, threads):
    native = assert_equal(moved(shape), feeds_of(shape, "Q3.4"), ISAS[0], threads, qformat="Q3.4")
    executor = native.executor(native.plan(native.check_feeds(feeds_of(shape, "Q3.4"))), raw=False)
    assert len(executor.parts) == 1  # quantization, steps and real numbers are one program


@pytest.mark.parametrize("isa", [*ISAS, "reference"])
@pytest.mark.parametrize("place", [0, 16, 4999])
def test_nan_is_refused(place, isa):
    feeds = feeds_of((5000,), "Q3.4")
    feeds["x"][place] = np.nan
    session = InferenceSession(moved((5000,)), isa=isa, qformat="Q3.4")
    with pytest.raises(FeedError, match=r"^input 'x' holds NaN: fixed point has no code for it$"):
        session.run(None, feeds)
    feeds["x"][place] = 1
    assert session.run(None, feeds)[0].ravel()[place] == 1  # nothing of the error is left


READERS = {
    "steps in plain order around one of the reference": (
        ("Gather", "x i", "a", {"axis": 1}),
        ("Sin", "x", "b"),
        ("Add", "a b", "c"),
        ("Gather", "x i", "d", {"axis": 1}),
        ("Sub", "c d", "y"),
    ),
    "the reference first": (("Sin", "x", "b"), ("Gather", "x i", "a", {"axis": 1}), ("Add", "a b", "y")),
    "blocks and plain order": (
        ("Conv", "x w", "b"),
        ("Gather", "x i", "a", {"axis": 1}),
        ("Add", "a b", "y"),
    ),
    "plain order and blocks": (
        ("Gather", "x i", "a", {"axis": 1}),
        ("Conv", "x w", "b"),
        ("Add", "a b", "y"),
    ),
}


@pytest.mark.parametrize("fmt", ["Q3.4", "UQ2.14"])
@pytest.mark.parametrize("case", READERS)
def test_several_steps_read_an_input(case, fmt):
    shape = (2, 5, 3, 4)
    weights = np.random.default_rng(0).normal(size=(5, 5, 1, 1)).astype(np.float32)
    model = network(
        list(READERS[case]),
        inputs={"x": list(shape)},
        constants={"i": np.int64([4, 0, 3, 3, 1]), "w": weights},
        outputs=("y", "a", "x"),
    )
    feeds = feeds_of(shape, fmt)
    native, reference = (InferenceSession(model, isa=isa, qformat=fmt) for isa in (ISAS[0], "reference"))
    for raw in (True, False):
        for got, want in zip(*(s.run(None, feeds, raw=raw) for s in (native, reference)), strict=True):
            np.testing.assert_array_equal(got, want, strict=True)
    feeds["x"][1, 2, 0, 3] = np.nan
    for session in (native, reference):
        with pytest.raises(FeedError, match="input 'x' holds NaN"):
            session.run(None, feeds)
