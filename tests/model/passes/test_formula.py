import numpy as np
import pytest
from networks import network

from qengine.model.loader import load
from qengine.model.passes.formula import VARIABLE, FormulaReader, Term, call, clip, match, reciprocal, scaled

x = VARIABLE
u, v = Term("variable", tensor="u"), Term("variable", tensor="v")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((x + 1) + 2, 3 + x),
        ((2 * x) * 3, x * 6),
        (x / 4, 0.25 * x),
        (x / 4, 0.5 * (x / 2)),
        (x - 3, x + (-3.0)),
        (x - call("Exp", x), x + -call("Exp", x)),
        (1.0 * x, x),
        (x + 0.0, x),
        (-1.0 * -x, x),
        (x / call("Exp", x), x * reciprocal(call("Exp", x))),
        (clip(clip(x, 0.0, np.inf), -np.inf, 6.0), clip(x, 0.0, 6.0)),
        (clip(clip(x, -1.0, 9.0), 0.0, 6.0), clip(x, 0.0, 6.0)),
        (clip(clip(x, 7.0, 9.0), 0.0, 6.0), clip(x, 6.0, 6.0)),
    ],
)
def test_one_form_for_what_is_equal(one, other):
    assert one == other


@pytest.mark.parametrize(
    ("formula", "term", "found"),
    [
        (x * call("Tanh", x), call("Tanh", u) * u, {"": "u"}),
        (x * call("Tanh", x), u * call("Tanh", v), None),
        (x * call("Tanh", x), u * call("Tanh", u) * u, None),
        (x + 3.0, u + 3.001, None),
        (x + 3.0, u + 3.0000002, {"": "u"}),
        (x + 3.0, u * 3.0, None),
        (clip(x, 0.0, np.inf), clip(u, 0.0, np.inf), {"": "u"}),
        (clip(x, 0.0, np.inf), clip(u, 0.0, 6.0), None),
        (x + 3.0, u + np.nan, None),
        (call("Exp", scaled(x, "k")), call("Exp", 4.0 * u), {"": "u", "k": 4.0}),
        (scaled(x, "k") + call("Exp", scaled(x, "k")), 4.0 * u + call("Exp", 4.0 * u), {"": "u", "k": 4.0}),
        (scaled(x, "k") + call("Exp", scaled(x, "k")), 4.0 * u + call("Exp", 5.0 * u), None),
    ],
)
def test_match(formula, term, found):
    assert match(formula, term, 1e-6) == found


def read(nodes, constants=None, outputs=("y",), **more):
    graph = load(network(nodes, inputs={"x": ["N", 3]}, constants=constants, outputs=outputs, **more))
    return FormulaReader(graph).read(graph.nodes[-1])


def test_it_reads_through_what_is_read_once():
    nodes = [("Exp", "x", "e"), ("Tanh", "e", "t"), ("Add", "t one", "y")]
    assert match(1 + call("Tanh", call("Exp", x)), read(nodes, {"one": 1.0}), 0.0) == {"": "x"}
    found = read(nodes, {"one": 1.0}, outputs=("y", "e"))
    assert match(1 + call("Tanh", x), found, 0.0) == {"": "e"}
    assert match(1 + call("Tanh", call("Exp", x)), found, 0.0) is None


@pytest.mark.parametrize(
    ("node", "constants", "formula"),
    [
        (("Pow", "x k", "y"), {"k": 3.0}, x * x * x),
        (("Pow", "x k", "y"), {"k": np.int64(2)}, x * x),
        (("Pow", "x k", "y"), {"k": 0.5}, None),
        (("Pow", "k x", "y"), {"k": 2.0}, None),
        (("Sub", "k x", "y"), {"k": 2.0}, 2.0 + -x),
        (("Div", "k x", "y"), {"k": 2.0}, 2.0 * reciprocal(x)),
        (("Div", "x k", "y"), {"k": 0.0}, None),
        (("Max", "k x", "y"), {"k": 2.0}, clip(x, 2.0, np.inf)),
        (("Min", "x k", "y"), {"k": 2.0}, clip(x, -np.inf, 2.0)),
        (("Clip", "x - k", "y"), {"k": 2.0}, clip(x, -np.inf, 2.0)),
        (("Add", "x k", "y"), {"k": np.float32([1, 2, 3])}, None),
        (("Softmax", "x", "y"), {}, None),
    ],
)
def test_what_a_node_is_read_as(node, constants, formula):
    found = read([node], constants)
    if formula is None:
        assert found.kind == "variable" or match(x + 1.0, found, 1.0) is None
    else:
        assert match(formula, found, 0.0) == {"": "x"}


def test_long_chains_end_somewhere():
    nodes = [("Exp", "x" if i == 0 else f"e{i}", f"e{i + 1}") for i in range(3000)]
    term, depth = read([*nodes, ("Exp", "e3000", "y")]), 0
    while term.parts:
        (term,), depth = term.parts, depth + 1
    assert depth < 20
