"""Softmax and normalizations in several operators become one, in float32 and in fixed point."""

import numpy as np
import onnxruntime
import pytest
from networks import network

import qengine
from qengine.model.passes import optimize
from qengine.quantization.qdq import quantized_model

X = (np.random.default_rng(0).standard_normal((2, 6, 5, 8)) * 2 + 0.5).astype(np.float32)
LAST = {"axes": [-1], "keepdims": 1}
CONSTANTS = {
    **{"eps": np.float32(1e-5), "two": np.float32(2), "half": np.float32(0.5), "one": np.float32(1)},
    "g": np.linspace(0.5, 1.5, 8, dtype=np.float32),
    "b": np.linspace(-1, 1, 8, dtype=np.float32),
    "gc": np.linspace(0.5, 1.5, 6, dtype=np.float32).reshape(6, 1, 1),
    "bc": np.linspace(-1, 1, 6, dtype=np.float32).reshape(6, 1, 1),
    **{"ones": np.ones(3, np.float32), "zeros": np.zeros(3, np.float32), "split": np.int64([0, 3, -1])},
    "lengths": np.int64([2, 6, 5, 8]),
}


def about(mean, square="Pow", axes=(-1,), root="Sqrt"):
    """The nodes of the numerator `c` and the root `r`."""
    over = {"axes": list(axes), "keepdims": 1}
    first = [("ReduceMean", "x", "m", over), ("Sub", "x m", "c")] if mean else [("Identity", "x", "c")]
    squared = [("Pow", "c two", "s")] if square == "Pow" else [("Mul", "c c", "s")]
    last = [("Sqrt", "e", "r")] if root == "Sqrt" else [("Pow", "e half", "r")]
    return [*first, *squared, ("ReduceMean", "s", "v", over), ("Add", "v eps", "e"), *last]


DIVIDED = [("Div", "c r", "q")]
TORCH = [*about(True), *DIVIDED, ("Mul", "q g", "z"), ("Add", "z b", "y")]
APART = [
    *(("ReduceMean", "x", "m", LAST), ("Sub", "x m", "c"), ("Sub", "x m", "d"), ("Mul", "d d", "s")),
    *(
        ("ReduceMean", "s", "v", LAST),
        ("Add", "eps v", "e"),
        ("Sqrt", "e", "r"),
        ("Div", "c r", "q"),
        ("Mul", "g q", "y"),
    ),
]
TENSORFLOW = [
    *(*about(True, "Mul"), ("Reciprocal", "r", "i"), ("Mul", "i g", "f"), ("Mul", "x f", "p")),
    *(("Mul", "m f", "n"), ("Sub", "b n", "o"), ("Add", "p o", "y")),
]
ROOTS = [*about(False), ("Div", "one r", "i"), ("Mul", "c i", "q"), ("Mul", "g q", "y")]
CHANNELS = [*about(True, axes=(1,)), *DIVIDED, ("Mul", "gc q", "z"), ("Add", "z bc", "y")]
GROUPS = [
    *(("Reshape", "x split", "t"), ("InstanceNormalization", "t ones zeros", "n"), ("Reshape", "n lengths", "w")),
    *(("Mul", "w gc", "z"), ("Add", "z bc", "y")),
]
SHAPED = [GROUPS[0], GROUPS[1], ("Shape", "x", "k"), ("Reshape", "n k", "w"), *GROUPS[3:]]
SOFT = [
    *(("ReduceMax", "x", "m", LAST), ("Sub", "x m", "d"), ("Exp", "d", "e")),
    *(("ReduceSum", "e last", "s", {"keepdims": 1}), ("Div", "e s", "y")),
]
LOG = [*SOFT[:4], ("Log", "s", "l"), ("Sub", "d l", "y")]

