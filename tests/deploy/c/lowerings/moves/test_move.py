"""Moves in C beside the reference: every operator that rearranges, bounds, or picks; ONNX's order and channels last."""

import numpy as np
import pytest
from deploy.c.lowerings.element_cases import IMAGES, case, feeds, image_weights
from deploy.c.running import SANITIZED, differences, needs_gcc, with_sanitizers
from networks import network

from qengine import InferenceSession
from qengine.deploy.c.ir import CNetwork
from qengine.deploy.c.network import network_of
from qengine.errors import UnsupportedError

pytestmark = needs_gcc


def whole(*numbers):
    return np.array(numbers, np.int64)


# operator, constants after its first input (None: left out), attributes
ON_IMAGES = {
    "transpose": ("Transpose", (), {"perm": [0, 2, 3, 1]}),
    "transpose all": ("Transpose", (), {"perm": [3, 1, 0, 2]}),
    "reverse": ("Slice", (whole(1, 5), whole(100, -100), whole(1, 3), whole(2, -2)), {}),
    "cut": ("Slice", (whole(1), whole(3), whole(2)), {}),
    "pad": ("Pad", (whole(0, 0, 1, 2, 0, 0, 2, 1), np.float32(1.3)), {}),
    "pad channels": ("Pad", (whole(0, 1, 0, 0, 1, 2, 0, 0),), {}),
    "crop and pad": ("Pad", (whole(0, 0, -1, 2, 0, 0, 2, -1),), {}),
    "pad with nothing left": ("Pad", (whole(0, 0, -4, 0, 0, 0, 2, 0), np.float32(2)), {}),
    "reflect": ("Pad", (whole(0, 1, 1, 2, 0, 0, 2, 1),), {"mode": "reflect"}),
    "edge": ("Pad", (whole(0, 0, 1, 2, 0, 0, 2, 1),), {"mode": "edge"}),
    "wrap": ("Pad", (whole(0, 0, 1, 2, 0, 0, 2, 1),), {"mode": "wrap"}),
    "tile": ("Tile", (whole(1, 2, 1, 3),), {}),
    "expand": ("Expand", (whole(2, 2, 4, 4, 6),), {}),
    "gather channels": ("Gather", (np.array([[0, -1], [3, 1]]),), {"axis": 1}),
    "gather rows": ("Gather", (whole(3, 3, 0),), {"axis": 2}),
    "gather one": ("Gather", (np.array(-2),), {"axis": 3}),
    "gather elements": ("GatherElements", (np.random.default_rng(3).integers(-4, 4, (2, 3, 4, 6)),), {"axis": 1}),
    "gather of pairs": ("GatherND", (np.array([[0, 1], [1, 3], [1, -1]]),), {}),
    "reverse sequence": ("ReverseSequence", (whole(3, 1),), {"time_axis": 1, "batch_axis": 0}),
    "blocks to pixels": ("DepthToSpace", (), {"blocksize": 2}),
    "blocks to pixels, channels first": ("DepthToSpace", (), {"blocksize": 2, "mode": "CRD"}),
    "pixels to blocks": ("SpaceToDepth", (), {"blocksize": 2}),
    "reshape": ("Reshape", (whole(2, 3, -1),), {}),
    "flatten": ("Flatten", (), {}),
    "identity": ("Identity", (), {}),
    "relu": ("Relu", (), {}),
    "clip": ("Clip", (np.float32(-0.5), np.float32(2.3)), {}),
    "clip to one number": ("Clip", (np.float32(2), np.float32(-1)), {}),
    "twice": ("Resize", (None, np.array([1, 1, 2, 2], np.float32)), {"mode": "nearest"}),
    "other lengths": ("Resize", (None, np.array([1, 1, 1.6, 2.3], np.float32)), {"mode": "nearest"}),
    "smaller": ("Resize", (None, np.array([1, 0.5, 0.6, 0.4], np.float32)), {"mode": "nearest"}),
}


def _spelled(operator, constants, source):
    named = {f"c{i}": value for i, value in enumerate(constants) if value is not None}
    names = " ".join([source, *(f"c{i}" if value is not None else "-" for i, value in enumerate(constants))])
    return (operator, names, "q"), named


@pytest.mark.parametrize("images", [False, True])
@with_sanitizers
def test_rearranging(tmp_path, images, flags):
    """Every operator gives the elements of the reference, of an input in ONNX's order and of one with channels last."""
    cases = []
    for number, (operator, constants, attributes) in enumerate(ON_IMAGES.values()):
        node, named = _spelled(operator, constants, "z" if images else "x")
        first = [IMAGES] if images else []
        named |= image_weights(4, 4) if images else {}
        nodes = [*first, (*node, attributes), ("Neg", "q", "y")]
        cases.append(case(nodes, {"x": [2, 4, 4, 6]}, named, number=number, opset=19))
    assert differences(cases, tmp_path, flags) == []


