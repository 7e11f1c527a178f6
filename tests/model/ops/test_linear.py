import numpy as np
import pytest
import torch
from networks import network

import qengine

from .cases import Case, each, f32, real


def conv(x, w, bias=True, follows="both", **attributes):
    """With weights of shape w for an input of shape x."""
    arrays = (real(*x), real(*w, seed=1)) + ((real(w[0], seed=2),) if bias else ())
    return Case("Conv", arrays, attributes, rtol=1e-4, atol=1e-5, follows=follows)


def transposed(x, w, group=1, bias=True, follows="both", **attributes):
    arrays = (real(*x), real(*w, seed=1)) + ((real(w[1] * group, seed=2),) if bias else ())
    if group > 1:
        attributes["group"] = group
    return Case("ConvTranspose", arrays, attributes, rtol=1e-4, atol=1e-5, follows=follows)


def gemm(a, b, c=None, **attributes):
    arrays = (real(*a), real(*b, seed=1)) + (() if c is None else (real(*c, seed=2),))
    return Case("Gemm", arrays, attributes, rtol=1e-4, atol=1e-5)


def matmul(a, b):
    return Case("MatMul", (real(*a), real(*b, seed=1)), rtol=1e-4, atol=1e-5)


STATISTICS = (real(3, seed=1), real(3, seed=2), real(3, seed=3), f32(0.5, 2.0, 0.01))

