"""Constant factors and addends beside linear operators, against ONNX Runtime and against networks folded by hand."""

import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

import qengine
from qengine.model.loader import load
from qengine.model.passes import fold_affine, optimize
from qengine.quantization.correction import fold_graph
from qengine.quantization.qdq import quantized_model


def operators(model):
    return [node.operator for node in optimize(load(model))[-1].nodes]


def check(model, feeds, wanted_operators):
    """The session equals ONNX Runtime, which does not fold, natively and on the reference."""
    assert operators(model) == wanted_operators
    wanted = run_onnxruntime(model, feeds)
    for isa in (None, "reference"):
        for found, theirs in zip(qengine.InferenceSession(model, isa=isa).run(None, feeds), wanted, strict=True):
            np.testing.assert_allclose(found, theirs, atol=3e-6 * max(1, np.abs(theirs).max()))


# The operator, the shapes of its input and weights, its bias, and constants that broadcast against its output and input
# as one number for each channel.
LINEAR = {
    "conv": (("Conv", "x W b", "c"), (2, 4, 6, 5), (6, 4, 3, 3), (6,), (6, 1, 1), (4, 1, 1)),
    "conv without a bias": (("Conv", "x W", "c"), (2, 4, 6, 5), (6, 4, 3, 3), None, (1, 6, 1, 1), (1, 4, 1, 1)),
    "grouped conv": (
        ("Conv", "x W b", "c", {"group": 2, "strides": [2, 1], "dilations": [1, 2]}),
        *((2, 4, 6, 5), (6, 2, 2, 2), (6,), (6, 1, 1), (4, 1, 1)),
    ),
    "depthwise conv": (("Conv", "x W", "c", {"group": 4}), (2, 4, 6, 5), (8, 1, 3, 3), None, (8, 1, 1), (4, 1, 1)),
    "conv of 1 axis": (("Conv", "x W b", "c"), (2, 4, 9), (6, 4, 3), (6,), (6, 1), (4, 1)),
    "conv of 3 axes": (("Conv", "x W b", "c"), (1, 2, 4, 5, 3), (3, 2, 2, 2, 2), (3,), (3, 1, 1, 1), (2, 1, 1, 1)),
    "a conv that pads to no end": (
        ("Conv", "x W b", "c", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        *((2, 4, 6, 5), (6, 4, 1, 1), (6,), (6, 1, 1), (4, 1, 1)),
    ),
    "transposed": (
        ("ConvTranspose", "x W b", "c", {"group": 2}),
        *((2, 4, 6, 5), (4, 3, 1, 1), (6,), (6, 1, 1), (4, 1, 1)),
    ),
    "gemm": (("Gemm", "x W b", "c", {"alpha": 0.5}), (5, 3), (3, 7), (1, 7), (7,), (3,)),
    "gemm, transposed": (("Gemm", "x W b", "c", {"transB": 1}), (5, 3), (7, 3), (5, 7), (1, 7), (1, 3)),
    "gemm without c": (("Gemm", "x W", "c"), (5, 3), (3, 7), None, (7,), (3,)),
    "matmul": (("MatMul", "x W", "c"), (5, 3), (3, 7), None, (7,), (3,)),
    "matmul of a stack": (("MatMul", "x W", "c"), (2, 5, 3), (3, 7), None, (1, 1, 7), (1, 3)),
    "matmul of a vector": (("MatMul", "x W", "c"), (3,), (3, 7), None, (7,), (3,)),
    "matmul with the weights first": (("MatMul", "W x", "c"), (2, 3, 5), (7, 3), None, (7, 1), (3, 1)),
    "matmul of two axes with the weights first": (("MatMul", "W x", "c"), (3, 5), (7, 3), None, (7, 1), (3, 1)),
}
FIRST = {"Mul": np.multiply, "Div": np.divide, "Add": np.add, "Sub": np.subtract}


def spelled(operator, x, k, y, *, is_first):
    return (operator, f"{k} {x}" if is_first else f"{x} {k}", y)


def constant(shape, seed=5):
    """Numbers of both signs, none of them next to 0."""
    numbers = np.asarray(weights(*shape, seed=seed))
    return np.asarray(np.where(np.abs(numbers) < 0.1, np.float32(0.4), numbers), np.float32)


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize(
    ("operator", "is_first"),
    [("Mul", False), ("Mul", True), ("Div", False), ("Add", True), ("Sub", False), ("Sub", True)],
)
@pytest.mark.parametrize("kind", LINEAR)
def test_a_constant_goes_into_the_operator_before_or_after(kind, operator, is_first, scalar):
    node, x, w, bias, after, before = LINEAR[kind]
    constants = {"W": weights(*w), "k": constant(() if scalar else after)}
    constants |= {} if bias is None else {"b": weights(*bias, seed=3)}
    feeds = {"x": weights(*x, seed=1, scale=1.0)}
    behind = network(
        [node, spelled(operator, "c", "k", "y", is_first=is_first)], inputs={"x": list(x)}, constants=constants
    )
    check(behind, feeds, [node[0]])
    constants["k"] = constant(() if scalar else before)
    inputs = node[1].replace("x", "s")
    nodes = [spelled(operator, "x", "k", "s", is_first=is_first), (node[0], inputs, "y", *node[3:])]
    check(network(nodes, inputs={"x": list(x)}, constants=constants), feeds, [node[0]])


def test_several_in_a_row_are_rounded_once():
    nodes = [
        *[("Mul", "x p", "x1"), ("Add", "x1 q", "x2"), ("Conv", "x2 W", "c"), ("Identity", "c", "i")],
        *[("Div", "i r", "d"), ("Neg", "d", "n"), ("Dropout", "n", "o"), ("Sub", "s o", "y")],
    ]
    constants = {"p": constant((4, 1, 1)), "q": constant((1,)), "r": constant((6, 1, 1)), "s": constant((1, 6, 1, 1))}
    constants["W"] = weights(6, 4, 2, 2)
    model = network(nodes, inputs={"x": [2, 4, 6, 5]}, constants=constants)
    check(model, {"x": weights(2, 4, 6, 5, seed=1)}, ["Conv"])
    graph = optimize(load(model))[-1]
    w, p, q, r, s = (constants[name].astype(np.float64) for name in "Wpqrs")
    _, found_w, found_b = (graph.constants.get(name) for name in graph.nodes[0].inputs)
    columns = w / r[:, :, :, None]
    np.testing.assert_array_max_ulp(found_w, (columns * p[:, 0][:, :, None]).astype(np.float32), maxulp=1)
    bias = (columns * q).sum(axis=(1, 2, 3)) + s.ravel()
    np.testing.assert_array_max_ulp(found_b, bias.astype(np.float32), maxulp=1)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_types_of_real_numbers(dtype):
    constants = {"W": weights(6, 4, 3, 3).astype(dtype), "k": constant((6, 1, 1)).astype(dtype), "h": dtype(0.3)}
    nodes = [("Conv", "x W", "c"), ("Mul", "c k", "m"), ("Sub", "m h", "y")]
    model = network(nodes, inputs={"x": (dtype, [2, 4, 6, 5])}, constants=constants)
    assert operators(model) == ["Conv"]
    graph = optimize(load(model))[-1]
    assert {graph.constants[name].dtype for name in graph.nodes[0].inputs[1:]} == {np.dtype(dtype)}
    x = weights(2, 4, 6, 5, seed=1)
    wide = network(
        nodes, inputs={"x": [2, 4, 6, 5]}, constants={name: np.float32(array) for name, array in constants.items()}
    )
    (found,) = qengine.InferenceSession(model).run(None, {"x": x.astype(dtype)})
    (wanted,) = qengine.InferenceSession(wide).run(None, {"x": x})
    np.testing.assert_allclose(found, wanted, atol=2e-2 if dtype == np.float16 else 1e-5)


CONV = ("Conv", "x W", "c")
LEFT = {
    "a factor of 0 in a Div": ([CONV, ("Div", "c k", "y")], {"k": np.float32([1, 0, 1, 1, 1, 1])[:, None, None]}),
    "infinity": ([CONV, ("Mul", "c k", "y")], {"k": np.float32(np.inf)}),
    "NaN": ([CONV, ("Add", "c k", "y")], {"k": np.full((6, 1, 1), np.nan, np.float32)}),
    "a number that stands for infinity": ([CONV, ("Add", "c k", "y")], {"k": np.finfo(np.float32).min}),
    "a mask": ([CONV, ("Add", "c k", "y")], {"k": np.float32([-1e9, 0, 0, 0, 0, 0])[:, None, None]}),
    "weights that overflow": ([CONV, ("Mul", "c k", "y")], {"k": np.float32(3e38), "W": weights(6, 4, 3, 3) * 9}),
    "weights that lose their digits": ([CONV, ("Mul", "c k", "y")], {"k": np.float32(1e-39)}),
    "a number for each position": ([CONV, ("Add", "c k", "y")], {"k": weights(4, 3)}),
    "a number for each image": ([CONV, ("Mul", "c k", "y")], {"k": weights(2, 1, 1, 1)}),
    "more axes": ([CONV, ("Mul", "c k", "y")], {"k": weights(1, 1, 1, 1, 1)}),
    "more channels": ([("Conv", "x W", "c"), ("Add", "c k", "y")], {"k": weights(3, 1, 1), "W": weights(1, 4, 3, 3)}),
    "a quotient of the constant": ([CONV, ("Div", "k c", "y")], {"k": np.float32(2)}),
    "a second reader": ([CONV, ("Mul", "c k", "m"), ("Concat", "m c", "y", {"axis": 1})], {"k": np.float32(2)}),
    "another type": ([CONV, ("Cast", "c", "d", {"to": 11}), ("Mul", "d k", "y")], {"k": np.float64(2)}),
    "padding after an Add": (
        [("Add", "x k", "c"), ("Conv", "c W", "y", {"pads": [1, 0, 0, 0]})],
        {"k": np.float32(2)},
    ),
    "overlaps after an Add": (
        [("Add", "x k", "c"), ("ConvTranspose", "c W", "y")],
        {"k": np.float32(2), "W": weights(4, 6, 3, 3)},
    ),
    "one input channel that becomes four": ([("Mul", "z k", "c"), ("Conv", "c W", "y")], {"k": weights(4, 1, 1)}),
}  # fmt: skip


@pytest.mark.parametrize("kind", LEFT)
def test_what_does_not_fold(kind):
    nodes, constants = LEFT[kind]
    model = network(
        nodes, inputs={"x": [2, 4, 6, 5], "z": [2, 1, 6, 5]}, constants={"W": weights(6, 4, 3, 3), **constants}
    )
    assert len(operators(model)) == len(nodes)
    graph = load(model)
    assert set(fold_affine(graph).constants) == set(graph.constants)
    feeds = {"x": weights(2, 4, 6, 5, seed=1), "z": weights(2, 1, 6, 5, seed=2)}
    if kind != "weights that lose their digits":
        (found,), (wanted,) = qengine.InferenceSession(model).run(None, feeds), run_onnxruntime(model, feeds)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["an output", "computed weights", "a computed bias", "integers"])
