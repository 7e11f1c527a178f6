"""Convolutions in C beside the reference: forms, orders in memory, code types, shifts, roundings, proofs of 32 bits."""

from itertools import product

import numpy as np
from deploy.c.running import INLINED, differences, needs_gcc, with_sanitizers
from networks import network, weights

from qengine import InferenceSession

pytestmark = needs_gcc

# name: shape of x, shape of w, attributes. Networks begin and end in ONNX's order; a second Conv reads channels last.
FORMS = {
    "3x3": ((1, 8, 6, 7), (6, 8, 3, 3), {"pads": [1, 1, 1, 1]}),
    "3x3 odd": ((2, 3, 5, 5), (5, 3, 3, 3), {}),
    "1x1": ((1, 8, 3, 3), (7, 8, 1, 1), {}),
    "1x1 strided": ((1, 6, 5, 5), (4, 6, 1, 1), {"strides": [2, 2], "pads": [1, 0, 0, 1]}),
    "strided": ((1, 4, 9, 8), (4, 4, 3, 2), {"strides": [2, 3], "pads": [2, 1, 0, 1]}),
    "dilated": ((1, 4, 9, 9), (3, 4, 3, 3), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
    "groups": ((2, 8, 5, 5), (12, 4, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "thin groups": ((1, 6, 5, 5), (9, 2, 2, 2), {"group": 3}),
    "few taps": ((1, 1, 16, 16), (33, 1, 3, 3), {"pads": [1, 1, 1, 1]}),
    "few taps of groups": ((1, 8, 12, 13), (36, 4, 1, 1), {"group": 2}),
    "one pixel": ((1, 16, 3, 3), (10, 16, 3, 3), {}),
    "one channel": ((1, 1, 8, 8), (4, 1, 5, 5), {"pads": [2, 2, 2, 2]}),
    "one filter": ((1, 5, 6, 6), (1, 5, 3, 3), {}),
    "mostly pads": ((1, 4, 2, 2), (4, 4, 3, 3), {"pads": [4, 4, 4, 4]}),
    "signals": ((2, 4, 20), (6, 4, 5), {"pads": [2, 2], "strides": [2]}),
    "signals dilated": ((1, 3, 20), (5, 3, 3), {"dilations": [4], "group": 1}),
    "depthwise": ((1, 40, 6, 7), (40, 1, 3, 3), {"group": 40, "pads": [1, 1, 1, 1]}),
    "depthwise strided": ((2, 8, 7, 7), (8, 1, 3, 3), {"group": 8, "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    "depthwise 5x3": ((1, 4, 8, 8), (4, 1, 5, 3), {"group": 4, "pads": [2, 1, 2, 1]}),
    "depthwise dilated": ((1, 4, 9, 9), (4, 1, 3, 3), {"group": 4, "dilations": [2, 3], "pads": [2, 3, 2, 3]}),
    "depthwise twice": ((1, 4, 5, 5), (8, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    "depthwise signals": ((1, 4, 100), (4, 1, 5), {"group": 4, "pads": [4, 0]}),
    "depthwise mostly pads": ((1, 4, 2, 2), (4, 1, 3, 3), {"group": 4, "pads": [5, 5, 5, 5], "strides": [3, 4]}),
}

RULES = [
    {},
    {"rounding": "half_up", "per_channel": True},
    {"rounding": "half_away", "overflow": "wrap"},
    {"rounding": "floor", "per_channel": True},
    {"rounding": "trunc"},
]


def session(x, w, attributes, qformat="Q3.4", between=(), **options):
    """Return a network of a convolution, read first in ONNX's order and then, after a 1x1, channels last."""
    spatial = len(x) - 2
    nodes = [
        ("Conv", "x w b", "first", attributes),
        ("Conv", "x one", "wide", {}),
        *between,
        ("Conv", "wide w b", "last", attributes),
        ("Relu", "last", "y"),
    ]
    channels = weights(w[0], seed=5, scale=3) * np.arange(1, w[0] + 1) / w[0]
    one = weights(x[1], x[1], *(1,) * spatial, seed=4)
    filters = weights(*w) * np.exp2(-np.arange(w[0]) % 4).reshape(-1, *(1,) * (len(w) - 1))
    constants = {"w": filters.astype(np.float32), "b": channels.astype(np.float32), "one": one}
    model = network(nodes, inputs={"x": list(x)}, outputs=["first", "y"], constants=constants)
    return InferenceSession(model, qformat=qformat, isa="reference", **options)


def feeds(x, seed=1):
    """Return two runs: numbers about the range, and both rails."""
    draws = np.random.default_rng(seed)
    yield {"x": draws.normal(0, 3, x).astype(np.float32)}
    yield {"x": draws.choice(np.array([-100, 100, 0.5], np.float32), x)}


@with_sanitizers
def test_forms(tmp_path, flags):
    """Every form is equal, with several roundings, overflows and shifts for each channel."""
    cases = []
    for number, (x, w, attributes) in enumerate(FORMS.values()):
        cases.append((session(x, w, attributes, **RULES[number % len(RULES)]), list(feeds(x))))
    assert differences(cases, tmp_path, flags) == []


def test_code_types(tmp_path):
    """Codes and weights of 8 and 16 bits, with and without a sign, are equal, in vectors and in shared functions."""
    cases = []
    codes = (("Q3.4", "Q1.6"), ("UQ4.4", "Q1.8"), ("Q5.6", "Q0.5"), ("UQ10.6", "Q1.4"), ("Q8.7", "UQ1.2"))
    for form, (name, weight) in product(("3x3", "depthwise"), codes):
        x, w, attributes = FORMS[form]
        cases.append((session(x, w, attributes, name, weight_qformat=weight), list(feeds(x))))
    small = [f"-DNET{n}_SMALL" for n in range(0, len(cases), 2)]
    assert differences(cases, tmp_path, ("-O3", *small), toolchain=INLINED) == []


def test_shifts_far_to_the_left(tmp_path):
    """Shifts of channels that 8 bits do not hold saturate, wrap and become 0 as any that leaves the word."""
    cases = []
    for form, overflow in product(("one pixel", "depthwise twice"), ("saturate", "wrap", "zero")):
        x, w, attributes = FORMS[form]
        formats = {"w": ["Q119.-112", *["Q1.6"] * (w[0] - 1)], "first": "Q-142.149", "last": "Q3.4"}
        cases.append((session(x, w, attributes, formats=formats, overflow=overflow), list(feeds(x))))
    assert differences(cases, tmp_path) == []
