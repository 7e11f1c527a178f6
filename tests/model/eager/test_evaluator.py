"""Declaration of evaluators: attributes as parameters, and several of them as a dataclass."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager import evaluator as declared
from qengine.model.graph import Node, OpaqueAttribute


@dataclass(frozen=True)
class Sizes:
    """Attributes that a dataclass declares."""

    width: int
    scales: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    weights: Any = None
    alpha: float = 0.1


@pytest.fixture
def compute(monkeypatch):
    """Return a function that computes a node of an evaluator with the attributes of `Sizes` and one more."""
    monkeypatch.setattr(declared, "_registry", {})

    @declared.evaluator("Mine", domain="own")
    def mine(x, *, sizes: Sizes, mode: str = "a", kind: OpaqueAttribute | None = None, node: Node):
        return x, [sizes, mode, kind, node.version]

    def call(**attributes):
        node = Node("Mine", ("x",), ("y", "z"), attributes, domain="own", version=3)
        return declared.find_evaluator(node).compute(node, [np.zeros(1)])[1]

    return call


def test_a_dataclass_declares_attributes(compute):
    sizes, mode, kind, version = compute(width=2)
    assert sizes == Sizes(2, alpha=float(np.float32(0.1)))
    assert (mode, kind, version) == ("a", None, 3)
    weights = np.ones(2)
    sizes, mode, *_ = compute(width=2, scales=(1, 2), weights=weights, mode="b")
    assert (sizes.scales, mode) == ((1.0, 2.0), "b")
    assert not sizes.weights.flags.writeable


def test_a_type_is_taken_where_it_is_declared(compute):
    assert compute(width=1, kind=OpaqueAttribute(b"type"))[2] == OpaqueAttribute(b"type")
    with pytest.raises(UnsupportedError, match="'mode' is a graph or a type"):
        compute(width=1, mode=OpaqueAttribute(b"type"))


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, "'width' is missing"),
        ({"width": 1.5}, "takes an integer"),
        ({"width": 1, "scales": 2.0}, "takes a list"),
        ({"width": 1, "scales": ("a",)}, "other elements than numbers"),
        ({"width": 1, "names": (1,)}, "other elements than text"),
        ({"width": 1, "height": 1}, "'height' is unknown"),
        ({"width": 1, "sizes": 1}, "'sizes' is unknown"),
    ],
    ids=str,
)
def test_attributes_of_another_type_are_refused(compute, attributes, reason):
    with pytest.raises(ModelError, match=reason):
        compute(**attributes)


@pytest.mark.parametrize("omits", [True, False])
def test_inputs_of_any_number_may_be_left_out_where_the_function_says_so(monkeypatch, omits):
    monkeypatch.setattr(declared, "_registry", {})

    def count(x, *rest: np.ndarray | None):
        return np.array([one is None for one in rest])

    def refuse(x, *rest: np.ndarray):
        return np.array(len(rest))

    declared.evaluator("Mine", domain="own")(count if omits else refuse)
    node = Node("Mine", ("x", "", "z"), ("y",), {}, domain="own", version=1)
    given = [np.zeros(1), None, np.zeros(1)]
    if omits:
        assert declared.find_evaluator(node).compute(node, given)[0].tolist() == [True, False]
    else:
        with pytest.raises(ModelError, match="one of its inputs is left out"):
            declared.find_evaluator(node).compute(node, given)


def test_a_model_with_handlers_alone_imports_no_evaluators_and_expansions():
    code = """
import sys
from qengine import InferenceSession, zoo
InferenceSession(zoo.find("digits").path, isa="reference").run(None, zoo.find("digits").sample().feeds)
shared = ("qengine.model.eager.evaluators.attention", "qengine.model.eager.evaluators.einsum")  # by lowerings
needless = ("qengine.model.eager.evaluators.", "qengine.model.contrib.attention")
print([name for name in sys.modules if name.startswith(needless) and name not in shared])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
