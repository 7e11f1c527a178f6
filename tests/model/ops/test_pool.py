from dataclasses import replace

import numpy as np
import pytest
import torch

import qengine

from .cases import Case, each, real

X1, X2, X3 = real(2, 3, 9), real(1, 2, 8, 7), real(1, 2, 5, 4, 6)


def pools(x, kernel, follows="both", **attributes):
    """Both kinds, and for averages both ways of counting."""
    attributes = {"kernel_shape": kernel, **attributes}
    count = {"count_include_pad": 1, **attributes}
    return [
        Case("MaxPool", (x,), attributes, follows=follows),
        Case("AveragePool", (x,), attributes, follows=follows),
        Case("AveragePool", (x,), count, follows=follows),
    ]


CASES = [
    *pools(X1, [3]),
    *pools(X1, [3], strides=[2], pads=[1, 2]),
    *pools(X2, [3, 2]),
    *pools(X2, [3, 2], strides=[2, 3]),
    *pools(X2, [3, 2], strides=[2, 3], pads=[1, 0, 2, 1]),
    *pools(X2, [3, 2], dilations=[2, 3]),
    *pools(X2, [3, 2], dilations=[2, 3], pads=[1, 1, 2, 0], strides=[1, 2]),
    *pools(X3, [2, 3, 2], strides=[1, 2, 3], pads=[1, 0, 1, 0, 1, 0]),
    *(
        # With SAME_LOWER and a stride onnx.reference leaves out the last column of the maxima.
        case
        for auto_pad, follows in (
            ("SAME_UPPER", "both"),
            ("SAME_LOWER", "onnxruntime"),
            ("VALID", "both"),
            ("NOTSET", "both"),
        )
        for kernel, strides in (([3, 3], [1, 1]), ([2, 4], [2, 3]), ([3, 2], [2, 2]))
        for case in pools(X2, kernel, follows, auto_pad=auto_pad, strides=strides)
    ),
    # SAME would pad by less than nothing here; both references fail in some versions.
    *(
        replace(case, expected=(X2[:, :, ::3, ::2],))
        for auto_pad in ("SAME_UPPER", "SAME_LOWER")
        for case in pools(X2, [1, 1], auto_pad=auto_pad, strides=[3, 2])
    ),
    *(
        case
        for kernel, strides, pads in (
            ([3, 3], [2, 2], [0, 0, 0, 0]),
            ([3, 3], [2, 2], [1, 1, 1, 1]),
            ([2, 2], [3, 3], [0, 0, 0, 0]),
            ([2, 2], [3, 3], [1, 1, 1, 1]),
            ([3, 2], [3, 2], [1, 0, 2, 1]),
            ([2, 2], [4, 4], [0, 0, 1, 1]),
        )
        for case in pools(X2, kernel, ceil_mode=1, strides=strides, pads=pads)
    ),
    *pools(X2, [3, 2], ceil_mode=1, strides=[2, 2], dilations=[2, 2]),
    *pools(real(1, 2, 2, 5), [3, 2], ceil_mode=1, strides=[2, 2]),  # a window that is larger than the input
    # onnx.reference refuses these two together.
    *pools(X2, [3, 2], "onnxruntime", ceil_mode=1, strides=[2, 2], auto_pad="SAME_UPPER"),
    *pools(X2, [3, 2], ceil_mode=0),
    Case("MaxPool", (X2,), {"kernel_shape": [2, 2], "storage_order": 1}),
    # onnx.reference pads integers with NaN.
    Case(
        "MaxPool",
        (np.arange(-8, 8, dtype=np.int8).reshape(1, 1, 4, 4),),
        {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]},
        follows="onnxruntime",
    ),
    Case("MaxPool", (np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4),), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    # Indices; those of onnx.reference are wrong where no stride is above 1.
    *(
        Case("MaxPool", (x,), {"kernel_shape": kernel, **attributes}, outputs=2, follows="onnxruntime")
        for x, kernel, attributes in (
            (X1, [3], {"strides": [2], "pads": [1, 1]}),
            (real(2, 3, 8, 7), [2, 2], {"strides": [2, 2]}),
            (real(2, 3, 8, 7), [3, 2], {"strides": [2, 1], "pads": [1, 0, 1, 1], "dilations": [2, 1]}),
            (real(2, 3, 8, 7), [3, 3], {"strides": [2, 2], "ceil_mode": 1}),
            (real(2, 3, 8, 7), [2, 3], {"storage_order": 1, "pads": [1, 1, 0, 1]}),
            (real(2, 2, 4, 5, 3), [2, 2, 2], {"strides": [2, 1, 1], "pads": [0, 1, 0, 1, 1, 0]}),
            (np.full((1, 2, 4, 4), -np.inf, np.float32), [3, 3], {"pads": [1, 1, 1, 1]}),  # padding never wins
            (np.zeros((2, 2, 3, 3), np.float32), [2, 2], {}),  # of equals the first
        )
    ),
    *pools(real(0, 2, 4, 4), [2, 2], strides=[2, 2], follows="onnxruntime"),  # onnx.reference fails
    # A window that lies in the padding only: the largest of nothing. ONNX Runtime gives the smallest finite
    # number, onnx.reference 0.
    Case(
        "MaxPool",
        (real(1, 1, 2, 2),),
        {"kernel_shape": [2, 1], "dilations": [3, 1], "pads": [1, 0, 1, 0]},
        expected=(np.full((1, 1, 1, 2), -np.inf, np.float32),),
    ),
    Case("GlobalAveragePool", (X1,)),
    Case("GlobalAveragePool", (X2,)),
    Case("GlobalAveragePool", (X3,)),
    Case("GlobalAveragePool", (real(0, 2, 3, 3),), follows="onnxruntime"),  # onnx.reference fails
    # The sum is beyond float16, the mean is not.
    Case("GlobalAveragePool", (np.full((1, 1, 32, 32), 100, np.float16),)),
    # onnx.reference knows two spatial axes only.
    Case("GlobalMaxPool", (X1,), follows="onnxruntime"),
    Case("GlobalMaxPool", (X2,)),
    Case("GlobalMaxPool", (X3,), follows="onnxruntime"),
    Case("GlobalMaxPool", (real(0, 2, 3, 3),)),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("size", [5, 6, 7, 8, 9])
