"""Comparisons, truth values and casts in C beside the reference, and what is refused."""

import numpy as np
import pytest
from deploy.c.lowerings.element_cases import case, mixed_formats
from deploy.c.running import SANITIZED, differences, needs_gcc, with_sanitizers

from qengine.deploy.c.network import network_of
from qengine.errors import UnsupportedError

pytestmark = needs_gcc

COMPARISONS = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def test_comparisons(tmp_path):
    """Codes of any formats compare like numbers, with tensors and with constants."""
    cases = []
    for number in range(15):
        formats = mixed_formats(["a", "b"], number)
        node = (COMPARISONS[number % 5], "a b", "y")
        cases.append(case([node], {"a": [2, 3, 4], "b": [3, 1]}, number=number, formats=formats, qformat="Q3.4"))
        constants = {"b": np.float32(0.4375)}
        del formats["b"]
        cases.append(case([node], {"a": [2, 3, 4]}, constants, number=number, formats=formats, qformat="Q3.4"))
    assert differences(cases, tmp_path) == []


def test_truth_values(tmp_path):
    """Logical operators, and what a Where makes of them."""
    nodes = [
        ("Less", "a b", "l"),
        ("Not", "l", "n"),
        ("And", "l c", "p"),
        ("Or", "n c", "q"),
        ("Xor", "p q", "r"),
        ("Where", "r a b", "y"),
    ]
    one = case(nodes, {"a": [3, 4], "b": [4], "c": (bool, [3, 1])})
    assert differences([one], tmp_path, SANITIZED) == []


@with_sanitizers
def test_casts(tmp_path, flags):
    """Codes are cut toward 0; integers keep their low bits; truth is what is not 0."""
    cases = [
        case([("Cast", "x", "y", {"to": target})], {"x": [3, 5]}, number=number, qformat=fmt)
        for number, fmt in enumerate(("Q3.4", "Q7.0", "Q9.-2", "UQ3.5", "Q-2.9", "Q3.12"))
        for target in (6, 7, 9, 5)  # int32, int64, bool, int16
    ]
    nodes = [
        ("ArgMax", "x", "i", {"axis": 1}),
        ("Sub", "i k", "j"),
        ("Cast", "j", "y", {"to": 3}),
        ("Cast", "j", "u", {"to": 2}),
        ("Equal", "i k", "e"),
        ("Cast", "e", "v", {"to": 7}),
    ]
    cases.append(case(nodes, {"x": [2, 4]}, {"k": np.array([[2], [1000]], np.int64)}, ("y", "u", "v")))
    assert differences(cases, tmp_path, flags) == []


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (("ReduceL2", "x", "y"), "real numbers in the middle of codes"),
        (("Cast", "x", "y", {"to": 3}), "do not fit in int8"),
        (("Det", "x", "y"), "real numbers in the middle of codes"),
    ],
)
def test_refused_by_name(node, message):
    """A step in real numbers is an error that names its operator."""
    session, (first, _) = case([node], {"x": [3, 3]}, qformat="UQ9.1")
    with pytest.raises(UnsupportedError, match=f"{node[0]} 'the_y': .*{message}"):
        network_of(session, first)