def test_extrapolated_nearest(tmp_path):
    """What lies outside of the region of interest is the fill."""
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 1.4}
    region = np.array([0, 0, -0.3, 0.1, 1, 1, 0.9, 1.6], np.float32)
    constants = {"roi": region, "s": np.array([1, 1, 2, 1.5], np.float32)}
    one = case([("Resize", "x roi s", "y", attributes)], {"x": [2, 3, 4, 6]}, constants)
    assert differences([one], tmp_path, SANITIZED) == []


# attributes, spatial lengths
WINDOWS = {
    "halves": ({"kernel_shape": [2, 2], "strides": [2, 2]}, [6, 8]),
    "overlapping": ({"kernel_shape": [3, 3], "strides": [2, 1], "pads": [1, 0, 1, 2], "dilations": [2, 2]}, [7, 8]),
    "rounded up": ({"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 1, 0, 0], "ceil_mode": 1}, [7, 9]),
    "signal": ({"kernel_shape": [3], "strides": [2]}, [9]),
    "volume": ({"kernel_shape": [2, 1, 3], "strides": [2, 1, 1]}, [4, 3, 5]),
}


@with_sanitizers
def test_max_pool(tmp_path, flags):
    """Windows in ONNX's order and with channels last, whole and at the edges."""
    cases = []
    for number, (attributes, lengths) in enumerate(WINDOWS.values()):
        shape = [2, 3, *lengths]
        cases.append(case([("MaxPool", "x", "y", attributes)], {"x": shape}, number=number))
        if len(lengths) < 3:
            nodes = [IMAGES, ("MaxPool", "z", "q", attributes), ("Neg", "q", "y")]
            cases.append(case(nodes, {"x": shape}, image_weights(5, 3, len(lengths)), number=number))
    assert differences(cases, tmp_path, flags) == []


@pytest.mark.parametrize("qformat", ["Q1.1", "Q3.12"])
@with_sanitizers
def test_places_of_max_pool(tmp_path, qformat, flags):
    """The first of equal elements counts; rows or columns are counted first."""
    cases = [
        case(
            [("MaxPool", "x", "y i", {**attributes, "storage_order": order})],
            {"x": [2, 3, *lengths]},
            outputs=("y", "i"),
            qformat=qformat,
        )
        for attributes, lengths in WINDOWS.values()
        for order in (0, 1)
    ]
    assert differences(cases, tmp_path, flags) == []


def test_extremes_over_axes(tmp_path):
    """ReduceMax and ReduceMin over any axes, and where the elements are, of equal ones the first or the last."""
    cases, shape = [], {"x": [2, 3, 4, 5]}
    for number, axes in enumerate(([0], [1], [0, 2], [1, 3], [2, 3], [0, 1, 2, 3])):
        operator = ("ReduceMax", "ReduceMin")[number % 2]
        node = (operator, "z axes", "y", {"keepdims": number // 2 % 2})
        constants = {"axes": whole(*axes)} | image_weights(3, 3)
        cases.append(case([IMAGES, node], shape, constants, number=number))
    for axis in range(4):
        for last in (0, 1):
            attributes = {"axis": axis, "keepdims": last, "select_last_index": (axis + last) % 2}
            operator = ("ArgMax", "ArgMin")[axis // 2]
            cases.append(case([IMAGES, (operator, "z", "y", attributes)], shape, image_weights(3, 3), qformat="Q1.0"))
    cases.append(case([IMAGES, ("GlobalMaxPool", "z", "y")], shape, image_weights(3, 3)))
    assert differences(cases, tmp_path) == []


def test_computed_indices(tmp_path):
    """A Gather by what an ArgMax found, of a constant and of the input."""
    first = ("ArgMax", "x", "i", {"axis": 1, "keepdims": 0})
    table = {"t": np.arange(20, dtype=np.float32).reshape(2, 5, 2) / 8}
    cases = [
        case([first, ("Gather", "t i", "y", {"axis": 1})], {"x": [3, 5]}, table),
        case([first, ("Gather", "x i", "y", {"axis": 1})], {"x": [3, 5]}, number=1),
        case([first, ("Gather", "x i", "y", {"axis": 0})], {"x": [5, 5, 2]}, number=2),
    ]
    assert differences(cases, tmp_path, SANITIZED) == []


def test_indices_out_of_range_stay_inside(tmp_path):
    """An index that the runtime refuses is brought to an end of the axis."""
    model = network([("Gather", "x i", "y")], inputs={"x": [4, 2], "i": (np.int64, [3])})
    session = InferenceSession(model, qformat="Q3.4", isa="reference")
    call = _lowered(session, {"x": np.zeros((4, 2), np.float32), "i": whole(0, 1, 2)}).operations[0]
    assert call.comments == ("an index outside of the axis is brought to its nearest end",)


def _lowered(session, given) -> CNetwork:
    return network_of(session, given)


def _kernels(nodes, inputs, constants=None, qformat="Q3.4"):
    session, (first, _) = case(nodes, inputs, constants, qformat=qformat)
    return [[call.kernel for call in one.calls] for one in _lowered(session, first).operations]


def test_views_are_no_code():
    """What lies in memory as it is needs no code: a Reshape, a part of an outer axis, channels moved to the end."""
    constants = {"s": whole(2, -1), "b": whole(0, 1), "e": whole(9, 3), "a": whole(0, 2)} | image_weights(4, 3)
    assert _kernels([("Reshape", "x s", "q"), ("Neg", "q", "y")], {"x": [2, 3, 4]}, constants)[0] == []
    assert _kernels([("Slice", "x b e a", "q"), ("Neg", "q", "y")], {"x": [1, 1, 4, 2]}, constants)[0] == []
    nodes = [IMAGES, ("Transpose", "z", "q", {"perm": [0, 2, 3, 1]}), ("Neg", "q", "y")]
    assert _kernels(nodes, {"x": [1, 3, 5, 4]}, constants)[1] == []


def test_kernel_of_each_map():
    """A regular move is nested loops, and only an irregular one reads tables."""
    index = {"i": whole(3, 0, 1)}
    assert _kernels([("Transpose", "x", "y", {"perm": [1, 0]})], {"x": [3, 4]}) == [["rearrange"]]
    assert _kernels([("Gather", "x i", "y", {"axis": 1})], {"x": [2, 4, 3]}, index) == [["pick"]]
    padded = {"p": whole(1, 2, 1, 0)}
    assert _kernels([("Pad", "x p", "y")], {"x": [3, 4]}, padded) == [["fill", "rearrange"]]
    assert _kernels([("Relu", "x", "y")], {"x": [3]}, qformat="UQ4.4") == [["copy"]]


def test_overlaps_are_exact():
    """An output may lie as far on its input as no element is overwritten before it is read."""
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    session, (first, _) = case([("MaxPool", "x", "y", pool)], {"x": [1, 2, 8, 6]}, qformat="Q3.4")
    assert _lowered(session, first).operations[0].overlap == (-1,)
    nodes = [IMAGES, ("MaxPool", "z", "q", pool), ("Add", "q q", "y")]
    session, (first, _) = case(nodes, {"x": [1, 2, 8, 6]}, image_weights(4, 2), qformat="Q3.4")
    assert _lowered(session, first).operations[1].overlap == (-4,)


@pytest.mark.parametrize(
    ("nodes", "inputs", "named"),
    [
        ([("LpPool", "x", "y", {"kernel_shape": [2, 2]})], {"x": [1, 2, 4, 4]}, "LpPool 'the_y'"),
        ([("MaxPool", "x", "y", {"kernel_shape": [1, 1, 1, 2]})], {"x": [1, 2, 3, 3, 3, 3]}, "4 axes, C has 3"),
    ],
)
def test_refused_by_name(nodes, inputs, named):
    """What C does not compute is an error before a file is written."""
    session = InferenceSession(network(nodes, inputs=inputs, opset=18), qformat="Q3.4", isa="reference")
    with pytest.raises(UnsupportedError, match=named):
        network_of(session, feeds(inputs, 0))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("Clip", -3.0, -1.0), ("Relu",)),
        (("Clip", 1.0, 3.0), ("Clip", None, 0.5)),
        (("Clip", -2.0, -1.0), ("Clip", -0.5)),
    ],
)
def test_a_bound_beyond_all_codes(first, second, tmp_path):
    """The known ends of an input give the bound that an operator does not name; they must not cross the other one."""
    nodes, constants = [], {}
    for number, (operator, *bounds) in enumerate((first, second)):
        source = ("x", "t")[number]
        names = [source, *(f"b{number}{i}" if bound is not None else "-" for i, bound in enumerate(bounds))]
        constants |= {f"b{number}{i}": bound for i, bound in enumerate(bounds) if bound is not None}
        nodes.append((operator, " ".join(names), ("a", "y")[number]))
    nodes.insert(1, ("Transpose", "a", "t", {"perm": [0, 2, 1]}))
    model = network(nodes, inputs={"x": [2, 3, 4]}, outputs=("a", "t", "y"), constants=constants)
    fed = {"x": np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)}
    assert differences([(InferenceSession(model, qformat="Q3.4"), [fed])], tmp_path) == []