def test_ceil_mode_agrees_with_torch(size, include):
    x = real(1, 2, size, size + 1)
    for kernel in (2, 3, 4):
        for stride in (1, 2, 3, 4):
            for pad in range(kernel // 2 + 1):
                attributes = {
                    "kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4, "ceil_mode": 1
                }  # fmt: skip
                layers = {
                    "MaxPool": torch.nn.MaxPool2d(kernel, stride, pad, ceil_mode=True),
                    "AveragePool": torch.nn.AvgPool2d(kernel, stride, pad, ceil_mode=True, count_include_pad=include),
                }
                for operator, layer in layers.items():
                    count = {"count_include_pad": int(include)} if operator == "AveragePool" else {}
                    model, feeds = Case(operator, (x,), {**attributes, **count}).model(19, constant=False)
                    (found,) = qengine.InferenceSession(model).run(None, feeds)
                    np.testing.assert_allclose(found, layer(torch.tensor(x)).numpy(), 1e-5, 1e-6)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("pads", "dilation", "extent"), [([3, 0], 1, 3), ([0, 3], 1, 3), ([5, 0], 2, 5), ([2**40, 2**40], 1, 3)]
)
def test_padding_as_wide_as_a_window_is_refused(operator, pads, dilation, extent):
    attributes = {"kernel_shape": [3], "pads": pads} | ({"dilations": [dilation]} if dilation > 1 else {})
    model, feeds = Case(operator, (X1,), attributes).model(19, constant=False)
    with pytest.raises(qengine.QEngineError, match=f"as wide as a window of {extent}|int32"):
        qengine.InferenceSession(model).run(None, feeds)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_padding_of_a_dilated_window(operator):
    # ONNX Runtime compares with the kernel before it is dilated, and refuses this.
    attributes = {"kernel_shape": [3], "pads": [4, 4], "dilations": [2]}
    Case(operator, (X1,), attributes, follows="reference").check(19)
