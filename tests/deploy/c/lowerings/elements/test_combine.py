"""Add, Sub, Sum, Mul, Div and PRelu in C beside the reference: broadcasting, orders, roundings, overflows, formats."""

import numpy as np
import pytest
from deploy.c.lowerings.element_cases import IMAGES, case, image_weights, mixed_formats
from deploy.c.running import SANITIZED, differences, needs_gcc, with_sanitizers
from networks import weights

from qengine.deploy.c.lowerings.elements.exact import BY_ZERO
from qengine.deploy.c.network import network_of

pytestmark = needs_gcc

SHAPES = {
    "equal": ([2, 3, 4], [2, 3, 4]),
    "by channel": ([2, 3, 4], [3, 1]),
    "both": ([2, 1, 4], [3, 1]),
    "a number": ([2, 3, 4], [1]),
    "wider second": ([4], [2, 3, 4]),
    "many loops": ([2, 1, 3, 1, 2, 1, 2], [1, 2, 1, 2, 1, 3, 1]),
}


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "PRelu"])
@with_sanitizers
def test_pairs(tmp_path, operator, flags):
    """Two tensors, or a tensor and a constant, of any formats."""
    cases = []
    for number, (a, b) in enumerate(SHAPES.values()):
        if operator == "PRelu" and np.broadcast_shapes(a, b) != tuple(a):
            continue
        for constant in (False, True):
            for round_ in range(2):
                seed = 20 * number + 5 * constant + round_ + ord(operator[0])
                formats = mixed_formats(["a", "b", "y"] if not constant else ["a", "y"], seed)
                constants = {"b": weights(*b, seed=seed, scale=2.0)} if constant else {}
                inputs = {"a": a} if constant else {"a": a, "b": b}
                one = case([(operator, "a b", "y")], inputs, constants, number=seed, formats=formats, qformat="Q3.4")
                cases.append(one)
    assert differences(cases, tmp_path, flags) == []


def test_roundings_of_ties(tmp_path):
    """Every rounding and overflow of sums and quotients of codes that often are ties."""
    cases = []
    for number in range(11 * 4):
        operator = ("Add", "Div", "Mul", "PRelu")[number % 4]
        cases.append(
            case(
                [(operator, "a b", "y")],
                {"a": [60], "b": [60]},
                number=number,
                overflow=("saturate", "wrap", "symmetric", "zero")[number // 11],
                formats={"a": "Q2.3", "b": "Q2.3", "y": "Q1.2"},
                qformat="Q2.3",
            )
        )
    assert differences(cases, tmp_path) == []


@pytest.mark.parametrize("aligns", [False, True])
@with_sanitizers
def test_sums(tmp_path, aligns, flags):
    """Sums of one to five terms, exact to the end or of terms that are brought to their format first."""
    cases = []
    for number in range(12):
        names = "abcde"[: 1 + number % 5]
        inputs = {name: [[2, 3, 4], [3, 1], [4]][i % 3] for i, name in enumerate(names)}
        formats = mixed_formats([*names, "y"], number)
        operator = "Sub" if len(names) == 2 and number > 5 else "Sum"
        node = (operator, " ".join(names), "y")
        options = {"rules": {"aligns_add": True}} if aligns else {}
        cases.append(case([node], inputs, number=number, formats=formats, qformat="Q3.4", **options))
    assert differences(cases, tmp_path, flags) == []


@with_sanitizers
def test_orders_of_images(tmp_path, flags):
    """A tensor with channels last and one in ONNX's order, and bounds of a Relu that was fused."""
    nodes = [IMAGES, ("Add", "z x", "q"), ("Relu", "q", "r"), ("Mul", "r c", "s"), ("Sub", "s z", "y")]
    constants = {"c": weights(4, 1, 1, seed=2, scale=1.0)} | image_weights(4, 4)
    cases = [case(nodes, {"x": [2, 4, 3, 5]}, constants, number=n) for n in range(4)]
    assert differences(cases, tmp_path, flags) == []


def test_integers(tmp_path):
    """Arithmetic on indices wraps, and a quotient is cut toward 0."""
    nodes = [
        ("ArgMax", "x", "i", {"axis": 1, "keepdims": 0}),
        ("Sub", "i seven", "j"),
        ("Mul", "j j", "k"),
        ("Add", "k j", "l"),
        ("Div", "j three", "y"),
    ]
    constants = {"seven": np.int64(7), "three": np.array([3, -2, -1], np.int64)}
    assert differences([case(nodes, {"x": [4, 9, 3]}, constants, ("y", "l"))], tmp_path, SANITIZED) == []


def test_division_by_what_may_be_0_says_so():
    """The runtime stops at a division by 0, and C gives 0, as a comment says."""
    nodes = [("ArgMax", "x", "i", {"axis": 1, "keepdims": 0}), ("Div", "i i", "y")]
    session, (first, _) = case(nodes, {"x": [4, 9]})
    assert network_of(session, first).operations[1].comments == (BY_ZERO,)


def test_division_by_computed_integers(tmp_path):
    """A quotient of two computed tensors is cut toward 0; by 0 it is 0, where the runtime stops."""
    nodes = [
        ("ArgMax", "x", "i", {"axis": 1, "keepdims": 0}),
        ("Sub", "i five", "j"),
        ("Mul", "i three", "k"),
        ("Sub", "k one", "l"),
        ("Div", "j l", "y"),
    ]
    constants = {name: np.int64(number) for name, number in (("five", 5), ("three", 3), ("one", 1))}
    one = case(nodes, {"x": [4, 9]}, constants)
    assert differences([one], tmp_path, SANITIZED) == []
    assert network_of(one[0], one[1][0]).operations[-1].calls[0].kernel == "integer_arithmetic"


def test_bounds_choose_the_type():
    """A sum is int32_t only where the ends of its terms prove that it fits."""

    def types(formats):
        session, (first, _) = case([("Mul", "a b", "y")], {"a": [4], "b": [4]}, formats=formats, qformat="Q3.4")
        return network_of(session, first).operations[0].calls[0].types["v"]

    assert types({"a": "Q3.4", "b": "Q3.4", "y": "Q3.4"}) == np.int32
    assert types({"a": "Q0.15", "b": "Q0.15", "y": "Q0.15"}) == np.int32
    assert types({"a": "UQ0.16", "b": "UQ0.16", "y": "UQ0.16"}) == np.int64
