"""Distances at which convolutions may write onto their inputs, beside a run of the kernels in a memory of marks."""

from itertools import product

import numpy as np
import pytest
from deploy.c.running import differences, needs_gcc
from networks import network, weights

from qengine import InferenceSession
from qengine.deploy.c.network import network_of

# name: shape of x, filters, kernel, attributes, and whether one element more is too much
FORMS = {
    "3x3": ((1, 4, 6, 7), (5, 4, 3, 3), {"pads": [1, 1, 1, 1]}, True),
    "1x1": ((1, 4, 6, 7), (4, 4, 1, 1), {}, True),
    "narrowing": ((1, 8, 6, 7), (3, 8, 1, 1), {}, True),
    "strided": ((2, 4, 7, 7), (4, 4, 3, 3), {"strides": [2, 2], "pads": [0, 0, 1, 1]}, True),
    "groups": ((1, 4, 4, 4), (4, 2, 3, 3), {"group": 2}, True),
    "one pixel": ((1, 4, 3, 3), (6, 4, 3, 3), {}, False),
    "depthwise": ((1, 4, 6, 6), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}, True),
    "depthwise twice": ((1, 3, 5, 5), (6, 1, 3, 3), {"group": 3}, True),
    "depthwise strided": ((2, 3, 7, 7), (3, 1, 3, 3), {"group": 3, "strides": [2, 2]}, True),
}


def operation(x, w, attributes, qformat="Q3.4"):
    """Return the convolution in the middle of three, which reads and writes channels last."""
    eyes = {"a": weights(x[1], x[1], 1, 1), "c": weights(w[0], w[0], 1, 1)}
    nodes = [("Conv", "x a", "p"), ("Conv", "p w", "q", attributes), ("Conv", "q c", "y")]
    model = network(nodes, inputs={"x": list(x)}, constants={"w": weights(*w), **eyes})
    session = InferenceSession(model, qformat=qformat, isa="reference")
    feeds = {"x": np.random.default_rng(0).normal(0, 3, x).astype(np.float32)}
    return session, feeds, network_of(session, feeds).operations[1]


def events(one, w, attributes):
    """Yield the elements of the input that are read before some of the output are written, and those."""
    x, y = one.reads[0], one.output
    group, (down, right) = attributes.get("group", 1), attributes.get("strides", (1, 1))
    top, left = attributes.get("pads", (0, 0))[:2]
    is_depthwise = one.calls[0].kernel != "conv"
    band = 1 if is_depthwise else one.calls[0].numbers["band"]
    pixels = list(product(range(y.shape[2]), range(y.shape[3])))
    lanes = [[f] for f in sorted(range(w[0]), key=lambda f: (f % (w[0] // group), f))]
    parts = lanes if is_depthwise else [range(g * w[0] // group, (g + 1) * w[0] // group) for g in range(group)]
    order = product(range(0, len(pixels), band), parts) if is_depthwise else product(parts, range(0, len(pixels), band))
    for image, pair in product(range(y.shape[0]), list(order)):
        start, filters = pair if is_depthwise else pair[::-1]
        first = filters[0] // (w[0] // group) * w[1]
        read, written = set(), set()
        for i, j in pixels[start : start + band]:
            for c, k, m in product(range(first, first + w[1]), range(w[2]), range(w[3])):
                row, column = i * down - top + k, j * right - left + m
                if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                    read.add(int(np.dot((image, c, row, column), x.strides)))
            written |= {int(np.dot((image, f, i, j), y.strides)) for f in filters}
        yield read, written


def is_safe(one, w, attributes, distance):
    """Return whether nothing that is read was written over, with the output some elements after the input."""
    lost = set()
    for read, written in events(one, w, attributes):
        if read & lost:
            return False
        lost |= {element + distance for element in written}
    return True


@pytest.mark.parametrize("form", FORMS)
def test_distance(form):
    """The distance is safe, and one element more is not."""
    x, w, attributes, is_tight = FORMS[form]
    _, _, one = operation(x, w, attributes)
    (distance,) = one.overlap
    assert is_safe(one, w, attributes, distance)
    assert is_safe(one, w, attributes, distance - 1)
    assert is_safe(one, w, attributes, distance + 1) != is_tight


@needs_gcc
def test_networks_that_share_memory(tmp_path):
    """Networks whose convolutions write onto their inputs are equal."""
    cases = []
    for (x, w, attributes, _), qformat in product(FORMS.values(), ("Q3.4", "Q5.7")):
        session, feeds, _ = operation(x, w, attributes, qformat)
        cases.append((session, [feeds]))
    assert differences(cases, tmp_path) == []