def test_what_does_not_fold_because_of_other_tensors(kind):
    nodes, inputs, outputs = [("Gemm", "x W b", "c"), ("Mul", "c k", "y")], {"x": [2, 3]}, ["y"]
    constants = {"W": weights(3, 4), "b": weights(4), "k": np.float32(2)}
    if kind == "an output":
        outputs = ["y", "c"]
    elif kind == "integers":
        constants = {name: np.int32(array * 8) for name, array in constants.items()}
        inputs = {"x": (np.int32, [2, 3])}
    else:
        name = "W" if kind == "computed weights" else "b"
        inputs[name] = list(constants.pop(name).shape)
    model = network(nodes, inputs=inputs, outputs=outputs, constants=constants)
    assert operators(model) == ["Gemm", "Mul"]


def test_a_factor_before_padding_and_a_computed_bias():
    nodes = [("Mul", "x k", "s"), ("Conv", "s W b", "y", {"pads": [1, 1, 1, 1]})]
    constants = {"W": weights(6, 4, 3, 3), "k": constant((4, 1, 1))}
    feeds = {"x": weights(2, 4, 6, 5, seed=1), "b": weights(6)}
    check(network(nodes, inputs={"x": [2, 4, 6, 5], "b": [6]}, constants=constants), feeds, ["Conv"])
    nodes = [("Sub", "x m", "a"), ("Div", "a k", "s"), ("Conv", "s W", "y", {"pads": [1, 1, 1, 1]})]
    constants |= {"m": constant((4, 1, 1), seed=9)}
    check(network(nodes, inputs={"x": [2, 4, 6, 5]}, constants=constants), {"x": feeds["x"]}, ["Sub", "Conv"])


