"""All steps but convolutions on native kernels equal the reference."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from networks import network, weights
from oracle import OVERFLOWS, ROUNDINGS
from runtime.native.native import ISAS, assert_same, both

WORDS = {
    "float32": {},
    "int8": {"qformat": "Q2.5"},
    "uint8": {"qformat": "UQ3.5"},
    "int16": {"qformat": "Q3.12"},
    "uint16": {"qformat": "UQ4.12"},
    "five bits that wrap": {"qformat": "Q2.2", "overflow": "wrap", "rounding": "trunc"},
}


def model_of(*nodes, inputs, constants=None, opset=18):
    return network(list(nodes), inputs=inputs, constants=constants, opset=opset)


IMAGE = {"x": [2, 17, 9, 13]}
PAIR = {"x": [2, 17, 9, 13], "z": [2, 17, 9, 13]}
SMALL = {"x": [2, 3, 9, 13], "z": [2, 3, 9, 13]}
RESIZED = {"scales": np.float32([1, 1, 2.5, 1.7]), "none": np.zeros(0, np.float32)}

# models, and the kernel that must run
MODELS = {
    "add": (model_of(("Add", "x z", "y"), inputs=PAIR), "add"),
    "add, few channels": (model_of(("Add", "x z", "y"), inputs=SMALL), "add"),
    "subtract a constant": (model_of(("Sub", "x c", "y"), inputs=IMAGE, constants={"c": weights(17, 1, 1)}), "add"),
    "a constant less": (model_of(("Sub", "c x", "y"), inputs=IMAGE, constants={"c": weights(9, 13)}), "add"),
    "multiply": (model_of(("Mul", "x z", "y"), inputs=PAIR), "multiply"),
    "multiply by a scalar": (
        model_of(("Mul", "x c", "y"), inputs=SMALL | {}, constants={"c": np.float32(0.7)}),
        "multiply",
    ),
    "a number for every channel": (
        model_of(("GlobalAveragePool", "x", "s"), ("Mul", "x s", "y"), inputs=IMAGE),
        "multiply",
    ),
    "prelu": (
        model_of(("PRelu", "x c", "y"), inputs=IMAGE, constants={"c": weights(17, 1, 1, scale=0.4)}),
        "prelu",
    ),
    "prelu, few channels, steep": (
        model_of(("PRelu", "x c", "y"), inputs={"x": SMALL["x"]}, constants={"c": np.float32([[[-3]], [[40]], [[0]]])}),
        "prelu",
    ),
    "prelu, far slopes": (
        model_of(
            ("PRelu", "x c", "p"),
            ("Relu", "p", "y"),
            inputs=IMAGE,
            constants={"c": np.float32([3e4, -2e-5]).repeat(9)[:17].reshape(17, 1, 1)},
        ),
        "prelu",
    ),
    "add and relu": (model_of(("Add", "x z", "a"), ("Relu", "a", "y"), inputs=PAIR), "add"),
    "clip": (
        model_of(("Clip", "x l h", "y"), inputs=IMAGE, constants={"l": np.float32(-0.4), "h": np.float32(1.3)}),
        "requantize",
    ),
    "relu of one axis": (model_of(("Relu", "x", "y"), inputs={"x": [2, 5, 7]}), ("requantize", "copy")),
    "relu of a matrix": (model_of(("Relu", "x", "y"), inputs={"x": [5, 37]}), ("requantize", "copy")),
    "concat": (
        model_of(("Concat", "x z x", "y", {"axis": 1}), inputs=PAIR | {}),
        "relayout",
    ),
    "concat of whole blocks": (
        model_of(("Concat", "x z", "y", {"axis": 1}), inputs={"x": [2, 32, 5, 6], "z": [2, 9, 5, 6]}),
        "requantize",
    ),
    **{
        f"pad in blocks, {mode}": (
            model_of(
                ("Pad", "x p c", "y", {"mode": mode}),
                inputs=IMAGE,
                constants={"p": np.array([0, 0, 2, 1, 0, 0, -1, 3]), "c": np.float32(0.75)},
                opset=19,
            ),
            "pad",
        )
        for mode in ("constant", "edge", "reflect", "wrap")
    },
    "pad of one axis": (
        model_of(("Pad", "x p", "y"), inputs={"x": [2, 5, 7]}, constants={"p": np.array([0, 0, 2, 0, 0, 1])}),
        ("pad", "copy"),
    ),
    "max pool": (
        model_of(
            ("MaxPool", "x", "y", {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 1, 1, 0]}), inputs=IMAGE
        ),
        "max pool",
    ),
    "max pool, dilated, few channels": (
        model_of(
            ("MaxPool", "x", "y", {"kernel_shape": [2, 3], "dilations": [2, 2], "ceil_mode": 1}),
            inputs={"x": SMALL["x"]},
        ),
        "max pool",
    ),
    "max pool of one axis": (
        model_of(("MaxPool", "x", "y", {"kernel_shape": [3]}), inputs={"x": [1, 20, 11]}),
        ("max pool", "plain_max"),  # in fixed point, in float32
    ),
    "average pool": (
        model_of(("AveragePool", "x", "y", {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [2, 2]}), inputs=IMAGE),
        "mean pool",
    ),
    "average pool with its padding": (
        model_of(
            ("AveragePool", "x", "y", {"kernel_shape": [2, 3], "pads": [1, 1, 0, 1], "count_include_pad": 1}),
            inputs={"x": SMALL["x"]},
        ),
        "mean pool",
    ),
    "global average": (model_of(("GlobalAveragePool", "x", "y"), inputs=IMAGE), "mean pool"),
    "sum of an image": (
        model_of(("ReduceSum", "x a", "y"), inputs=IMAGE, constants={"a": np.array([2, 3])}),
        "mean pool",
    ),
    "global max": (model_of(("GlobalMaxPool", "x", "y"), inputs=IMAGE), "max pool"),
    "cubic": (
        model_of(("Resize", "x none scales", "y", {"mode": "cubic"}), inputs=IMAGE, constants=RESIZED),
        "resize rows",
    ),
    "cubic, three channels": (
        model_of(("Resize", "x none scales", "y", {"mode": "cubic"}), inputs={"x": SMALL["x"]}, constants=RESIZED),
        "resize rows",
    ),
    "linear, smaller": (
        model_of(
            ("Resize", "x none scales", "y", {"mode": "linear", "antialias": 1}),
            inputs=IMAGE,
            constants={**RESIZED, "scales": np.float32([1, 1, 0.4, 0.55])},
        ),
        "resize rows",
    ),
    "linear along one axis": (
        model_of(
            ("Resize", "x none scales", "y", {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
            inputs={"x": [2, 5, 11]},
            constants={**RESIZED, "scales": np.float32([1, 1, 3])},
        ),
        "resize rows",
    ),
    "nearest": (
        model_of(("Resize", "x none scales", "y", {"mode": "nearest"}), inputs=IMAGE, constants=RESIZED),
        "resize nearest",
    ),
    "product of matrices": (
        model_of(("MatMul", "x w", "y"), inputs={"x": [7, 33]}, constants={"w": weights(33, 21, scale=0.2)}),
        ("dot", "matmul"),  # in fixed point, in float32
    ),
    "product of a stack": (
        model_of(("MatMul", "x w", "y"), inputs={"x": [2, 5, 18]}, constants={"w": weights(18, 40, scale=0.2)}),
        ("dot", "matmul"),  # in fixed point, in float32
    ),
    "gemm of one row": (
        model_of(
            ("Gemm", "x w b", "y", {"transB": 1}),
            inputs={"x": [1, 67]},
            constants={"w": weights(10, 67, scale=0.2), "b": weights(10, seed=3)},
        ),
        ("dot", "matmul"),  # in fixed point, in float32
    ),
    "a classifier": (
        model_of(
            ("Conv", "x k", "c"),
            ("GlobalAveragePool", "c", "p"),
            ("Flatten", "p", "f"),
            ("Gemm", "f w b", "y", {"transB": 1}),
            inputs={"x": [3, 4, 6, 7]},
            constants={
                "k": weights(24, 4, 3, 3, scale=0.2),
                "w": weights(10, 24, scale=0.2),
                "b": weights(10, seed=3),
            },
        ),
        "dot",
    ),
    "scale and shift": (
        model_of(
            ("Relu", "x", "r"),
            ("BatchNormalization", "r s b m v", "y"),
            inputs=IMAGE,
            constants={
                "s": weights(17),
                "b": weights(17, seed=1),
                "m": weights(17, seed=2),
                "v": 1 + weights(17, seed=3) ** 2,
            },
        ),
        "depthwise",
    ),
    "rows, scaled and shifted": (
        model_of(
            ("Mul", "x s", "m"),
            ("Add", "m b", "y"),
            inputs={"x": [2, 5, 37]},
            constants={"s": 0.5 + weights(37) ** 2, "b": weights(1, 1, 37, seed=1)},
        ),
        ("depthwise", "multiply"),
    ),
    "short rows, scaled and shifted": (
        model_of(
            ("Sub", "x b", "m"),
            ("Mul", "m s", "y"),
            inputs={"x": [2, 3, 5, 7]},
            constants={"s": weights(7), "b": weights(7, seed=1)},
        ),
        ("dot", "multiply"),
    ),
}


def feeds_of(model, spread=1.5):
    import onnx

    rng = np.random.default_rng(8)
    shapes = {
        i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in onnx.load_from_string(model).graph.input
    }
    return {name: rng.normal(0.3, spread, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(("name", "word", "isa", "threads"), covering(MODELS, WORDS, ISAS, [1, 2]))
def test_every_step_and_word(name, word, isa, threads):
    model, ran = MODELS[name]
    got, want, kernels = both(model, feeds_of(model), isa, threads, **WORDS[word])
    assert_same(got, want)
    assert any(kernel.startswith(ran) for kernel in kernels), kernels
    assert not any(kernel.startswith("reference") for kernel in kernels), kernels


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("formats", [("Q2.5", "Q1.6"), ("Q3.12", "Q2.5"), ("UQ2.6", "Q1.14"), ("Q2.5", "UQ5.11")])
@pytest.mark.parametrize("operator", ["Sigmoid", "HardSwish"])
def test_tables(operator, formats, isa):
    model = model_of((operator, "x", "y"), inputs=IMAGE)
    got, want, kernels = both(model, feeds_of(model), isa, formats={"x": formats[0], "y": formats[1]})
    assert_same(got, want)
    assert "table" in kernels


CURVES = {
    "leaky": ("LeakyRelu", {"alpha": 0.3}),
    "hard sigmoid": ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
    "hard swish": ("HardSwish", {}),
    "logistic": ("Sigmoid", {}),
    "swish": ("Swish", {"alpha": 1.7}),
    "tanh": ("Tanh", {}),
    "gelu": ("Gelu", {}),
    "gelu by tanh": ("Gelu", {"approximate": "tanh"}),
}


@pytest.mark.parametrize("shape", [[2, 17, 9, 13], [2, 3, 9, 13], [5, 37]])
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CURVES)
def test_functions_of_float32(name, isa, shape):
    operator, attributes = CURVES[name]
    model = model_of((operator, "x", "y", attributes), inputs={"x": shape}, opset=24)
    for spread in (1e-20, 1e-3, 0.2, 3.0, 40.0, 1e30):
        x = np.random.default_rng(8).normal(0.0, spread, shape).astype(np.float32)
        (got,), (want,), kernels = both(model, {"x": x}, isa)
        assert name in kernels, kernels
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("name", CURVES)
def test_functions_of_what_is_not_finite(name):
    operator, attributes = CURVES[name]
    model = model_of((operator, "x", "y", attributes), inputs={"x": [1, 6]}, opset=24)
    x = np.float32([[np.nan, np.inf, -np.inf, 0.0, 3e38, -3e38]])
    (got,), (want,), _ = both(model, {"x": x}, ISAS[0])
    np.testing.assert_array_equal(np.isnan(got[0, :2]), np.isnan(want[0, :2]))
    np.testing.assert_allclose(got[0, 3:], want[0, 3:])


@pytest.mark.parametrize(("rounding", "overflow", "isa"), covering(ROUNDINGS, OVERFLOWS, ISAS))
def test_formats_that_differ(rounding, overflow, isa):
    """Sums, products, means, resizes and joins of tensors whose formats are far apart."""
    formats = {"x": "Q2.5", "z": "Q-1.14", "a": "Q4.3", "m": "Q3.9", "p": "UQ2.7", "r": "Q3.4", "y": "Q4.10"}
    model = model_of(
        ("Add", "x z", "a"),
        ("Mul", "a x", "m"),
        ("AveragePool", "m", "p", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
        ("Resize", "p none scales", "r", {"mode": "cubic"}),
        ("Concat", "x r", "y", {"axis": 1}),
        inputs=SMALL,
        constants={**RESIZED, "scales": np.float32([1, 1, 1.0001, 1])},
    )
    feeds = {name: value * 0.4 for name, value in feeds_of(model).items()}
    names = ["a", "m", "p", "r", "y"]
    got, want, kernels = both(model, feeds, isa, names=names, formats=formats, rounding=rounding, overflow=overflow)
    assert_same(got, want)
    assert not any(kernel.startswith("reference") for kernel in kernels), kernels


@pytest.mark.parametrize(
    ("qformat", "rounding", "overflow", "isa"),
    covering(["Q2.5", "UQ3.5", "Q12.3", "Q-3.10", "UQ-120.136"], ROUNDINGS, OVERFLOWS, ISAS),
)
def test_inputs_are_quantized_as_by_the_reference(qformat, rounding, overflow, isa):
    values = np.float32(
        [0, -0.0, 0.015625, -0.015625, 0.5, -0.5, 1e-38, -1e-38, 1e-45, -1e-45, 3e38, -3e38, np.inf, -np.inf]
    )
    ties = (np.arange(-40, 40, dtype=np.float32) + np.float32(0.5)) / 32
    x = np.concatenate(
        [values, ties, np.nextafter(ties, np.float32(9)), np.nextafter(ties, np.float32(-9)), ties * 1e6]
    )
    model = model_of(("Relu", "x", "y"), inputs={"x": [1, 1, 1, len(x)]})
    feeds = {"x": x.reshape(1, 1, 1, -1)}
    got, want, kernels = both(
        model, feeds, isa, names=["x", "y"], qformat=qformat, rounding=rounding, overflow=overflow
    )
    assert_same(got, want)
    assert "quantize" in kernels
