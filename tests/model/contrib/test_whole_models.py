"""Models that ONNX Runtime's own quantizer and optimizer write."""

import logging
import warnings

import numpy as np
import onnxruntime
import pytest
from model.contrib.cases import Draws, by_runtime
from networks import network
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

import qengine

DRAWS = Draws(9)
real = DRAWS.real


LEVELS = {
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
}


def classifier():
    """Return a network of the operators that ONNX Runtime quantizes, and its feeds."""
    nodes = [
        ("Conv", "x w1 b1", "c1", {"pads": [1, 1, 1, 1]}),
        ("Relu", "c1", "r1"),
        ("Conv", "r1 w2 b2", "c2", {"pads": [1, 1, 1, 1], "group": 8}),
        ("LeakyRelu", "c2", "l2", {"alpha": 0.1}),
        ("Add", "l2 r1", "a2"),
        ("GlobalAveragePool", "a2", "g2"),
        ("Conv", "g2 w3 b3", "c3"),
        ("Sigmoid", "c3", "s3"),
        ("Mul", "a2 s3", "m3"),
        ("Concat", "m3 a2", "k3", {"axis": 1}),
        ("MaxPool", "k3", "p3", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("AveragePool", "p3", "p4", {"kernel_shape": [2, 2]}),
        ("GlobalAveragePool", "p4", "g4"),
        ("Flatten", "g4", "f4"),
        ("Gemm", "f4 w5 b5", "o5", {"transB": 1}),
        ("Softmax", "o5", "y", {"axis": -1}),
    ]
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "b2": (8,), "w3": (8, 8, 1, 1), "b3": (8,),
              "w5": (10, 16), "b5": (10,)}  # fmt: skip
    constants = {name: 0.3 * real(*shape) for name, shape in shapes.items()}
    return network(nodes, inputs={"x": ["N", 3, 12, 12]}, constants=constants), {"x": real(2, 3, 12, 12)}


def recurrent():
    nodes = [("LSTM", "x w r b", "h", {"hidden_size": 4, "direction": "bidirectional"}), ("MatMul", "h m", "y")]
    constants = {"w": real(2, 16, 6), "r": real(2, 16, 4), "b": real(2, 32), "m": real(4, 5)}
    constants = {name: 0.3 * array for name, array in constants.items()}
    return network(nodes, inputs={"x": [7, 2, 6]}, constants=constants), {"x": real(7, 2, 6)}


def transformer():
    """Return a block of attention and a perceptron, with residuals and normalizations, and its feeds."""
    split, heads = {"perm": [0, 2, 1, 3]}, {"perm": [0, 2, 3, 1]}
    nodes = [
        *(("MatMul", f"x w{k}", f"{k}0") for k in "qkv"),
        *(("Add", f"{k}0 b{k}", f"{k}1") for k in "qkv"),
        *(("Reshape", f"{k}1 heads", f"{k}2") for k in "qkv"),
        ("Transpose", "q2", "q", split),
        ("Transpose", "k2", "k", heads),
        ("Transpose", "v2", "v", split),
        ("MatMul", "q k", "s0"),
        ("Div", "s0 root", "s1"),
        ("Add", "s1 mask", "s2"),
        ("Softmax", "s2", "p", {"axis": -1}),
        ("MatMul", "p v", "a0"),
        ("Transpose", "a0", "a1", split),
        ("Reshape", "a1 hidden", "a2"),
        ("MatMul", "a2 wo", "a3"),
        ("Add", "a3 bo", "a4"),
        ("Add", "a4 x", "r0"),
        ("LayerNormalization", "r0 g h", "n0"),
        ("MatMul", "n0 w1", "f0"),
        ("Add", "f0 b1", "f1"),
        ("Div", "f1 sqrt2", "e0"),
        ("Erf", "e0", "e1"),
        ("Add", "e1 one", "e2"),
        ("Mul", "f1 e2", "e3"),
        ("Mul", "e3 half", "e4"),
        ("MatMul", "e4 w2", "f2"),
        ("Add", "f2 b2", "f3"),
        ("Add", "f3 n0", "r1"),
        ("LayerNormalization", "r1 g h", "y"),
    ]
    constants = {
        **{f"w{k}": 0.3 * real(8, 8) for k in "qkvo"}, **{f"b{k}": real(8) for k in "qkvo"},
        "w1": 0.3 * real(8, 16), "b1": real(16), "w2": 0.3 * real(16, 8), "b2": real(8), "g": real(8), "h": real(8),
        "heads": np.array([0, 0, 2, 4]), "hidden": np.array([0, 0, 8]), "root": np.float32(2.0),
        "sqrt2": np.float32(np.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5),
    }  # fmt: skip
    mask = np.float32([[0, 0, 0, 0, 0], [0, 0, 0, -10000, -10000]]).reshape(2, 1, 1, 5)
    inputs = {"x": [2, 5, 8], "mask": [2, 1, 1, 5]}
    return network(nodes, inputs=inputs, constants=constants), {"x": real(2, 5, 8), "mask": mask}


NETWORKS = {function.__name__: function() for function in (classifier, recurrent, transformer)}


class Reader(CalibrationDataReader):
    """The feeds once."""

    def __init__(self, feeds):
        self.left = [feeds]

    def get_next(self):
        return self.left.pop() if self.left else None


def optimized(path, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.optimized_model_filepath = path.replace(".onnx", f"_{level}.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return options.optimized_model_filepath


def assert_as_runtime(path, feeds, codes):
    """Compare outputs, which may differ by some codes of 8 bits where the model rounds means that lie at ties."""
    (found,), (wanted,) = qengine.InferenceSession(path).run(None, feeds), by_runtime(path, feeds)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    limit = 1e-5 * np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=codes * np.ptp(wanted) / 256 + limit)


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def written(tmp_path, name):
    model, feeds = NETWORKS[name]
    path = tmp_path / f"{name}.onnx"
    path.write_bytes(model)
    return str(path), feeds


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", NETWORKS)
def test_optimized(tmp_path, name, level):
    path, feeds = written(tmp_path, name)
    assert_as_runtime(optimized(path, level), feeds, 0)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_quantized_dynamically(tmp_path, name, per_channel):
    path, feeds = written(tmp_path, name)
    quantized = path.replace(".onnx", "_dynamic.onnx")
    quantize_dynamic(path, quantized, weight_type=QuantType.QInt8, per_channel=per_channel)
    assert_as_runtime(quantized, feeds, 0)
    assert_as_runtime(optimized(quantized, "extended"), feeds, 0)


@pytest.mark.parametrize("types", [("QUInt8", "QInt8", False), ("QInt8", "QInt8", True), ("QUInt8", "QUInt8", True)])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("name", ["classifier", "transformer"])
def test_quantized_with_samples(tmp_path, name, form, types):
    path, feeds = written(tmp_path, name)
    activations, weights, per_channel = types
    quantized = path.replace(".onnx", "_static.onnx")
    quantize_static(
        path,
        quantized,
        Reader(feeds),
        quant_format=QuantFormat[form],
        activation_type=QuantType[activations],
        weight_type=QuantType[weights],
        per_channel=per_channel,
        reduce_range=per_channel,
    )
    assert_as_runtime(quantized, feeds, 4)
    assert_as_runtime(optimized(quantized, "extended"), feeds, 4)