def test_a_factor_of_zero_makes_a_channel_of_its_addend():
    k = np.float32([1, 0, -2, 0.5, 0, 3])[:, None, None]
    nodes = [("Conv", "x W b", "c"), ("Mul", "c k", "m"), ("Add", "m k", "y")]
    model = network(nodes, inputs={"x": [2, 4, 6, 5]}, constants={"W": weights(6, 4, 3, 3), "b": weights(6), "k": k})
    check(model, {"x": weights(2, 4, 6, 5, seed=1)}, ["Conv"])


def test_a_function_in_several_operators_is_left_to_its_rule():
    nodes = [
        ("Conv", "x W", "c"),
        ("Neg", "c", "n"),
        ("Exp", "n", "e"),
        ("Add", "e one", "a"),
        ("Reciprocal", "a", "y"),
    ]
    model = network(nodes, inputs={"x": [2, 4, 6, 5]}, constants={"W": weights(6, 4, 3, 3), "one": np.float32(1)})
    check(model, {"x": weights(2, 4, 6, 5, seed=1)}, ["Conv", "Sigmoid"])
    assert [node.operator for node in fold_graph(load(model)).nodes] == ["Conv", "Neg", "Exp", "Add", "Reciprocal"]


# Fixed point: the bits of a network that was folded by hand


