"""GridSample, beside ONNX Runtime and torch."""

import numpy as np
import pytest
import torch
from networks import network

import qengine
from qengine.errors import ModelError

from .cases import Case, each, f32, real

X, VOLUME = real(2, 3, 5, 6), real(1, 2, 3, 4, 5)
GRID = 1.4 * np.random.default_rng(3).uniform(-1, 1, (2, 4, 7, 2)).astype(np.float32)
DEEP = 1.4 * np.random.default_rng(4).uniform(-1, 1, (1, 2, 3, 4, 3)).astype(np.float32)
ENDS = f32(-1, -1, 1, 1, 1, -1, 0, 0, -1e9, 3, 1e9, -3).reshape(1, 2, 3, 2)
PADDINGS = ("zeros", "border", "reflection")
OLD_MODES = ("bilinear", "nearest", "bicubic")

CASES = [
    *(
        Case(
            "GridSample",
            (x, grid),
            {"mode": mode, "padding_mode": padding, "align_corners": corners},
            opsets=opsets,
            # onnx.reference has the new names of the modes alone, and reads the wrong cells beyond the border in cubic.
            follows="onnxruntime",
            rtol=1e-4,
            atol=1e-5,
        )
        for opsets, modes in (((16, 19), OLD_MODES), ((20, 28), ("linear", "nearest", "cubic")))
        for mode in modes
        for padding in PADDINGS
        for corners in (0, 1)
        for x, grid in ((X, GRID), (VOLUME, DEEP))
        if x is X or (opsets[0] == 20 and mode != "cubic")
    ),
    Case("GridSample", (X[:1], ENDS), follows="onnxruntime", opsets=(16, 28)),
    Case("GridSample", (X[:1, :, :1, :1], ENDS), {"padding_mode": "reflection", "align_corners": 1}, opsets=(16, 28),
         expected=(np.broadcast_to(X[:1, :, :1, :1], (1, 3, 2, 3)),)),
]  # fmt: skip


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", OLD_MODES)
def test_agrees_with_torch(mode, padding, corners):
    attributes = {"mode": mode, "padding_mode": padding, "align_corners": int(corners)}
    built = network([("GridSample", "x g", "y", attributes)], inputs={"x": [2, 3, 5, 6], "g": [2, 4, 7, 2]})
    (found,) = qengine.InferenceSession(built).run(None, {"x": X, "g": GRID})
    wanted = torch.nn.functional.grid_sample(
        torch.from_numpy(X), torch.from_numpy(GRID), mode=mode, padding_mode=padding, align_corners=corners
    )
    np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=1e-5)


def test_in_fixed_point_it_is_an_island():
    built = network([("GridSample", "x g", "y")], inputs={"x": [2, 3, 5, 6], "g": [2, 4, 7, 2]})
    session = qengine.InferenceSession(built, qformat="Q3.12")
    (codes,) = session.run(None, {"x": X, "g": GRID}, raw=True)
    rounded = {name: np.float32(np.rint(array * 2.0**12) / 2.0**12) for name, array in (("x", X), ("g", GRID))}
    (real_numbers,) = qengine.InferenceSession(built).run(None, rounded)
    np.testing.assert_array_equal(codes, np.rint(real_numbers * 2.0**12).astype(np.int16))


@pytest.mark.parametrize(
    ("attributes", "grid", "reason"),
    [
        ({"mode": "linear"}, (2, 4, 7, 2), "mode 'linear' with padding_mode 'zeros' does not exist in ONNX"),
        ({"padding_mode": "wrap"}, (2, 4, 7, 2), "padding_mode 'wrap' does not exist"),
        ({}, (2, 4, 7, 3), r"grid \[2, 4, 7, 3\] does not fit"),
        ({}, (1, 4, 7, 2), "does not fit an input"),
    ],
)
def test_what_onnx_does_not_allow(attributes, grid, reason):
    built = network([("GridSample", "x g", "y", attributes)], inputs={"x": [2, 3, 5, 6], "g": [None] * 4})
    with pytest.raises(ModelError, match=reason):
        qengine.InferenceSession(built).run(None, {"x": X, "g": np.zeros(grid, np.float32)})
