"""Chains of operators that are one function of one variable: which become one table, with one rounding."""

import numpy as np
import onnx
import pytest
from chain_programs import computed, exact_codes, random_chain
from networks import network, run_onnxruntime, weights

import qengine
from qengine.analysis.inspection import inspect_model
from qengine.analysis.report import compare
from qengine.model.graph import CHAIN_DOMAIN
from qengine.model.loader import load
from qengine.model.passes import optimize
from qengine.quantization.calibration.signs import never_negative
from qengine.quantization.qdq.write import quantized_model

FORMATS = {"x": "Q3.4", "y": "Q3.4"}
EVERY = {"x": np.arange(-128, 128).astype(np.float32).reshape(64, 4) / 16}


def labels(model):
    """The operators after the passes."""
    return [node.operator for node in optimize(load(model))[-1].nodes]


def chain(text, *, inputs=None, outputs=("y",), opset=17, **constants):
    """A model of nodes such as "Add x k a; Tanh a y"."""
    nodes = []
    for words in text.split("; "):
        operator, *names = words.split()
        nodes.append((operator, " ".join(names[:-1]), names[-1]))
    numbers = {"k": 1.5, "l": -0.3, "zero": 0.0, "six": 6.0} | constants
    read = {name for words in text.split("; ") for name in words.split()[1:-1]}
    used = {name: value for name, value in numbers.items() if name in read}
    return network(nodes, inputs=inputs or {"x": ["N", 4]}, outputs=outputs, constants=used, opset=opset)


@pytest.mark.parametrize("seed", range(40))
def test_random_chains_are_rounded_once(seed):
    model, program = random_chain(seed, shape=("N", 4))
    nodes = optimize(load(model))[-1].nodes
    assert len(nodes) == 1
    session = qengine.InferenceSession(model, formats={"x": "Q3.4", "y": "Q4.11"}, strict=True, isa="reference")
    (codes,) = session.run(None, EVERY, raw=True)
    np.testing.assert_array_equal(codes, exact_codes(computed(program, EVERY["x"]), 11, -(1 << 15), (1 << 15) - 1))


@pytest.mark.parametrize("seed", range(40, 60))
def test_real_numbers_are_those_of_the_operators(seed):
    model, _ = random_chain(seed, shape=("N", 3))
    x = {"x": weights(50, 3, seed=seed, scale=4.0)}
    (y,) = qengine.InferenceSession(model, isa="reference").run(None, x)
    (wanted,) = run_onnxruntime(model, x)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(wanted).max())))


ONE = {
    "a function, then times and plus": ("HardSwish x a; Mul a k b; Add b l y", "HardSwish·Mul·Add"),
    "a recognised function inside": ("Add x k a; Sigmoid a s; Mul a s w; Sub w l y", "Add·Swish·Sub"),
    "numbers first": ("Add k x a; Clip a zero six c; Sub k c y", "Add·Clip·Sub"),
    "a diamond": ("Tanh x t; Mul t x m; Div m k y", "Tanh·Mul·Div"),
    "a diamond in a diamond": (
        "Tanh x t; Mul x t m; Sigmoid m s; Add s t b; Max b x y",
        "Tanh·Mul·Sigmoid·Add·Max",
    ),
    "bounds before and after": ("Relu x r; Exp r e; Sqrt e s; Relu s y", "Relu·Exp·Sqrt·Relu"),
    "a name in between": ("Tanh x t; Identity t i; Exp i y", "Tanh·Identity·Exp"),
    "a square": ("Mul x x s; Add s k y", "Mul·Add"),
    "three terms": ("Sum x k x s; Neg s y", "Sum·Neg"),
    "a slope": ("PRelu x l p; Abs p y", "PRelu·Abs"),
}