def by_hand(kind, scale, shift):
    """Return the node and the constants of a linear operator times a scale plus a shift, and its input's shape."""
    node, x, w, bias, after, _ = LINEAR[kind]
    w, bias = weights(*w).astype(np.float64), 0.0 if bias is None else weights(*bias, seed=3).astype(np.float64)
    k = np.broadcast_to(scale, after).reshape(-1) if scale.size == 1 else scale.reshape(-1)
    if node[0] == "Conv":
        w = w * k.reshape(-1, *(1,) * (w.ndim - 1))
    elif node[0] == "ConvTranspose":
        w = (w.reshape(2, 2, 3, 1, 1) * k.reshape(2, 1, 3, 1, 1)).reshape(w.shape)
    else:
        w = w * (k[:, None] if "transposed" in kind or "first" in kind else k)
    return node, x, np.float32(w), np.float32(bias * k + shift.reshape(-1))


EXACT = ("conv", "grouped conv", "conv of 1 axis", "conv of 3 axes", "transposed", "gemm without c", "gemm, transposed")


@pytest.mark.parametrize(
    "options", [{"qformat": "Q3.4"}, {"qformat": "Q5.10"}, {"qformat": "Q3.4", "per_channel": True}]
)
@pytest.mark.parametrize("kind", EXACT)
def test_the_bits_are_those_of_a_network_folded_by_hand(kind, options):
    node, x, w, bias, after, _ = LINEAR[kind]
    scale, shift = constant(after).astype(np.float64), constant(after, seed=8).astype(np.float64)
    constants = {"W": weights(*w), "k": np.float32(scale), "h": np.float32(shift)}
    constants |= {} if bias is None else {"b": weights(*bias, seed=3)}
    attributes = {name: value for name, value in (node[3] if len(node) > 3 else {}).items() if name != "alpha"}
    nodes = [(*node[:3], attributes), ("Mul", "c k", "m"), ("Add", "m h", "y")]
    model = network(nodes, inputs={"x": list(x)}, constants=constants)
    hand, _, hand_w, hand_b = by_hand(kind, scale, shift)
    plain = network(
        [(hand[0], "x W b", "y", attributes)],
        inputs={"x": list(x)},
        constants={"W": hand_w, "b": np.atleast_1d(hand_b)},
    )
    feeds = {"x": weights(*x, seed=1, scale=1.0)}
    (wanted,) = qengine.InferenceSession(plain, isa="reference", **options).run(None, feeds, raw=True)
    assert np.unique(wanted).size > 5
    for isa in ("reference", None, "generic"):
        session = qengine.InferenceSession(model, isa=isa, **options)
        np.testing.assert_array_equal(session.run(None, feeds, raw=True)[0], wanted, strict=True)
        session = qengine.InferenceSession(fold_graph(load(model)), isa=isa, **options)
        np.testing.assert_array_equal(session.run(None, feeds, raw=True)[0], wanted, strict=True)


@pytest.mark.parametrize(
    "options", [{"qformat": "Q3.4"}, {"qformat": "Q5.10"}, {"qformat": "Q3.4", "per_channel": True}]
)
@pytest.mark.parametrize("kind", ["matmul", "matmul of a stack", "matmul of a vector"])
def test_a_matmul_and_a_row_are_a_gemm(kind, options):
    node, x, w, _, after, _ = LINEAR[kind]
    constants = {"W": weights(*w), "k": constant(after)}
    model = network([node, ("Add", "k c", "y")], inputs={"x": list(x)}, constants=constants)
    rows = int(np.prod(x[:-1]))
    constants["k"] = constants["k"].reshape(-1)
    gemm = network([("Gemm", "x W k", "y")], inputs={"x": [rows, x[-1]]}, constants=constants)
    fed = weights(*x, seed=1, scale=1.0)
    (wanted,) = qengine.InferenceSession(gemm, isa="reference", **options).run(
        None, {"x": fed.reshape(rows, -1)}, raw=True
    )
    for isa in ("reference", None, "generic"):
        session = qengine.InferenceSession(model, isa=isa, strict=True, **options)
        (found,) = session.run(None, {"x": fed}, raw=True)
        np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)
        assert set(session.formats) == {"x", "c", "W", "y"}


