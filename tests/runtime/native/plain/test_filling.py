"""Patterns, reversed sequences, means of tensors and powers on plain buffers."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check

from qengine import InferenceSession
from qengine.errors import ModelError

RNG = np.random.default_rng(6)


def case(operator, kernel, feeds, attributes=None, constants=None, tolerance=0.0, values=None):
    names = [*feeds, *(constants or {})]
    inputs = {name: (x.dtype, list(x.shape)) for name, x in feeds.items()}
    order = sorted(names, key=lambda name: name[-1])  # "x1", "k2" ...
    spelled = [(operator, " ".join(order), "y", attributes or {})]
    model = network(spelled, inputs=inputs, constants=constants, values=values, opset=18)
    return PlainCase(model, feeds, kernel, tolerance)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def powers():
    bases = np.float32([-np.inf, -2.5, -1, -0.0, 0, 0.3, 1, 2, 70, np.inf, np.nan])
    exponents = np.float32([-np.inf, -3, -2, -0.5, 0, 0.5, 1, 2, 3, 7.25, np.inf, np.nan])
    feeds = {"x1": bases[:, None], "e2": exponents}
    return case("Pow", "power", feeds, tolerance=2e-7)


CASES = {
    "upper triangle": case("Trilu", "where", {"x1": normal(3, 7, 21)}),
    "lower triangle of integers": case("Trilu", "where", {"x1": np.arange(60).reshape(3, 4, 5)}, {"upper": 0}),
    "triangle above a diagonal": case("Trilu", "where", {"x1": normal(9, 21)}, {}, {"k2": np.array(-3)}),
    "one hot": case(
        "OneHot",
        "where",
        {"i1": np.array([[0, -1, 5], [7, -6, 2]]), "v3": np.float32([0.5, 2])},
        {"axis": 1},
        {"d2": np.array(6)},
    ),
    "one hot of int32": case(
        "OneHot", "where", {"i1": np.array([3, 1], np.int32)}, {}, {"d2": np.array(4), "v3": np.array([0, 1])}
    ),
    "sequences": case(
        "ReverseSequence", "reverse_runs", {"x1": normal(9, 4, 5), "n2": np.array([0, 9, 1, 6])}, {"time_axis": 0}
    ),
    "sequences, batch first": case(
        "ReverseSequence",
        "reverse_runs",
        {"x1": RNG.integers(0, 9, (4, 9)), "n2": np.array([0, 9, 1, 6])},
        {"batch_axis": 0, "time_axis": 1},
    ),
    "mean": case("Mean", "divide", {"a1": normal(3, 1, 40), "b2": normal(5, 1), "c3": normal(1)}, tolerance=1e-6),
    "powers": powers(),
    "powers of many": case("Pow", "power", {"x1": np.abs(normal(4, 50)), "e2": normal(50)}, tolerance=2e-7),
    "integer exponents": case("Pow", "power", {"x1": normal(4, 50), "e2": RNG.integers(-3, 4, 50)}, tolerance=2e-7),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_native_equals_the_reference(name, isa):
    check(CASES[name], isa, threads=1)


@pytest.mark.parametrize("k", [0, 2, -1])
def test_an_eye_is_known(k):
    nodes = [("EyeLike", "x", "e", {"k": k}), ("Add", "x e", "y")]
    model = network(nodes, inputs={"x": [3, 5]}, outputs=("y", "e"))
    check(PlainCase(model, {"x": normal(3, 5)}, "add"), ISAS[0], threads=1)


def test_a_length_out_of_range_is_an_error():
    x = normal(9, 2, 5)
    given = case("ReverseSequence", "", {"x1": x, "n2": np.array([0, 9])}, {"time_axis": 0})
    session = InferenceSession(given.model, isa=ISAS[0])
    with pytest.raises(ModelError, match=r"sequence_lens are not all in 0\.\.9"):
        session.run(None, {"x1": x, "n2": np.array([0, 10])})
    session.run(None, given.feeds)


@pytest.mark.parametrize("shape", [(1, 5000), (100, 70), (0, 3)])
def test_powers_by_fed_exponents_of_any_size(shape):
    model = network([("Pow", "x e", "y")], inputs={"x": ["a", "b"], "e": ["c", "b"]})
    rng = np.random.default_rng(0)
    feeds = {"x": rng.uniform(0.5, 2, shape).astype(np.float32), "e": rng.normal(size=shape).astype(np.float32)}
    session = InferenceSession(model, isa=ISAS[0])
    (want,) = InferenceSession(model, isa="reference").run(None, feeds)
    np.testing.assert_allclose(want, feeds["x"] ** feeds["e"], rtol=1e-6)
    np.testing.assert_allclose(session.run(None, feeds)[0], want, rtol=1e-6)
    assert session.executor(session.plan(feeds)).is_native == (want.size > 0)
