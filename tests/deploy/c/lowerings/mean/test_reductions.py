"""Reductions of integers, and of magnitudes and squares of codes, in C beside the reference."""

import numpy as np
from deploy.c.lowerings.element_cases import IMAGES, case, image_weights
from deploy.c.lowerings.elements.test_integers import ends, integers
from deploy.c.running import SANITIZED, differences, needs_gcc

pytestmark = needs_gcc

OPERATORS = ("ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceSumSquare", "ReduceMax", "ReduceMin")


def test_reductions(tmp_path):
    """Integers of each type wrap; codes are rounded once; some axes, all axes, kept or not."""
    cases = []
    for number, dtype in enumerate((np.int32, np.uint32, np.int64, np.uint64)):
        taken = OPERATORS[:-1] if dtype is np.uint64 else OPERATORS
        nodes = [(op, "x a", f"y{i}", {"keepdims": i % 2}) for i, op in enumerate(taken)]
        axes = {"a": np.array([[0], [-1, 0], [1], [0, 1, 2]][number])}
        cases.append(integers(nodes, {"x": ends(dtype, (2, 3, 4), number)}, axes, [f"y{i}" for i in range(len(nodes))]))
    cases.append(integers([("ReduceMean", "x", "y")], {"x": ends(np.int8, (3, 4), 9)}))
    for number, op in enumerate(("ReduceL1", "ReduceSumSquare") * 4):
        constants = {"a": np.array([number % 4]), **image_weights(3, 3)}
        node = (op, "z a", "y", {"keepdims": number % 2})
        fmt = ("Q3.4", "Q2.1", "UQ3.4", "Q5.2")[number % 4]
        cases.append(case([IMAGES, node], {"x": [2, 3, 4, 5]}, constants, number=number, qformat=fmt))
    assert differences(cases, tmp_path, SANITIZED) == []