@pytest.mark.parametrize("kind", ONE)
def test_one_table_comes_of_it(kind):
    text, label = ONE[kind]
    model = chain(text)
    (node,) = optimize(load(model))[-1].nodes
    assert (node.operator, node.domain, node.inputs, node.outputs) == (label, CHAIN_DOMAIN, ("x",), ("y",))
    x = {"x": weights(6, 4, scale=3.0)}
    np.testing.assert_allclose(
        qengine.InferenceSession(model).run(None, x)[0], run_onnxruntime(model, x)[0], rtol=1e-5, atol=1e-6
    )


STAYS = {
    "one operator": "Mul x k y",
    "one that rounds, and bounds": "Tanh x t; Relu t y",
    "bounds alone": "Relu x r; Clip r zero six y",
    "two variables": "Tanh x t; Mul t z y",
    "read by another": "Tanh x t; Softmax t u; Mul t k m; Concat m u y",
    "a number for each channel": "Tanh x t; Mul t c y",
    "a number with more axes": "Mul x w t; Softmax t y",
}


@pytest.mark.parametrize("kind", STAYS)
def test_what_is_something_else_stays(kind):
    nodes = [(w.split()[0], " ".join(w.split()[1:-1]), w.split()[-1]) for w in STAYS[kind].split("; ")]
    nodes = [(*node, {"axis": 0}) if node[0] == "Concat" else node for node in nodes]
    constants = {"k": 1.5, "zero": 0.0, "six": 6.0, "c": weights(4), "w": np.float32([[[2]]])}
    read = {name for _, names, _, *_ in nodes for name in names.split()}
    used = {name: value for name, value in constants.items() if name in read}
    inputs = {"x": ["N", 4]} | ({"z": ["N", 4]} if "z" in read else {})
    model = network(nodes, inputs=inputs, constants=used)
    assert not any("·" in label for label in labels(model))


def test_types_that_round_by_themselves_stay():
    half = network(
        [("Tanh", "x", "t"), ("Mul", "t k", "y")],
        inputs={"x": (np.float16, [4])},
        constants={"k": np.float16(1.5)},
        values={"y": (np.float16, [4])},
    )
    whole = network(
        [("Abs", "x", "t"), ("Mul", "t k", "y")],
        inputs={"x": (np.int64, [4])},
        constants={"k": np.int64(3)},
        values={"y": (np.int64, [4])},
    )
    assert labels(half) == ["Tanh", "Mul"]
    assert labels(whole) == ["Abs", "Mul"]


def test_an_output_in_between_ends_one_chain_and_begins_another():
    model = chain("Tanh x t; Mul t k m; Exp m e; Add e l y", outputs=("y", "m"))
    assert labels(model) == ["Tanh·Mul", "Exp·Add"]


def test_the_longest_part_is_taken_where_a_branch_leaves():
    model = chain("Tanh x t; Mul t k m; Exp m e; Softmax m z; Add e l b; Mul b z y")
    assert labels(model) == ["Tanh·Mul", "Softmax", "Exp·Add", "Mul"] or labels(model) == [
        "Tanh·Mul",
        "Exp·Add",
        "Softmax",
        "Mul",
    ]


def test_a_longer_chain_is_several():
    nodes = [("Tanh", f"t{i}" if i else "x", f"t{i + 1}" if i < 69 else "y") for i in range(70)]
    found = labels(network(nodes, inputs={"x": [4]}))
    assert [label.count("Tanh") for label in found] == [6, 64]


def test_a_scalar_takes_no_number_with_axes():
    """A sum with a number of one axis has an axis more."""
    model = chain("Tanh x t; Mul t o m; Neg m n; Exp n y", inputs={"x": []}, o=np.float32([2.0]))
    assert labels(model) == ["Tanh", "Mul", "Neg·Exp"]
    assert qengine.InferenceSession(model).run(None, {"x": np.float32(1)})[0].shape == (1,)


def test_what_a_linear_operator_takes_is_not_part_of_it():
    model = network(
        [("Conv", "x W", "c"), ("Relu", "c", "r"), ("Tanh", "r", "t"), ("Mul", "t k", "y")],
        constants={"W": weights(2, 3, 1, 1), "k": 1.5},
    )
    assert labels(model) == ["Conv", "Tanh·Mul"]


