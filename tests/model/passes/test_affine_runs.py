"""Sums and products with numbers for each channel: several become one linear operator, which rounds once."""

import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

import qengine
from qengine.model.loader import load
from qengine.model.passes import optimize
from qengine.quantization.qdq.write import quantized_model

MEAN, STD = weights(3, 1, 1, seed=1), np.abs(weights(3, 1, 1, seed=2)) + 0.5
CONSTANTS = {
    "m": MEAN,
    "s": STD,
    "k": np.float32(1.5),
    "l": np.float32([0.25]),
    "three": 3.0,
    "zero": 0.0,
    "six": 6.0,
} | {
    "w": weights(5),
    "v": np.abs(weights(1, 1, 5, seed=3)) + 0.5,
    "b": weights(1, 3, 1, 1),
}

ONE = {
    "shifted, then scaled": "Sub x m a; Div a s y",
    "scaled, then shifted": "Mul x s a; Add m a y",
    "subtracted from": "Sub m x a; Mul s a y",
    "a single number between": "Mul x s a; Mul a k c; Add c m y",
    "single numbers around": "Add x l a; Mul a s c; Sub k c y",
    "sums alone": "Add x m a; Sub a b y",
    "a factor and a single number": "Div x s a; Add a k y",
    "a sign": "Neg x a; Add m a y",
    "a sign at the end": "Mul x s a; Identity a c; Neg c y",
}
ROWS = {
    "rows, shifted and scaled": "Sub x w a; Div a v y",
    "rows, scaled and shifted": "Mul x v a; Add w a y",
    "rows, and single numbers around": "Add x l a; Mul a v c; Sub k c y",
}
RUNS = {kind: (text, "ScaleShift") for kind, text in ONE.items()}
RUNS |= {kind: (text, "RowScaleShift") for kind, text in ROWS.items()}
STAYS = {
    "one": "Mul x s y",
    "one, and the same": "Identity x a; Mul s a y",
    "along the rows": "Mul x w a; Add a m y",
    "read by another": "Mul x s a; Add a m c; Mul c a y",
    "divided by it": "Add x m a; Div s a y",
}


def model_of(text, shape=("N", 3, 4, 5), **others):
    nodes = [(w.split()[0], " ".join(w.split()[1:-1]), w.split()[-1]) for w in text.split("; ")]
    read = {name for words in text.split("; ") for name in words.split()[1:-1]}
    constants = {name: array for name, array in (CONSTANTS | others).items() if name in read}
    return network(nodes, inputs={"x": list(shape)}, constants=constants)


def labels(model):
    return [node.operator for node in optimize(load(model))[-1].nodes]


@pytest.mark.parametrize("kind", RUNS)
def test_one_step_comes_of_it(kind):
    text, operator = RUNS[kind]
    model = model_of(text)
    assert labels(model) == [operator]
    x = {"x": weights(2, 3, 4, 5, scale=3.0)}
    (y,) = qengine.InferenceSession(model).run(None, x)
    np.testing.assert_allclose(y, run_onnxruntime(model, x)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", STAYS)
def test_what_is_something_else_stays(kind):
    assert "ScaleShift" not in labels(model_of(STAYS[kind]))


def test_channels_and_rows_are_apart():
    model = model_of("Mul x s a; Add a m c; Mul c w d; Sub v d y")
    assert labels(model) == ["ScaleShift", "RowScaleShift"]
    square = model_of("Mul x m a; Sub a k c; Mul c s d; Add d m y", shape=(2, 3, 3, 3))
    assert labels(square) == ["ScaleShift"]


def test_bounds_after_it_are_its_own():
    graph = optimize(load(model_of("Mul x s a; Add a m c; Relu c y")))[-1]
    (node,) = graph.nodes
    assert node.operator == "ScaleShift"
    assert node.activation is not None


@pytest.mark.parametrize("kind", RUNS)
def test_it_is_rounded_once(kind):
    """The factors are codes, the sums have 32 bits; the error of the result is half a step and that of the factors."""
    model = model_of(RUNS[kind][0])
    x = np.random.default_rng(0).integers(-128, 128, (2, 3, 4, 5)).astype(np.float32) / 64
    options = {"formats": {"x": "Q1.6", "y": "Q7.8"}, "weight_qformat": "Q3.12"}
    (y,) = qengine.InferenceSession(model, isa="reference", **options).run(None, {"x": x})
    (wanted,) = run_onnxruntime(model, {"x": x})
    assert np.abs(y - wanted).max() <= 2.0**-9 + 2.0**-13 * 2 + 1e-5


WRITTEN = (
    ONE
    | ROWS
    | STAYS
    | {
        "a function in several operators": "Mul x s a; Add a three c; Clip c zero six d; Div d six y",
        "a chain after it": "Mul x s a; Add a m c; Add c k d; Tanh d e; Mul e k y",
    }
)


@pytest.mark.parametrize("word", ["Q3.4", "Q3.12"])
@pytest.mark.parametrize("kind", WRITTEN)
def test_what_is_written_is_read(kind, word):
    session = qengine.InferenceSession(model_of(WRITTEN[kind]), qformat=word, isa="reference", per_channel=True)
    back = qengine.InferenceSession(quantized_model(session), isa="reference", strict=True)
    x = {"x": weights(2, 3, 4, 5, scale=3.0)}
    np.testing.assert_array_equal(back.run(None, x)[0], session.run(None, x)[0])


@pytest.mark.parametrize("shape", [["N", 3], ["N", 4, 3], ["N", "T", 3], ["N", "T", 2, 3]])
def test_a_chain_after_it_is_read_as_one(shape):
    """What is written as a Conv of another shape leaves the number of axes known."""
    text = "Mul x s a; Add a m c; Max c l d; Tanh d e; Mul e l y"
    model = model_of(text, shape, s=STD.ravel(), m=MEAN.ravel())
    assert labels(model) == ["ScaleShift" if len(shape) == 2 else "RowScaleShift", "Max·Tanh·Mul"]
    session = qengine.InferenceSession(model, qformat="Q3.4", isa="reference")
    back = qengine.InferenceSession(quantized_model(session), isa="reference", strict=True)
    x = {"x": weights(*(2 if isinstance(n, str) else n for n in shape), scale=3.0)}
    np.testing.assert_array_equal(back.run(None, x)[0], session.run(None, x)[0])
