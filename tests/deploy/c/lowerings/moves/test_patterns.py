"""OneHot, Hardmax, EyeLike, Trilu, CenterCropPad and running sums in C beside the reference."""

import numpy as np
import pytest
from deploy.c.lowerings.element_cases import IMAGES, case, image_weights, mixed_formats
from deploy.c.lowerings.elements.test_integers import ends, folder, integers
from deploy.c.running import SANITIZED, differences, needs_gcc

from qengine.deploy.c.network import network_of
from qengine.errors import UnsupportedError

pytestmark = needs_gcc


def test_patterns(tmp_path):
    """Every axis, of codes whose channels are last in memory, and of integers."""
    weights, cases = image_weights(3, 3), []
    for axis in range(4):
        hot = ("OneHot", "i d v", "y", {"axis": axis - 4})
        values = {"d": np.array(3), "v": np.array([-1.3, 1.7], np.float32)}
        index = ("ArgMax", "x", "i", {"axis": 1, "keepdims": 0})
        cases.append(case([index, hot], {"x": [2, 5, 3, 4]}, values, number=axis))
        cases.append(case([IMAGES, ("Hardmax", "z", "y", {"axis": axis})], {"x": [2, 3, 4, 5]}, weights, number=axis))
        upper = ("Trilu", "z k", "y", {"upper": axis % 2})
        cases.append(case([IMAGES, upper], {"x": [2, 3, 4, 5]}, {"k": np.array(axis - 1), **weights}, number=axis))
        size = {"s": np.array([6, 3]), **weights}
        cropped = ("CenterCropPad", "z s", "y", {"axes": [axis, (axis + 1) % 4]})
        cases.append(case([IMAGES, cropped], {"x": [2, 3, 4, 5]}, size, number=axis))
    cases.append(case([("EyeLike", "x", "y", {"k": 1})], {"x": [3, 4]}))
    cases.append(case([("Hardmax", "x", "y", {"axis": 1})], {"x": [3, 4, 2]}, opset=11))
    cases.append(integers([("Trilu", "x", "y")], {"x": ends(np.int64, (3, 4), 0)}))
    assert differences(cases[:4], folder(tmp_path), SANITIZED) + differences(cases[4:], tmp_path) == []


def test_running_sums(tmp_path):
    """Sums of codes in every rounding, and of integers, which wrap."""
    cases, given = [], {"exclusive": (0, 1), "reverse": (0, 1)}
    for number in range(12):
        attributes = {name: values[number >> k & 1] for k, (name, values) in enumerate(given.items())}
        formats = mixed_formats(["z", "y"], number)
        constants = {"a": np.array(number % 4), **image_weights(3, 3)}
        nodes = [IMAGES, ("CumSum", "z a", "y", attributes)]
        shape = {"x": [2, 3, 4, 5]}
        cases.append(case(nodes, shape, constants, number=number, formats=formats, qformat="Q3.4"))
    for dtype in (np.int32, np.int64, np.uint64):
        nodes = [("CumSum", "x a", "y", {"reverse": 1}), ("CumProd", "x a", "p", {"exclusive": 1})]
        x = {"x": ends(dtype, (2, 3, 4), 3)}
        cases.append(integers(nodes, x, {"a": np.array(1)}, ("y", "p"), opset=26))
    assert differences(cases, tmp_path) == []


def test_long_sums_are_refused():
    """A sum that float32 rounds is an error."""
    session, runs = case([("CumSum", "x a", "y")], {"x": [1025]}, {"a": np.array(0)}, qformat="Q7.8")
    with pytest.raises(UnsupportedError, match="CumSum 'the_y': sums up to 33587200 are not exact in float32"):
        network_of(session, runs[0])