def test_weights_that_come_first_leave_room_for_the_bias():
    constants = {"W": weights(7, 3) / 1000, "k": np.float32([[200], [1], [0], [-3], [1], [1], [1]])}
    model = network([("MatMul", "W x", "c"), ("Add", "c k", "y")], inputs={"x": [3, 5]}, constants=constants)
    session = qengine.InferenceSession(model, formats={"x": "Q3.12", "c": "Q8.7", "y": "Q8.7"})
    assert 200 * 2.0 ** (session.formats["W"].fraction_bits + 12) < 2**31
    feeds = {"x": weights(3, 5, seed=1)}
    (found,), (wanted,) = session.run(None, feeds), run_onnxruntime(model, feeds)
    np.testing.assert_allclose(found, wanted, atol=0.02)


def test_names_lead_back_to_the_model():
    nodes = [("Conv", "x W", "c"), ("Mul", "c k", "m"), ("Add", "m h", "y")]
    constants = {"W": weights(6, 4, 3, 3), "k": constant((6, 1, 1)), "h": constant((6, 1, 1), seed=8)}
    model = network(nodes, inputs={"x": [2, 4, 6, 5]}, constants=constants)
    graph = optimize(load(model))[-1]
    assert [graph.derived.get(name, name) for name in graph.nodes[0].inputs] == ["x", "W", "h"]
    session = qengine.InferenceSession(model, qformat="Q4.11", formats={"m": "Q3.12", "k": "Q2.13", "W": "Q3.12"})
    assert set(session.formats) == {"x", "c", "m", "y", "W", "k"}
    assert str(session.formats["W"]) == "Q3.12"
    assert sorted(note.partition(" has")[0] for note in session.notes) == ["the format of 'k'", "the format of 'm'"]
    feeds = {"x": weights(2, 4, 6, 5, seed=1)}
    for name, found in zip("cmy", session.run(["c", "m", "y"], feeds), strict=True):
        np.testing.assert_allclose(found, run_onnxruntime(model, feeds, [name])[0], atol=0.01)


def test_an_override_folds_again():
    model = network(
        [("Conv", "x W", "c"), ("Mul", "c k", "y")],
        inputs={"x": [2, 4, 6, 5]},
        constants={"W": weights(6, 4, 3, 3), "k": np.float32(2)},
        overridable=["k"],
    )
    feeds = {"x": weights(2, 4, 6, 5, seed=1)}
    session = qengine.InferenceSession(model)
    for more in ({}, {"k": np.asarray(-3, np.float32)}):
        (found,), (wanted,) = session.run(None, {**feeds, **more}), run_onnxruntime(model, {**feeds, **more})
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("qformat", ["Q3.4", "Q5.10"])
@pytest.mark.parametrize("kind", [kind for kind in LINEAR if kind != "matmul of a vector"])
def test_the_quantized_file_has_the_same_codes(kind, qformat):
    node, x, w, bias, after, before = LINEAR[kind]
    constants = {"W": weights(*w), "k": constant(after), "h": constant(after, seed=8), "p": constant(before, seed=9)}
    constants |= {} if bias is None else {"b": weights(*bias, seed=3)}
    inputs = node[1].replace("x", "s")
    nodes = [("Mul", "p x", "s"), (node[0], inputs, "c", *node[3:]), ("Mul", "c k", "m"), ("Add", "m h", "a")]
    model = network([*nodes, ("Relu", "a", "y")], inputs={"x": list(x)}, constants=constants)
    assert len(operators(model)) == 1
    session = qengine.InferenceSession(model, qformat=qformat, isa="reference")
    written = quantized_model(session)
    feeds = {"x": weights(*x, seed=1, scale=1.0)}
    wanted = session.run(None, feeds, raw=True)[0]
    back = qengine.InferenceSession(written, isa="reference")
    np.testing.assert_array_equal(back.run(None, feeds, raw=True)[0], wanted, strict=True)
