"""Biases that a product of matrices adds itself."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS, both

from qengine.model.loader import load

ROWS = np.linspace(-1, 1, 5 * 7, dtype=np.float32).reshape(5, 7)


def model(*nodes, bias, outputs=("y",)):
    constants = {"w": ROWS, "b": np.asarray(bias, np.float32), "zero": np.float32(0.0)}
    read = {name for node in nodes for name in node[1].split()}
    constants = {name: array for name, array in constants.items() if name in read}
    inputs = {"x": [2, 3, 5], "z": [5, 7]}
    return network(
        nodes, inputs={name: inputs[name] for name in inputs if name in read}, outputs=outputs, constants=constants
    )


PRODUCT, SUM = ("MatMul", "x w", "p"), ("Add", "p b", "y")
ROW = np.arange(7)
FUSED = {
    "a row": model(PRODUCT, SUM, bias=ROW),
    "from the left": model(PRODUCT, ("Add", "b p", "y"), bias=ROW.reshape(1, 1, 7)),
    "with an activation": model(PRODUCT, ("Add", "p b", "s"), ("Relu", "s", "y"), bias=ROW - 3),
    "a number": model(PRODUCT, SUM, bias=3.0),
    "a difference": model(PRODUCT, ("Sub", "p b", "y"), bias=ROW),
    "to a product of two computed matrices": model(("MatMul", "x z", "p"), SUM, bias=ROW),
}
APART = {
    "a number of each row": model(PRODUCT, SUM, bias=np.arange(3).reshape(3, 1)),
    "two readers": model(PRODUCT, ("Add", "p b", "s"), ("Mul", "s p", "y"), bias=ROW),
    "an output": model(PRODUCT, SUM, bias=ROW, outputs=("y", "p")),
    "more axes": model(PRODUCT, SUM, bias=ROW.reshape(1, 1, 1, 7)),
    "a number to a product of two computed matrices": model(("MatMul", "x z", "p"), SUM, bias=3.0),
}


@pytest.mark.parametrize(
    ("case", "is_fused"), [*((case, True) for case in FUSED.values()), *((case, False) for case in APART.values())],
    ids=[*FUSED, *APART],
)  # fmt: skip
def test_a_constant_row_is_added_by_the_product(case, is_fused):
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 3, 5)).astype(np.float32), "z": ROWS}
    feeds = {value.name: feeds[value.name] for value in load(case).inputs}
    got, want, kernels = both(case, feeds, ISAS[0])
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    assert (kernels == ["matmul"]) == is_fused, kernels


def test_fixed_point_rounds_once():
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 3, 5)).astype(np.float32)}
    got, want, kernels = both(FUSED["a row"], feeds, ISAS[0], qformat="Q3.4")
    np.testing.assert_array_equal(got[0], want[0])
    assert [name.split()[0] for name in kernels if name.startswith(("dot", "add"))] == ["dot"], kernels
