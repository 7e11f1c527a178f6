"""Linear and cubic Resize in C beside the reference: axes, coordinates, taps beyond the edges, orders in memory."""

import numpy as np
import pytest
from deploy.c.lowerings.element_cases import IMAGES, case, image_weights
from deploy.c.running import SANITIZED, differences, needs_gcc, with_sanitizers

from qengine.deploy.c.lowerings.moves.resize import AxisTaps, first_cells
from qengine.deploy.c.network import network_of
from qengine.kernels.reference.resize import ResizeTaps

pytestmark = needs_gcc

REGION = np.array([0, 0, -0.2, 0.1, 1, 1, 0.8, 1.3], np.float32)
# shape, scales, attributes
SIZES = {
    "twice": ([2, 3, 4, 5], [1, 1, 2, 2], {}),
    "ends": ([2, 3, 4, 5], [1, 1, 3, 1.5], {"coordinate_transformation_mode": "align_corners"}),
    "antialias": ([2, 3, 7, 9], [1, 1, 0.5, 0.7], {"antialias": 1}),
    "inside": ([2, 3, 7, 9], [1, 1, 0.5, 1.3], {"exclude_outside": 1}),
    "region": (
        [2, 3, 4, 5],
        [1, 1, 2, 2],
        {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 1.3},
    ),
    "columns": ([1, 3, 4, 5], [1, 1, 1, 2.6], {"coordinate_transformation_mode": "pytorch_half_pixel"}),
    "signal": ([1, 3, 5], [1, 1, 2], {"coordinate_transformation_mode": "asymmetric"}),
    "channels": ([1, 3, 4, 5], [1, 2, 1, 2], {}),
    "batch": ([2, 3, 4], [2, 1, 1], {}),
    "volume": ([1, 2, 3, 4, 5], [1, 1, 2, 1.5, 2], {}),
    "nothing": ([2, 3, 4, 5], [1, 1, 1, 1], {}),
    "one cell": ([1, 2, 1, 1], [1, 1, 3, 2], {}),
}


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("images", [False, True])
@with_sanitizers
def test_resized(tmp_path, mode, images, flags):
    """Every size, of an input in ONNX's order and of one with channels last."""
    cases = []
    for number, (shape, scales, attributes) in enumerate(SIZES.values()):
        if images and len(shape) == 5:
            continue
        constants = {"s": np.array(scales, np.float32)} | (image_weights(4, shape[1], len(shape) - 2) if images else {})
        region = (
            "coordinate_transformation_mode" in attributes and "crop" in attributes["coordinate_transformation_mode"]
        )
        constants |= {"roi": REGION} if region else {}
        node = ("Resize", f"{'z' if images else 'x'} {'roi' if region else '-'} s", "q", {"mode": mode, **attributes})
        nodes = [*([IMAGES] if images else []), node, ("Neg", "q", "y")]
        cases.append(case(nodes, {"x": shape}, constants, number=number, opset=19))
    assert differences(cases, tmp_path, flags) == []


def test_far_weights(tmp_path):
    """Weights beyond 16 bits, and sums beyond 32."""
    attributes = {"mode": "cubic", "cubic_coeff_a": -9.5}
    constants = {"s": np.array([1, 1, 2, 2], np.float32)}
    cases = [
        case([("Resize", "x - s", "y", attributes)], {"x": [1, 2, 4, 5]}, constants, qformat=fmt, number=n)
        for n, fmt in enumerate(("Q3.4", "Q3.12", "UQ4.12"))
    ]
    assert differences(cases, tmp_path, SANITIZED) == []


def test_one_period_is_stored():
    """Of a rational scale the taps of one period are kept, whatever the length."""

    def constants(length):
        inputs = {"x": [1, 3, length, length]}
        node = ("Resize", "x - s", "y", {"mode": "cubic"})
        session, (first, _) = case([node], inputs, {"s": np.array([1, 1, 3, 3], np.float32)}, qformat="Q3.4")
        return sum(one.array.nbytes for one in network_of(session, first).operations[0].constants)

    assert constants(40) == constants(10) <= 2 * 3 * (2 + 4 * 2)


@pytest.mark.parametrize(
    ("cells", "size", "first"),
    [
        ([0, 1], 5, 0),
        ([0, 0], 5, -1),
        ([0, 0, 0, 1], 5, -2),
        ([4, 4], 5, 4),
        ([3, 4, 4, 4], 5, 3),
        ([0, 0], 1, -1),
        ([0, 0, 1, 1], 2, -1),
    ],
)
def test_first_cells(cells, size, first):
    """The first cell lies outside where taps beyond the edge read it."""
    assert first_cells(np.array([cells]), size).tolist() == [first]


def test_period_of_taps():
    """The shortest period is found, and none where weights differ at the edge."""
    index = np.array([[0, 0], [0, 1], [0, 1], [1, 2], [1, 2], [2, 2]])
    weights = np.array([[1, 3], [3, 1], [1, 3], [3, 1], [1, 3], [3, 1]])
    taps = AxisTaps.of(0, 3, ResizeTaps(index, weights, None))
    assert (taps.first.tolist(), taps.advance) == ([-1, 0], 1)
    weights[0] = 0, 4
    assert AxisTaps.of(0, 3, ResizeTaps(index, weights, None)).first.size == 6
