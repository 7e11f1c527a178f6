import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

import qengine
from qengine.errors import FormatError
from qengine.model.graph import CHAIN_DOMAIN
from qengine.model.loader import load
from qengine.model.passes import optimize, recognise_functions

X = np.concatenate([weights(200, seed=1, scale=4.0), np.float32([0, -0.0, 3, -3, 1e-6, 20, -20, 60])])
SIXTH = {"alpha": 1 / 6, "beta": 0.5}
ROOT = float(np.sqrt(2 / np.pi))
# Nodes from x to y, constants, the operator that they spell, and its attributes.
SPELLED = {
    "hard-sigmoid": ("Add x 3 a; Clip a 0 6 c; Div c 6 y", "HardSigmoid", SIXTH),
    "hard-sigmoid, a factor": ("Add 3 x a; Clip a 0 6 c; Mul 0.16666667 c y", "HardSigmoid", SIXTH),
    "hard-sigmoid, Relu and Min": ("Add x 3 a; Relu a r; Min r 6 c; Div c 6 y", "HardSigmoid", SIXTH),
    "hard-sigmoid, Max and Min": ("Sub x -3 a; Min a 6 r; Max 0 r c; Div c 6 y", "HardSigmoid", SIXTH),
    "hard-sigmoid, clipped last": ("Div x 6 a; Add a 0.5 b; Clip b 0 1 y", "HardSigmoid", SIXTH),
    "hard-sigmoid, shifted first": ("Add x 3 a; Div a 6 b; Clip b 0 1 y", "HardSigmoid", SIXTH),
    "hard-sigmoid of Keras": ("Mul x 0.2 a; Add a 0.5 b; Clip b 0 1 y", "HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "hard-swish": ("Add x 3 a; Clip a 0 6 c; Mul x c m; Div m 6 y", "HardSwish", {}),
    "hard-swish, divided sooner": ("Add x 3 a; Clip a 0 6 c; Div c 6 d; Mul d x y", "HardSwish", {}),
    "hard-swish, divided first": ("Add x 3 a; Clip a 0 6 c; Div x 6 d; Mul d c y", "HardSwish", {}),
    "hard-swish, a factor": ("Add x 3 a; Clip a 0 6 c; Mul c 0.16666667 d; Mul x d y", "HardSwish", {}),
    "hard-swish of HardSigmoid": ("HardSigmoid x h alpha=0.16666667; Mul x h y", "HardSwish", {}),
    "sigmoid": ("Neg x n; Exp n e; Add e 1 a; Div 1 a y", "Sigmoid", {}),
    "sigmoid, Reciprocal": ("Mul x -1 n; Exp n e; Add 1 e a; Reciprocal a y", "Sigmoid", {}),
    "sigmoid, subtracted from 0": ("Sub 0 x n; Exp n e; Add 1 e a; Reciprocal a y", "Sigmoid", {}),
    "sigmoid, tanh": ("Mul x 0.5 h; Tanh h t; Mul t 0.5 m; Add m 0.5 y", "Sigmoid", {}),
    "steep sigmoid": ("Mul x -2.5 n; Exp n e; Add e 1 a; Div 1 a y", "Logistic", {"alpha": 2.5}),
    "swish": ("Sigmoid x s; Mul x s y", "Swish", {"alpha": 1.0}),
    "swish, the other order": ("Sigmoid x s; Mul s x y", "Swish", {"alpha": 1.0}),
    "swish, a quotient": ("Neg x n; Exp n e; Add e 1 a; Div x a y", "Swish", {"alpha": 1.0}),
    "swish, spelled sigmoid": ("Neg x n; Exp n e; Add e 1 a; Div 1 a s; Mul s x y", "Swish", {"alpha": 1.0}),
    "steep swish": ("Mul x 1.702 k; Sigmoid k s; Mul x s y", "Swish", {"alpha": 1.702}),
    "steep swish, a quotient": ("Mul x -1.5 n; Exp n e; Add e 1 a; Div x a y", "Swish", {"alpha": 1.5}),
    "steep swish, spelled": ("Mul x -1.5 n; Exp n e; Add e 1 a; Div 1 a s; Mul s x y", "Swish", {"alpha": 1.5}),
    "softplus": ("Exp x e; Add e 1 a; Log a y", "Softplus", {}),
    "softplus, stable": ("Relu x r; Abs x b; Neg b n; Exp n e; Add 1 e a; Log a l; Add r l y", "Softplus", {}),
    "mish": ("Softplus x s; Tanh s t; Mul x t y", "Mish", {}),
    "mish, spelled": ("Exp x e; Add 1 e a; Log a l; Tanh l t; Mul t x y", "Mish", {}),
    "gelu": ("Div x 1.4142135 d; Erf d e; Add e 1 a; Mul x a m; Mul m 0.5 y", "Gelu", {"approximate": "none"}),
    "gelu, halved first": (
        "Mul x 0.70710678 d; Erf d e; Add 1 e a; Mul 0.5 x h; Mul h a y",
        "Gelu",
        {"approximate": "none"},
    ),
    "gelu, halved in between": (
        "Div x 1.4142135 d; Erf d e; Add e 1 a; Mul a 0.5 h; Mul x h y",
        "Gelu",
        {"approximate": "none"},
    ),
    "gelu, tanh": (
        f"Pow x 3 p; Mul p 0.044715 k; Add x k a; Mul a {ROOT} b; Tanh b t; Add t 1 u; Mul x 0.5 h; Mul h u y",
        "Gelu",
        {"approximate": "tanh"},
    ),
    "gelu, tanh, products": (
        f"Mul x x q; Mul q x p; Mul 0.044715 p k; Add k x a; Mul {ROOT} a b; Tanh b t; "
        "Add 1 t u; Mul u x m; Mul m 0.5 y",
        "Gelu",
        {"approximate": "tanh"},
    ),
    "gelu, tanh, factored": (
        f"Mul x x q; Mul q 0.044715 k; Add k 1 a; Mul x a b; Mul b {ROOT} c; Tanh c t; "
        "Add 1 t u; Mul u x m; Mul m 0.5 y",
        "Gelu",
        {"approximate": "tanh"},
    ),
    "leaky, Max": ("Mul x 0.2 k; Max x k y", "LeakyRelu", {"alpha": 0.2}),
    "leaky, Max, the other order": ("Mul 0.2 x k; Max k x y", "LeakyRelu", {"alpha": 0.2}),
    "leaky, a falling slope": ("Mul x -0.5 k; Max x k y", "LeakyRelu", {"alpha": -0.5}),
    "leaky, two halves": ("Relu x r; Neg x n; Relu n s; Mul s 0.25 k; Sub r k y", "LeakyRelu", {"alpha": 0.25}),
    "leaky, two halves added": ("Relu x r; Neg x n; Relu n s; Mul s -1.5 k; Add k r y", "LeakyRelu", {"alpha": 1.5}),
    "leaky, Min": ("Max x 0 r; Min x 0 s; Mul s 0.25 k; Add r k y", "LeakyRelu", {"alpha": 0.25}),
    "leaky, Abs": ("Relu x r; Abs x b; Sub x b d; Mul d 0.125 k; Add r k y", "LeakyRelu", {"alpha": 0.25}),
    "leaky, Abs halved last": (
        "Relu x r; Abs x b; Sub x b d; Mul 0.5 d k; Mul k 0.5 h; Add r h y",
        "LeakyRelu",
        {"alpha": 0.5},
    ),
}
VERSIONS = {"HardSigmoid": 17, "Sigmoid": 17, "Softplus": 17, "HardSwish": 17, "Mish": 18, "Gelu": 20, "Swish": 24}


def spelled(text, outputs=("y",), opset=17, shape=("N",), wanted=np.float32, **more):
    """Return a network from text: "Add x 3 a" is a node with an input, a constant and an output."""
    nodes, constants = [], dict(more)
    for words in text.split("; "):
        operator, *names = words.split()
        attributes = {k: float(v) for k, v in (name.split("=") for name in names if "=" in name)}
        names = [name for name in names if "=" not in name]
        for name in names:
            if name.lstrip("-")[0].isdigit():
                constants[name] = wanted(name)
        nodes.append((operator, " ".join(names[:-1]), names[-1], attributes))
    return network(
        nodes, inputs={"x": (wanted, list(shape))}, outputs=outputs, constants=constants, opset=opset,
        values={"y": (wanted, list(shape))},
    )  # fmt: skip


def operators(model):
    """The operators after the passes, those of chains too."""
    nodes = optimize(load(model))[-1].nodes
    inner = (node.attributes["chain"].nodes if node.domain == CHAIN_DOMAIN else (node,) for node in nodes)
    return [node.operator for group in inner for node in group]


@pytest.mark.parametrize("kind", SPELLED)
def test_one_operator_comes_of_it(kind):
    text, operator, attributes = SPELLED[kind]
    (node,) = optimize(load(spelled(text)))[-1].nodes
    assert (node.operator, node.inputs, node.outputs) == (operator, ("x",), ("y",))
    assert dict(node.attributes) == pytest.approx(attributes)


def test_the_others_go_at_once():
    """A later pass that looks for tensors with one reader must not find dead readers."""
    assert len(recognise_functions(load(spelled(SPELLED["mish, spelled"][0]))).nodes) == 1


@pytest.mark.parametrize("kind", SPELLED)
def test_in_real_numbers_it_is_the_same(kind):
    model = spelled(SPELLED[kind][0])
    (wanted,) = run_onnxruntime(model, {"x": X})
    (found,) = qengine.InferenceSession(model).run(None, {"x": X})
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", [kind for kind in SPELLED if SPELLED[kind][1] in VERSIONS])
def test_in_fixed_point_it_is_the_operators_own_table(kind):
    text, operator, attributes = SPELLED[kind]
    alone = network([(operator, "x", "y", attributes)], inputs={"x": ["N"]}, opset=VERSIONS[operator])
    formats = {"x": "Q4.5", "y": "Q4.11"}
    every = {"x": np.arange(-512, 512).astype(np.float32) / 32}
    found, wanted = (
        qengine.InferenceSession(model, formats=formats, strict=True).run(None, every, raw=True)[0]
        for model in (spelled(text), alone)
    )
    np.testing.assert_array_equal(found, wanted)


def test_a_steep_sigmoid_in_fixed_point():
    model = spelled(SPELLED["steep sigmoid"][0])
    x = np.arange(-128, 128) / 16
    (found,) = qengine.InferenceSession(model, formats={"x": "Q3.4", "y": "UQ0.8"}, strict=True).run(
        None, {"x": x.astype(np.float32)}, raw=True
    )
    np.testing.assert_array_equal(found, np.minimum(np.rint(256 / (1 + np.exp(-2.5 * x))), 255))


STAYS = {
    "another number": "Add x 2.9 a; Clip a 0 6 c; Mul x c m; Div m 6 y",
    "another bound": "Add x 3 a; Clip a 0 7 c; Mul x c m; Div m 6 y",
    "another tensor": "Sigmoid x s; Tanh x t; Mul t s y",
    "another power": "Pow x 2 p; Mul p 0.044715 k; Add x k a; Mul a 0.7978846 b; Tanh b t; Add t 1 u; Mul x u y",
    "two sigmoids": "Sigmoid x s; Sigmoid x t; Mul s t y",
    "half a gelu": "Div x 1.4142135 d; Erf d e; Add e 1 a; Mul x a y",
    "read by another": "Sigmoid x s; Mul x s m; Add s m y",
    "an open bound": "Add x 3 a; Relu a c; Div c 6 y",
    "the smaller where it is negative": "Mul x 1.5 k; Max x k y",
    "two halves of different tensors": "Max x 0 r; Abs x n; Neg n m; Max m 0 s; Mul s 0.25 k; Sub r k y",
    "two halves, both above": "Max x 0 r; Max x 0 s; Mul s 0.25 k; Sub r k y",
}


@pytest.mark.parametrize("kind", STAYS)
def test_what_is_something_else_stays(kind):
    model = spelled(STAYS[kind])
    wanted = [word.split()[0] for word in STAYS[kind].split("; ")]
    assert not set(operators(model)) - set(wanted)
    (y,) = qengine.InferenceSession(model).run(None, {"x": X})
    np.testing.assert_allclose(y, run_onnxruntime(model, {"x": X})[0], rtol=1e-5, atol=1e-5)


def test_an_output_in_between_keeps_them():
    model = spelled("Sigmoid x s; Mul x s y", outputs=("y", "s"))
    assert operators(model) == ["Sigmoid", "Mul"]


def test_numbers_for_each_channel_stay():
    model = network(
        [("Add", "x three", "a"), ("Clip", "a lo hi", "c"), ("Div", "c six", "y")],
        inputs={"x": ["N", 2]},
        constants={"three": np.float32([3, 3]), "lo": 0.0, "hi": 6.0, "six": 6.0},
    )
    assert operators(model) == ["Add", "Div"]


@pytest.mark.parametrize(("shape", "whole"), [(["N", 4], True), ([], False)])
def test_a_number_with_axes(shape, whole):
    """A constant with more axes than the tensor gives the sum more axes."""
    model = network(
        [("Add", "x three", "a"), ("Clip", "a lo hi", "c"), ("Div", "c six", "y")],
        inputs={"x": shape},
        constants={"three": np.float32([3]), "lo": 0.0, "hi": 6.0, "six": 6.0},
    )
    assert operators(model) == (["HardSigmoid"] if whole else ["Add", "Div"])
    x = X[:4].reshape(1, 4) if whole else np.asarray(X[0])
    (y,) = qengine.InferenceSession(model).run(None, {"x": x})
    np.testing.assert_allclose(y, run_onnxruntime(model, {"x": x})[0], atol=1e-6)


def test_half_precision():
    text = "Div x 1.4142135 d; Erf d e; Add e 1 a; Mul x a m; Mul m 0.5 y"
    assert operators(spelled(text, wanted=np.float16)) == ["Gelu"]
    assert operators(spelled(text.replace("1.4142135", "1.41"), wanted=np.float16)) != ["Gelu"]


@pytest.mark.parametrize("names", [["s"], ["s", "y"], ["y"]])
def test_a_tensor_that_went_is_computed_as_it_was(names):
    model = spelled("Sigmoid x s; Mul x s y")
    s = qengine.InferenceSession(model, qformat="Q4.3")
    found = dict(zip(names, s.run(names, {"x": X}), strict=True))
    q = qengine.dequantize(qengine.quantize(X, "Q4.3"), "Q4.3").astype(np.float64)
    exact = {"s": 1 / (1 + np.exp(-q)), "y": q / (1 + np.exp(-q))}
    for name, array in found.items():
        np.testing.assert_array_equal(array, qengine.dequantize(qengine.quantize(exact[name], "Q4.3"), "Q4.3"))


def test_formats_in_between():
    model = spelled("Sigmoid x s; Mul x s y")
    s = qengine.InferenceSession(model, formats={"x": "Q4.3", "y": "Q4.3"})
    assert s.run(None, {"x": X})[0].shape == X.shape
    with pytest.raises(FormatError, match="no format for 's'"):
        s.run(["s"], {"x": X})
    s = qengine.InferenceSession(model, formats={"x": "Q4.3", "y": "Q4.3", "s": "UQ0.8"})
    assert s.notes == ("the format of 's' has no effect: the tensor is fused into the operator after it",)
    assert s.run(["s"], {"x": X}, raw=True)[0].dtype == np.uint8


def test_one_after_the_other():
    model = spelled("Sigmoid x s; Mul x s u; Sigmoid u t; Mul t u v; Exp v e; Add e 1 a; Log a y")
    assert operators(model) == ["Swish", "Swish", "Softplus"]


def test_before_opset_11_bounds_are_attributes():
    model = network(
        [("Add", "x three", "a"), ("Clip", "a", "c", {"min": 0.0, "max": 6.0}), ("Div", "c six", "y")],
        inputs={"x": ["N", 2]},
        constants={"three": 3.0, "six": 6.0},
        opset=9,
    )
    assert operators(model) == ["HardSigmoid"]