def test_a_tensor_inside_is_computed_as_written_where_a_run_asks_for_it():
    model = chain("Tanh x t; Mul t k m; Add m l y")
    session = qengine.InferenceSession(model, formats={"x": "Q3.4", "m": "Q3.4", "y": "Q3.4"}, qformat="Q3.4")
    m, y = session.run(["m", "y"], EVERY)
    tanh = np.clip(np.rint(np.tanh(EVERY["x"].astype(np.float64)) * 16), -128, 127) / 16
    np.testing.assert_array_equal(m, np.rint(tanh * 1.5 * 16) / 16)
    np.testing.assert_array_equal(y, session.run(["y"], EVERY)[0])
    assert len(session.notes) == 1


def test_a_format_inside_has_no_effect_and_a_note():
    session = qengine.InferenceSession(chain("Tanh x t; Mul t k y"), formats=FORMATS | {"t": "Q0.7", "k": "Q0.7"})
    assert [note.split(" has no effect")[0] for note in session.notes] == ["the format of 't'", "the format of 'k'"]
    assert "t" not in session.rounded


def test_poles_and_infinities():
    """A quotient by 0 saturates by its sign, 0 / 0 is 0, and both are counted."""
    model = chain("Sub x one d; Div x d y", one=np.float32(1.0))
    session = qengine.InferenceSession(model, formats=FORMATS)
    x = {"x": np.float32([[1.0, 2.0, 0.0, -1.0]])}
    np.testing.assert_array_equal(session.run(None, x)[0], [[127 / 16, 2, 0, 0.5]])
    assert compare(session, session.in_float32(), x).tensors[-1].saturated == 1
    with np.errstate(all="ignore"):
        real = {"x": np.float32([[1.0, np.inf, np.nan, -np.inf]])}
        np.testing.assert_array_equal(
            qengine.InferenceSession(model).run(None, real)[0], run_onnxruntime(model, real)[0]
        )


def test_signs():
    graph = optimize(load(chain("Tanh x t; Exp t e; Mul e k y")))[-1]
    assert never_negative(graph) >= {"y"}
    assert "y" not in never_negative(optimize(load(chain("Tanh x t; Exp t e; Mul e l y")))[-1])


def test_inspection_names_the_operators():
    found = inspect_model(chain("Tanh x t; Mul t k m; Add m l y"))
    assert [(node.operator, node.kind) for node in found.nodes] == [
        ("Tanh·Mul·Add", "integer"),
        ("Mul", "fused"),
        ("Add", "fused"),
    ]


@pytest.mark.parametrize("seed", range(60, 70))
@pytest.mark.parametrize("word", ["Q3.4", "Q3.12"])
def test_what_is_written_is_one_table_again(seed, word):
    model, _ = random_chain(seed, shape=("N", 3))
    session = qengine.InferenceSession(model, formats={"x": word, "y": word}, isa="reference")
    written = quantized_model(session)
    onnx.checker.check_model(written, full_check=True)
    back = qengine.InferenceSession(written, isa="reference", strict=True)
    x = {"x": weights(60, 3, seed=seed, scale=4.0)}
    np.testing.assert_array_equal(back.run(None, x)[0], session.run(None, x)[0])
    assert sum(node.op_type == "QuantizeLinear" for node in written.graph.node) == 2


def test_a_number_that_a_chain_and_a_sum_read():
    """The sum reads its code, the chain the number itself."""
    model = network(
        [("Tanh", "x", "t"), ("Mul", "t k", "m"), ("Add", "m k", "a"), ("Softmax", "x", "s"), ("Mul", "s k", "b"),
         ("Add", "a b", "y")],
        inputs={"x": ["N", 4]},
        constants={"k": 0.3},
    )  # fmt: skip
    session = qengine.InferenceSession(model, qformat="Q3.4", isa="reference")
    back = qengine.InferenceSession(quantized_model(session), isa="reference")
    x = {"x": weights(60, 4, scale=4.0)}
    np.testing.assert_array_equal(back.run(None, x)[0], session.run(None, x)[0])
