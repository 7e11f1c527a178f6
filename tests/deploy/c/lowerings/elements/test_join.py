"""Concat, Where, Max and Min in C beside the reference: formats of their own, constants, orders in memory."""

import numpy as np
import pytest
from deploy.c.lowerings.element_cases import IMAGES, case, image_weights, mixed_formats
from deploy.c.running import SANITIZED, differences, needs_gcc, with_sanitizers
from joined_heads import APART, FEEDS
from networks import weights

from qengine import InferenceSession

pytestmark = needs_gcc

CONDITION = {"c": (bool, [3, 4])}
# node, inputs, shapes of constants
JOINS = {
    "concat": (("Concat", "a b d", "y", {"axis": 1}), {"a": [2, 3, 4], "b": [2, 2, 4], "d": [2, 1, 4]}, {}),
    "concat last": (("Concat", "a b", "y", {"axis": 2}), {"a": [2, 3, 4], "b": [2, 3, 1]}, {}),
    "concat first": (("Concat", "a b", "y", {"axis": 0}), {"a": [2, 3, 4], "b": [1, 3, 4]}, {}),
    "concat a constant": (("Concat", "a k", "y", {"axis": 1}), {"a": [2, 3, 4]}, {"k": (2, 1, 4)}),
    "concat nothing": (("Concat", "a b", "y", {"axis": 1}), {"a": [2, 3], "b": [2, 0]}, {}),
    "max": (("Max", "a b", "y"), {"a": [2, 3, 4], "b": [3, 1]}, {}),
    "min of three": (("Min", "a b d", "y"), {"a": [2, 3, 4], "b": [3, 1], "d": [4]}, {}),
    "max of one": (("Max", "a", "y"), {"a": [2, 3]}, {}),
    "max with constants": (("Max", "a k j", "y"), {"a": [2, 3, 4]}, {"k": (3, 1), "j": (4,)}),
    "where": (("Where", "c a b", "y"), {"a": [2, 3, 4], "b": [3, 1]} | CONDITION, {}),
    "where a constant": (("Where", "c a k", "y"), {"a": [2, 3, 4]} | CONDITION, {"k": (1,)}),
}


@pytest.mark.parametrize("same", [False, True])
@with_sanitizers
def test_joins(tmp_path, same, flags):
    """Every join, of tensors with formats of their own and with the format of the output."""
    cases = []
    for number, (node, inputs, shapes) in enumerate(JOINS.values()):
        for round_ in range(3):
            seed = 7 * number + round_
            formats = mixed_formats([*(name for name in inputs if name != "c"), "y"], seed)
            formats = dict.fromkeys(formats, formats["y"]) if same else formats
            constants = {name: weights(*shape, seed=seed, scale=2.0) for name, shape in shapes.items()}
            cases.append(case([node], inputs, constants, number=seed, formats=formats, qformat="Q3.4"))
    assert differences(cases, tmp_path, flags) == []


@with_sanitizers
def test_orders_of_images(tmp_path, flags):
    """Parts with channels last are strided rows; a part in ONNX's order is turned."""
    nodes = [
        IMAGES,
        ("Concat", "z x", "q", {"axis": 1}),
        ("Concat", "q q", "r", {"axis": 3}),
        ("Max", "r r", "s"),
        ("Neg", "s", "y"),
    ]
    cases = [case(nodes, {"x": [2, 3, 4, 5]}, image_weights(4, 3), number=n) for n in range(3)]
    assert differences(cases, tmp_path, flags) == []


@pytest.mark.parametrize("other", ["Q0.7", "UQ0.8"])
def test_parts_with_formats(tmp_path, other):
    """Parts of an output that keep formats of their own, also where the output holds them in a wider type."""
    heads = [APART[name] for name in ("an output", "with a constant", "two joins", "sliced within parts", "padded")]
    cases = []
    for head in heads:
        formats = {"b": "Q8.-1" if other == "Q0.7" else "Q9.6", "s": other}
        session = InferenceSession(head.model(), formats=formats, qformat="Q3.4", isa="reference")
        cases.append((session, FEEDS[:1]))
    assert differences(cases, tmp_path) == []


def test_constant_condition(tmp_path):
    """A Where by a constant condition, and by one that a constant broadcasts to."""
    mask = np.array([[True], [False], [True]])
    one = case([("Where", "m a b", "y")], {"a": [2, 3, 4], "b": [4]}, {"m": mask}, number=4)
    assert differences([one], tmp_path, SANITIZED) == []


def test_integers(tmp_path):
    """Indices are joined and compared as they are."""
    nodes = [
        ("ArgMax", "x", "i", {"axis": 1, "keepdims": 0}),
        ("ArgMin", "x", "j", {"axis": 1, "keepdims": 0}),
        ("Concat", "i j k", "y", {"axis": 0}),
        ("Max", "i j k", "u"),
        ("Where", "c i j", "v"),
    ]
    constants = {"k": np.array([[100, -100]], np.int64)}
    one = case(nodes, {"x": [3, 9, 2], "c": (bool, [3, 2])}, constants, ("y", "u", "v"))
    assert differences([one], tmp_path, SANITIZED) == []