CASES = [
    conv((1, 2, 7), (3, 2, 3)),
    conv((2, 2, 7), (3, 2, 3), pads=[2, 1], strides=[2], dilations=[2]),
    conv((2, 3, 6, 5), (4, 3, 3, 3)),
    conv((2, 3, 6, 5), (4, 3, 3, 3), bias=False),
    conv((1, 3, 6, 5), (4, 3, 1, 1)),
    conv((1, 3, 6, 5), (4, 3, 3, 2), kernel_shape=[3, 2]),
    conv((1, 3, 9, 8), (4, 3, 3, 2), strides=[2, 3]),
    conv((1, 3, 9, 8), (4, 3, 3, 2), dilations=[2, 3]),
    conv((1, 3, 6, 5), (4, 3, 3, 3), pads=[1, 0, 2, 3]),
    conv((1, 3, 2, 2), (4, 3, 5, 5), pads=[2, 2, 2, 2]),
    *(
        # ONNX Runtime refuses dilations with SAME, which ONNX does not forbid.
        conv(
            (1, 3, *size),
            (2, 3, *kernel),
            follows="reference" if "SAME" in auto_pad and dilations != [1, 1] else "both",
            auto_pad=auto_pad,
            strides=strides,
            dilations=dilations,
        )
        for auto_pad in ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
        for size, kernel, strides, dilations in (
            ((7, 6), (3, 3), [1, 1], [1, 1]),
            ((7, 6), (2, 4), [2, 3], [1, 1]),
            ((8, 7), (3, 2), [2, 2], [2, 1]),
            ((5, 5), (1, 1), [3, 2], [1, 1]),
        )
    ),
    conv((1, 4, 5, 5), (6, 2, 3, 3), group=2),
    conv((2, 4, 5, 5), (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    conv((1, 3, 5, 5), (6, 1, 3, 3), group=3, strides=[2, 2]),
    conv((1, 2, 4, 5, 3), (3, 2, 2, 3, 2), pads=[1, 0, 1, 0, 1, 0], strides=[1, 2, 1]),
    conv((1, 2, 3, 3, 3, 3), (2, 2, 2, 2, 2, 2)),
    conv((0, 3, 6, 5), (4, 3, 3, 3)),
    Case("Conv", (real(1, 2, 4, 4).astype(np.float64), real(1, 2, 3, 3).astype(np.float64))),
    Case("Conv", (real(1, 2, 4, 4).astype(np.float16), real(1, 2, 3, 3).astype(np.float16)), rtol=1e-2, atol=1e-2),
    transposed((1, 2, 5), (2, 3, 3)),
    transposed((1, 2, 5), (2, 3, 4), strides=[3], pads=[2, 1], dilations=[2], output_padding=[2]),
    transposed((2, 3, 4, 3), (3, 2, 3, 3)),
    transposed((2, 3, 4, 3), (3, 2, 3, 3), bias=False, kernel_shape=[3, 3]),
    transposed((1, 3, 4, 3), (3, 2, 3, 2), strides=[2, 3]),
    transposed((1, 3, 4, 3), (3, 2, 2, 2), strides=[4, 3]),  # gaps that only the bias fills
    transposed((1, 3, 4, 3), (3, 2, 3, 2), dilations=[2, 3]),
    transposed((1, 3, 4, 3), (3, 2, 3, 2), pads=[1, 0, 2, 1], strides=[2, 2]),
    transposed((1, 3, 4, 3), (3, 2, 3, 2), output_padding=[1, 0], strides=[2, 2]),
    *(
        transposed((1, 2, 4, 3), (2, 2, *kernel), auto_pad=auto_pad, strides=[2, 2])
        for auto_pad in ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
        for kernel in ((3, 4), (2, 2), (5, 3))
    ),
    # A stride longer than the kernel needs padding of the output; ONNX Runtime returns a smaller image here.
    transposed((1, 2, 3, 3), (2, 2, 3, 3), auto_pad="SAME_UPPER", strides=[4, 4], follows="reference"),
    transposed((1, 2, 4, 3), (2, 2, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2], output_shape=[8, 5]),
    transposed((1, 2, 4, 3), (2, 2, 3, 3), auto_pad="SAME_LOWER", strides=[2, 2], output_shape=[7, 6]),
    # onnx.reference ignores output_shape without auto_pad.
    transposed((1, 2, 4, 3), (2, 2, 3, 3), strides=[2, 2], output_shape=[8, 6], follows="onnxruntime"),
    transposed((1, 2, 4, 3), (2, 2, 3, 3), strides=[2, 2], output_shape=[10, 8], follows="onnxruntime"),
    transposed(
        (1, 2, 4, 3), (2, 2, 3, 3), strides=[2, 2], output_shape=[8, 6], output_padding=[1, 1], follows="onnxruntime"
    ),
    # onnx.reference fails for groups, or mixes them up.
    transposed((1, 4, 4, 3), (4, 3, 3, 3), group=2, strides=[2, 2], follows="onnxruntime"),
    transposed((1, 4, 4, 3), (4, 1, 2, 2), group=4, follows="onnxruntime"),
    transposed(
        (1, 4, 4, 3), (4, 2, 3, 2), group=2, dilations=[2, 2], pads=[1, 1, 0, 0], bias=False, follows="onnxruntime"
    ),
    transposed((1, 2, 3, 2, 3), (2, 2, 2, 2, 3), strides=[2, 1, 2], pads=[0, 1, 0, 1, 0, 1]),
    transposed((0, 2, 4, 3), (2, 2, 3, 3), follows="onnxruntime"),  # onnx.reference fails
    *(
        gemm(a, b, c, transA=ta, transB=tb)
        for ta, a in ((0, (2, 3)), (1, (3, 2)))
        for tb, b in ((0, (3, 4)), (1, (4, 3)))
        for c in (None, (), (1,), (4,), (1, 4), (2, 1), (2, 4))
    ),
    gemm((2, 3), (3, 4), (4,), alpha=0.5),
    gemm((2, 3), (3, 4), (4,), beta=-2.0),
    gemm((2, 3), (3, 4), (2, 4), alpha=0.25, beta=0.5, transB=0),
    gemm((3, 2), (4, 3), (2, 1), alpha=0.25, beta=0.0, transA=1, transB=1),
    gemm((2, 3), (3, 4), alpha=3.0, beta=2.0),
    gemm((0, 3), (3, 4), (4,)),
    gemm((2, 0), (0, 4), (4,)),
    *(
        matmul(a, b)
        for a, b in (
            ((3,), (3,)),
            ((2, 3), (3,)),
            ((3,), (3, 4)),
            ((2, 3), (3, 4)),
            ((5, 2, 3), (3, 4)),
            ((5, 2, 3), (5, 3, 4)),
            ((2, 1, 2, 3), (5, 3, 4)),
            ((2, 3), (5, 3, 4)),
            ((3,), (5, 3, 4)),
            ((5, 2, 3), (3,)),
            ((0, 3), (3, 4)),
        )
    ),
    Case("MatMul", (np.array([[1, 2], [3, -4]], np.int32), np.array([[5, 6], [7, 8]], np.int32))),
    # Before opset 14 onnx.reference takes the statistics for those of training, or fails.
    *(
        Case("BatchNormalization", inputs, attributes, rtol=1e-4, atol=1e-5, opsets=opsets, follows=follows)
        for opsets, follows in (((7, 13), "onnxruntime"), ((14, 28), "both"))
        for inputs, attributes in (
            ((real(2, 3), *STATISTICS), {}),
            ((real(2, 3, 4), *STATISTICS), {"epsilon": 0.25}),
            ((real(2, 3, 4, 5), *STATISTICS), {"epsilon": 0.25, "momentum": 0.5}),
            ((real(0, 3, 4), *STATISTICS), {}),
        )
    ),
    Case("BatchNormalization", (real(2, 3, 4), *STATISTICS), {"spatial": 1}, atol=1e-5, follows="onnxruntime"),
    # onnx.reference takes the statistics of the batch, one for each channel.
    Case(
        "BatchNormalization",
        (real(2, 3, 4), *(np.abs(real(3, 4, seed=s)) + np.float32(0.5) for s in range(4))),
        {"spatial": 0},
        atol=1e-5,
        follows="onnxruntime",
    ),
    Case("BatchNormalization", (real(2, 3, 4), *STATISTICS), {"training_mode": 0}, atol=1e-5),
    # Statistics of the batch; ONNX Runtime's running variance is that of a sample.
    Case(
        "BatchNormalization",
        (real(2, 3, 4), *STATISTICS),
        {"training_mode": 1, "momentum": 0.7, "epsilon": 0.25},
        outputs=3,
        follows="reference",
        atol=1e-5,
    ),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize(("stride", "dilation", "extra"), [((1, 1), (3, 2), (2, 1)), ((2, 3), (1, 2), (1, 2))])
def test_output_padding_of_a_transposed_convolution_agrees_with_torch(group, stride, dilation, extra):
    # Both references refuse an output padding that only the dilation allows.
    x, w, b = real(1, 4, 4, 3), real(4, 2, 3, 2, seed=1), real(2 * group, seed=2)
    attributes = {
        "strides": stride, "dilations": dilation, "output_padding": extra, "pads": [1, 0, 1, 0], "group": group
    }  # fmt: skip
    wanted = torch.nn.functional.conv_transpose2d(
        *map(torch.tensor, (x, w, b)), stride, (1, 0), extra, group, dilation
    ).numpy()
    model, feeds = Case("ConvTranspose", (x, w, b), attributes).model(17, constant=True)
    np.testing.assert_allclose(qengine.InferenceSession(model).run(None, feeds)[0], wanted, 1e-4, 1e-5)


def test_more_outputs_than_one_say_that_a_batchnorm_trains():
    x = real(2, 3, 4, 5)
    names = ("scale", "b", "mean", "var")
    built = network(
        [("BatchNormalization", "x scale b mean var", "y m v sm sv", {"momentum": 0.75})],
        inputs={"x": list(x.shape)},
        outputs=("y", "m", "v", "sm", "sv"),
        constants=dict(zip(names, STATISTICS, strict=True)),
        opset=11,
    )
    y, *others = qengine.InferenceSession(built).run(None, {"x": x})
    scale, b, mean, var = STATISTICS
    norm = torch.nn.functional.batch_norm(
        torch.from_numpy(x), None, None, torch.from_numpy(scale), torch.from_numpy(b), training=True
    )
    np.testing.assert_allclose(y, norm.numpy(), rtol=0, atol=1e-5)
    centre, spread = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    wanted = (0.75 * mean + 0.25 * centre, 0.75 * var + 0.25 * spread, centre, spread)
    for found, expected in zip(others, wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
