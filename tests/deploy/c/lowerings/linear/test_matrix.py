"""Gemm and MatMul with constant weights in C beside the reference: shapes, transposes, orders in memory, biases."""

import numpy as np
from deploy.c.running import differences, needs_gcc, with_sanitizers
from networks import network, weights

from qengine import InferenceSession

pytestmark = needs_gcc

# name: shape of x, nodes, shapes of constants
PRODUCTS = {
    "vector": ([17], [("MatMul", "x w", "y")], {"w": (17, 5)}),
    "one row": ([1, 33], [("Gemm", "x w b", "y", {"transB": 1})], {"w": (10, 33), "b": (10,)}),
    "rows": ([5, 12], [("Gemm", "x w b", "y")], {"w": (12, 7), "b": (1, 7)}),
    "one bias": ([4, 12], [("Gemm", "x w b", "y")], {"w": (12, 6), "b": (1,)}),
    "columns": ([12, 5], [("Gemm", "x w b", "y", {"transA": 1, "alpha": 0.5, "beta": 2.0})], {"w": (12, 8), "b": (8,)}),
    "bias of rows": ([4, 12], [("Gemm", "x w b", "y")], {"w": (12, 6), "b": (4, 1)}),
    "stacked weights": ([2, 3, 8], [("MatMul", "x w", "y")], {"w": (2, 8, 4)}),
    "weights first": ([8, 3], [("MatMul", "w x", "y")], {"w": (5, 8)}),
    "stack": ([2, 3, 5, 8], [("MatMul", "x w", "y")], {"w": (8, 9)}),
    "to a number": ([2, 3, 8], [("MatMul", "x w", "y")], {"w": (8,)}),
    "one matrix": ([3, 8], [("MatMul", "x w", "y")], {"w": (1, 8, 4)}),
    "after images": ([1, 4, 3, 6], [("Conv", "x v", "z"), ("MatMul", "z w", "y")], {"v": (4, 4, 1, 1), "w": (6, 5)}),
    "bounded": ([6, 9], [("Gemm", "x w b", "z"), ("Clip", "z low high", "y")], {"w": (9, 8), "b": (8,)}),
}

RULES = [{}, {"per_channel": True, "rounding": "half_up"}, {"overflow": "wrap", "rounding": "trunc"}]


@with_sanitizers
def test_products(tmp_path, flags):
    """Every product is equal, of codes with 8 bits and with 12."""
    cases = []
    for number, (shape, nodes, constants) in enumerate(PRODUCTS.values()):
        arrays = {name: weights(*s, seed=len(s) + 1, scale=0.7) for name, s in constants.items()}
        arrays |= {"low": np.float32(-0.3), "high": np.float32(2.2)} if "low" in str(nodes) else {}
        model = network(nodes, inputs={"x": shape}, constants=arrays)
        for qformat in ("Q3.4", "UQ5.7"):
            session = InferenceSession(model, qformat=qformat, isa="reference", **RULES[number % len(RULES)])
            draws = np.random.default_rng(number)
            runs = [{"x": draws.normal(0, 3, shape).astype(np.float32)}, {"x": np.full(shape, 100, np.float32)}]
            cases.append((session, runs))
    assert differences(cases, tmp_path, flags) == []
