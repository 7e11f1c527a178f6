"""Products of matrices of codes in plain order: bits are those of the reference, in every format and rounding."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from networks import network
from oracle import OVERFLOWS, ROUNDINGS
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check

BYTES = {
    "signed": {"x": "Q3.4", "y": "Q5.2"},
    "unsigned": {"x": "UQ2.6", "y": "UQ5.3"},
    "few bits": {"x": "Q2.3", "y": "Q4.1"},
    "to words": {"x": "Q3.4", "y": "Q7.8"},
    "saturates": {"x": "Q3.4", "y": "Q1.6"},
}
LAYERS = {
    "plain": ([("MatMul", "x w", "y")], 17, 23),
    "bias": ([("MatMul", "x w", "m"), ("Add", "m b", "y")], 16, 40),
    "bias, Relu": ([("MatMul", "x w", "m"), ("Add", "m b", "a"), ("Relu", "a", "y")], 64, 16),
    "one column": ([("MatMul", "x w", "y")], 5, 1),
    "long": ([("MatMul", "x w", "y")], 300, 70),
}
COMPUTED = {
    "bytes": {"x": "Q3.4", "z": "UQ1.7", "y": "Q5.2"},
    "words": {"x": "Q3.12", "z": "Q1.14", "y": "Q5.10"},
    "both": {"x": "Q3.12", "z": "Q0.7", "y": "Q6.1"},
}
SHAPES = {
    "matrices": ([2, 3, 7, 19], [2, 3, 19, 5]),
    "broadcast": ([2, 3, 4, 33], [33, 18]),
    "rows": ([3, 9], [3, 9, 4]),
}


def feeds(shapes):
    rng = np.random.default_rng(8)
    return {name: rng.normal(0, 2, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("layer", "formats", "rounding", "overflow", "isa"),
    covering(LAYERS, BYTES, ROUNDINGS, OVERFLOWS, ISAS),
)
def test_rows_by_a_constant_matrix(layer, formats, rounding, overflow, isa):
    nodes, length, columns = LAYERS[layer]
    rng = np.random.default_rng(8)
    constants = {"w": rng.normal(0, 0.5, (length, columns)).astype(np.float32)}
    if len(nodes) > 1:
        constants["b"] = rng.normal(0, 2, columns).astype(np.float32)
    shape = [2, 3, 7, length]
    # A Transpose before the product leaves its rows in plain order.
    built = network([("Transpose", "t", "x", {"perm": [1, 0, 2, 3]}), *nodes], inputs={"t": shape}, constants=constants)
    given = BYTES[formats]
    options = {"qformat": given["x"], "formats": {"y": given["y"]}, "rounding": rounding, "overflow": overflow}
    check(PlainCase(built, feeds({"t": shape}), "dot", options=options), isa, threads=1)


@pytest.mark.parametrize(
    ("shapes", "formats", "rounding", "overflow", "isa"),
    covering(SHAPES, COMPUTED, ROUNDINGS, OVERFLOWS, ISAS),
)
def test_computed_matrices(shapes, formats, rounding, overflow, isa):
    x, z = SHAPES[shapes]
    built = network([("MatMul", "x z", "y")], inputs={"x": x, "z": z})
    options = {"formats": COMPUTED[formats], "rounding": rounding, "overflow": overflow}
    check(PlainCase(built, feeds({"x": x, "z": z}), "matmul", options=options), isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same(threads, monkeypatch):
    monkeypatch.setattr("qengine.runtime.native.schedule._MIN_CYCLES", 0)
    x, z = SHAPES["matrices"]
    built = network([("MatMul", "x z", "y")], inputs={"x": x, "z": z})
    case = PlainCase(built, feeds({"x": x, "z": z}), "matmul", options={"formats": COMPUTED["bytes"]})
    check(case, ISAS[0], threads)