CASES = {
    "torch": (TORCH, "LayerNormalization"),
    "torch, two axes": ([*about(True, axes=(-2, -1)), *DIVIDED, ("Mul", "q g", "y")], "LayerNormalization"),
    "torch, axis from the front": ([*about(True, axes=(3,)), *DIVIDED, ("Mul", "q g", "y")], "LayerNormalization"),
    "power of a half": ([*about(True, "Mul", root="Pow"), *DIVIDED, ("Mul", "q g", "y")], "LayerNormalization"),
    "two differences": (APART, "LayerNormalization"),
    "TensorFlow": (TENSORFLOW, "LayerNormalization"),
    "no gain": ([*about(True), ("Div", "c r", "y")], "Standardize"),
    "root mean square": (ROOTS, "RMSNormalization"),
    "channels": (CHANNELS, "Standardize"),
    "groups": (GROUPS, "Standardize"),
    "groups, a shape": (SHAPED, "Standardize"),
    "softmax": (SOFT, "Softmax"),
    "softmax of powers": ([("Exp", "x", "e"), *SOFT[3:]], "Softmax"),
    "logarithm": (LOG, "LogSoftmax"),
}


def model(nodes, outputs=("y",)):
    constants = {**CONSTANTS, "last": np.int64([-1])}
    read = {name for _, names, *_ in nodes for name in names.split()}
    constants = {name: array for name, array in constants.items() if name in read}
    return network(nodes, inputs={"x": list(X.shape)}, constants=constants, outputs=list(outputs), opset=17)


def operators(built):
    return [node.operator for node in optimize(qengine.InferenceSession(built).graph)[-1].nodes]


@pytest.mark.parametrize(("nodes", "operator"), CASES.values(), ids=CASES)
def test_one_operator(nodes, operator):
    built = model(nodes)
    left = [name for name in operators(built) if name != "Identity"]
    assert left == [operator]
    (wanted,) = onnxruntime.InferenceSession(built).run(None, {"x": X})
    for isa in (None, "reference"):
        (found,) = qengine.InferenceSession(built, isa=isa).run(None, {"x": X})
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


@pytest.mark.parametrize(("nodes", "operator"), CASES.values(), ids=CASES)
def test_fixed_point(nodes, operator):
    built = model(nodes)
    y = "Q4.11" if operator == "LogSoftmax" else "Q3.12"
    options = {"formats": {"x": "Q4.11", "y": y}, "strict": True}
    native, reference = (qengine.InferenceSession(built, isa=isa, **options) for isa in (None, "reference"))
    found = reference.run(None, {"x": X})[0]
    np.testing.assert_array_equal(native.run(None, {"x": X})[0], found)
    (wanted,) = qengine.InferenceSession(built).run(None, {"x": X})
    assert np.abs(found - wanted).max() < 2e-3


@pytest.mark.parametrize("name", ["torch", "TensorFlow", "channels", "groups", "softmax", "root mean square"])
def test_the_quantized_file_has_the_same_codes(name):
    built = model(CASES[name][0])
    session = qengine.InferenceSession(built, formats={"x": "Q4.11", "y": "Q3.12"})
    back = qengine.InferenceSession(quantized_model(session))
    assert back.in_fixed_point
    for found, wanted in zip(back.run(None, {"x": X}, raw=True), session.run(None, {"x": X}, raw=True), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        (TORCH, ("y", "v")),
        (TORCH, ("y", "m")),
        ([*about(True)[:-1], ("Neg", "e", "y")], ("y",)),
        ([*SOFT[:-1], ("Div", "s e", "y")], ("y",)),
        ([SOFT[0], SOFT[1], SOFT[2], ("ReduceSum", "d last", "s", {"keepdims": 1}), SOFT[4]], ("y",)),
        ([*GROUPS[:2], ("Reshape", "n other", "w"), ("Neg", "w", "y")], ("y",)),
    ],
)
def test_what_is_something_else_stays(nodes, outputs):
    constants = {**CONSTANTS, "last": np.int64([-1]), "other": np.int64([2, 6, 8, 5])}
    read = {name for _, names, *_ in nodes for name in names.split()}
    built = network(
        nodes,
        inputs={"x": list(X.shape)},
        constants={name: array for name, array in constants.items() if name in read},
        outputs=list(outputs),
        opset=17,
    )
    assert not {"LayerNormalization", "Standardize", "Softmax", "RMSNormalization"} & set(operators(built))
