"""DeformConv, Col2Im, AffineGrid and CenterCropPad against ONNX Runtime, onnx.reference and torch."""

from itertools import product
from math import prod

import numpy as np
import pytest
import torch
from model.ops.cases import NEWEST, Case, each, i64, real

import qengine


def deform(shape, filters, kernel, dtype=np.float32, *, scale=1.0, bias=False, mask=False, **attributes):
    """Return a case of DeformConv; `scale` is that of the offsets."""
    n = len(kernel)
    pads, strides = attributes.get("pads", [0] * 2 * n), attributes.get("strides", [1] * n)
    dilations = attributes.get("dilations", [1] * n)
    out = [
        (size + a + b - (k - 1) * d - 1) // s + 1
        for size, a, b, k, d, s in zip(shape[2:], pads[:n], pads[n:], kernel, dilations, strides, strict=True)
    ]
    taps = attributes.get("offset_group", 1) * prod(kernel)
    inputs = [
        real(*shape),
        real(filters, shape[1] // attributes.get("group", 1), *kernel, seed=1),
        scale * real(shape[0], taps * n, *out, seed=2),
        real(filters, seed=3) if bias else None,
        np.abs(real(shape[0], taps, *out, seed=4)) if mask else None,
    ]
    inputs = inputs[: 5 if mask else 4 if bias else 3]
    return Case(
        "DeformConv", tuple(a if a is None else a.astype(dtype) for a in inputs), attributes, rtol=1e-4, atol=1e-5
    )


ALL = slice(None)


def by_definition(case):
    """Return a DeformConv of any rank with one group, tap by tap and place by place."""
    x, w, offset = (a.astype(np.float64) for a in case.inputs)
    axes, y = w.ndim - 2, np.zeros((x.shape[0], w.shape[0], *offset.shape[2:]))
    moves = offset.reshape(x.shape[0], prod(w.shape[2:]), axes, *offset.shape[2:])
    for n, *place in np.ndindex(x.shape[0], *offset.shape[2:]):
        for t, tap in enumerate(np.ndindex(*w.shape[2:])):
            at = [o + i + m for o, i, m in zip(place, tap, moves[(n, t, ALL, *place)], strict=True)]
            for corner in product((0, 1), repeat=axes):
                cell = [int(np.floor(a)) + c for a, c in zip(at, corner, strict=True)]
                if all(0 <= c < size for c, size in zip(cell, x.shape[2:], strict=True)):
                    weight = prod(1 - abs(a - c) for a, c in zip(at, cell, strict=True))
                    y[(n, slice(None), *place)] += weight * (
                        w[(slice(None), slice(None), *tap)] @ x[(n, slice(None), *cell)]
                    )
    return y.astype(np.float32)


def any_rank(*shape_and_kernel):
    """Return a case that ONNX Runtime and onnx.reference refuse: images that are not of two axes."""
    case = deform(*shape_and_kernel)
    return Case("DeformConv", case.inputs, expected=(by_definition(case),), rtol=1e-4, atol=1e-5)


DEFORM = [
    deform((1, 2, 5, 6), 3, (3, 2)),
    deform(
        (2, 4, 7, 6),
        6,
        (3, 3),
        bias=True,
        mask=True,
        group=2,
        offset_group=2,
        pads=[1, 0, 2, 1],
        strides=[2, 1],
        dilations=[1, 2],
    ),
    deform((2, 4, 7, 6), 4, (1, 1), scale=5.0, offset_group=4, bias=True),
    deform((1, 2, 5, 6), 3, (2, 2), scale=0.0, mask=True, kernel_shape=[2, 2]),
    deform((1, 4, 5, 6), 3, (2, 2), scale=1e12),
    deform((0, 2, 5, 6), 3, (2, 2)),
    any_rank((2, 2, 7), 2, (3,)),
    any_rank((1, 2, 4, 3, 4), 3, (2, 2, 2)),
]


def folded(batch, channels, image, block, dtype=np.float32, follows="both", **attributes):
    n = len(image)
    pads, strides = attributes.get("pads", [0] * 2 * n), attributes.get("strides", [1] * n)
    dilations = attributes.get("dilations", [1] * n)
    places = prod(
        (size + a + b - (k - 1) * d - 1) // s + 1
        for size, a, b, k, d, s in zip(image, pads[:n], pads[n:], block, dilations, strides, strict=True)
    )
    x = (10 * real(batch, channels * prod(block), places)).astype(dtype)
    return Case("Col2Im", (x, i64(*image), i64(*block)), attributes, follows=follows)


COL2IM = [
    folded(1, 1, (5, 5), (1, 5)),
    folded(2, 3, (6, 7), (2, 3), pads=[1, 0, 2, 1], strides=[2, 1], dilations=[1, 2]),
    folded(1, 2, (4, 5, 3), (2, 2, 2), strides=[1, 2, 1]),
    folded(1, 2, (7,), (3,)),
    *(folded(2, 3, (5, 6), (2, 3), dtype) for dtype in (np.float64, np.int8, np.uint8, np.int64)),
    folded(2, 3, (5, 6), (2, 3), np.float16, "onnxruntime"),  # onnx.reference rounds every partial sum
    folded(0, 2, (4, 5), (2, 2), follows="onnxruntime"),  # onnx.reference has no result
]


def grid(theta, *size, align_corners=0):
    wanted = torch.nn.functional.affine_grid(torch.from_numpy(theta), size, align_corners=bool(align_corners)).numpy()
    attributes = {"align_corners": align_corners}
    return Case("AffineGrid", (theta, i64(*size)), attributes, expected=(wanted,), rtol=1e-4)


THETA2, THETA3 = real(2, 2, 3), real(2, 3, 4)
with pytest.warns(UserWarning, match="unit-size"):
    AFFINE = [
        *(grid(THETA2, 2, 3, 4, 5, align_corners=corners) for corners in (0, 1)),
        *(grid(THETA3, 2, 1, 2, 3, 4, align_corners=corners) for corners in (0, 1)),
        grid(THETA2.astype(np.float64), 2, 3, 4, 5),
        # With corners aligned, a single pixel is in the middle for torch, at -1 for onnx.reference.
        *(grid(THETA2, 2, 3, 1, 5, align_corners=corners) for corners in (0, 1)),
        *(grid(THETA3, 2, 3, 1, 1, 4, align_corners=corners) for corners in (0, 1)),
    ]
AFFINE.append(
    # onnx.reference gives float32.
    Case("AffineGrid", (THETA2.astype(np.float16), i64(2, 3, 4, 5)), follows="onnxruntime", rtol=2e-3, atol=2e-3)
)

CROP = [
    *(
        Case("CenterCropPad", (x, np.array(shape, dtype)), {"axes": axes}, follows="reference")
        for x in (real(4, 5), real(5, 4, 3), np.arange(20).reshape(4, 5), real(4, 5) > 0, real(4, 5).astype(np.float16))
        for shape, axes in (((3, 4), [0, 1]), ((7, 8), [0, 1]), ((2, 9), [1, 0]), ((7,), [-1]), ((0, 3), [0, 1]))
        for dtype in (np.int64, np.int32)  # ONNX Runtime refuses int32
    ),
    Case("CenterCropPad", (real(4, 5), i64(3, 8))),
    Case("CenterCropPad", (real(4, 7, 6), i64(7, 4, 6))),
    Case("CenterCropPad", (real(), np.zeros(0, np.int64)), follows="reference"),
]


@pytest.mark.parametrize(**each([*DEFORM, *COL2IM, *AFFINE, *CROP]))
def test_agrees_with_the_references(case, version):
    case.check(version)


def test_deform_conv_in_float16():
    wide = deform((1, 2, 5, 6), 3, (3, 2))
    narrow = tuple(a.astype(np.float16) for a in wide.inputs)
    outputs = []
    for inputs in (narrow, tuple(a.astype(np.float32) for a in narrow)):
        model, feeds = Case("DeformConv", inputs).model(NEWEST, constant=False)
        outputs += qengine.InferenceSession(model).run(None, feeds)
    np.testing.assert_array_equal(outputs[0], outputs[1].astype(np.float16))


X, W, OFFSET = deform((1, 4, 5, 6), 6, (2, 2)).inputs
COLUMNS, IMAGE, BLOCK = folded(1, 1, (5, 5), (2, 2)).inputs


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"),
    [
        ("DeformConv", (X, W, OFFSET[:, :-1]), {}, "offset has the shape"),
        ("DeformConv", (X, W, OFFSET, np.zeros(5, np.float32)), {}, "B has the shape"),
        ("DeformConv", (X, W, OFFSET, None, OFFSET), {}, "mask has the shape"),
        ("DeformConv", (X, W, OFFSET), {"group": 3}, "group 3 does not fit"),
        ("DeformConv", (X, W, OFFSET), {"offset_group": 3}, "offset_group is 3"),
        ("DeformConv", (X, W, OFFSET), {"kernel_shape": [3, 2]}, "kernel_shape .3, 2. is not"),
        ("DeformConv", (X, W, OFFSET * np.nan), {}, "NaN"),
        ("Col2Im", (COLUMNS[:, :, 1:], IMAGE, BLOCK), {}, "does not fit blocks"),
        ("Col2Im", (COLUMNS, i64(5, 2**40), BLOCK), {}, "does not fit blocks|int32|more than"),
        ("Col2Im", (COLUMNS, i64(5, -5), BLOCK), {}, "positive numbers|cannot run"),
        ("Col2Im", (COLUMNS, IMAGE, i64(2, 0)), {}, "positive numbers|cannot run"),
        ("Col2Im", (COLUMNS > 0, IMAGE, BLOCK), {}, "bool"),
        ("AffineGrid", (THETA2, i64(3, 3, 4, 5)), {}, "theta has the shape"),
        ("AffineGrid", (THETA2, i64(2, 3, -4, 5)), {}, "negative"),
        ("AffineGrid", (THETA2, i64(2, 3, 2**40, 5)), {}, "more than"),
        ("AffineGrid", (THETA2, i64(2, 3, 4)), {}, "4 or 5 are needed|must be 4"),
        ("CenterCropPad", (X, i64(3)), {}, "shape has the shape"),
        ("CenterCropPad", (X, i64(3, -1)), {"axes": [0, 1]}, "negative|cannot run"),
        ("CenterCropPad", (X, i64(3, 2)), {"axes": [0, -4]}, "occur twice|cannot run"),
        ("CenterCropPad", (X, i64(2**20, 2**20)), {"axes": [0, 1]}, "more than|int32"),
        ("CenterCropPad", (X, i64(3)), {"axes": [4]}, "out of range|cannot run"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_does_not_fit_is_an_error(operator, inputs, attributes, message):
    model, feeds = Case(operator, inputs, attributes).model(NEWEST, constant=False)
    with pytest.raises(qengine.QEngineError, match=message):
        qengine.InferenceSession(model).run(None, feeds)
