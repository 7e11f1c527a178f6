"""Bernoulli, Multinomial, RandomNormal, RandomUniform and those like another tensor."""

import hashlib

import numpy as np
import pytest
from model.eager.nodes import run
from model.ops.cases import real
from onnx import helper

import qengine
from qengine.errors import QEngineError
from qengine.model.eager.evaluators import random_numbers

SHAPE = {"shape": [200, 50]}
PLAIN = np.zeros((200, 50), np.float32)
HALVES = np.full((200, 50), 0.25, np.float32)
NODES = [
    ("RandomNormal", (), SHAPE),
    ("RandomUniform", (), SHAPE),
    ("RandomNormalLike", (PLAIN,), {}),
    ("RandomUniformLike", (PLAIN,), {}),
    ("Bernoulli", (HALVES,), {}),
    ("Multinomial", (real(200, 5),), {"sample_size": 50}),
]
IDS = [one[0] for one in NODES]


@pytest.mark.parametrize(("operator", "inputs", "attributes"), NODES, ids=IDS)
def test_a_seed_gives_the_same_numbers_and_no_seed_others(operator, inputs, attributes):
    def numbers(**seed):
        return run(operator, inputs, opset=22, **{**attributes, **seed})[0]

    first = numbers(seed=0.5)
    np.testing.assert_array_equal(first, numbers(seed=0.5), strict=True)
    assert not np.array_equal(first, numbers(seed=0.25))
    assert not np.array_equal(numbers(), numbers())
    assert first.shape == (200, 50)


def test_numbers_of_a_seed_are_these_on_every_machine():
    normal = random_numbers.random_normal(seed=1.0, shape=(1000,))
    uniform = random_numbers.random_uniform(seed=1.0, shape=(1000,))
    assert (normal[:3].tolist(), uniform[:3].tolist()) == (NORMAL, UNIFORM)
    assert hashlib.sha256(normal.tobytes() + uniform.tobytes()).hexdigest()[:16] == DIGEST


NORMAL = [0.07775939255952835, -1.2785872220993042, 0.6717365980148315]
UNIFORM = [0.5201390981674194, 0.1688557118177414, 0.5731143951416016]
DIGEST = "078d433c977528a6"


@pytest.mark.parametrize("dtype", [1, 10, 11, 16])
@pytest.mark.parametrize("like", [False, True])
def test_distributions(dtype, like):
    end, inputs, shape = ("Like", (PLAIN,), {}) if like else ("", (), dict(SHAPE))
    shape |= {"dtype": dtype, "seed": 1.0}
    (y,) = run(f"RandomNormal{end}", inputs, opset=22, **shape, mean=3.0, scale=2.0)
    wide = y.astype(np.float64)
    assert abs(wide.mean() - 3) < 0.1
    assert abs(wide.std() - 2) < 0.1
    assert abs((np.abs(wide - 3) < 2).mean() - 0.6827) < 0.02
    (y,) = run(f"RandomUniform{end}", inputs, opset=22, **shape, low=-1.0, high=3.0)
    wide = y.astype(np.float64)
    assert wide.min() >= -1
    assert wide.max() < 3
    np.testing.assert_allclose(np.histogram(wide, 4, (-1, 3))[0] / wide.size, 0.25, atol=0.03)
    assert y.dtype.name == {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}[dtype]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_the_type_is_that_of_the_other_tensor(kind):
    for operator in ("RandomNormalLike", "RandomUniformLike"):
        assert run(operator, (PLAIN.astype(kind),), opset=22)[0].dtype == kind
    assert run("Bernoulli", (HALVES.astype(kind),), opset=22)[0].dtype == kind


@pytest.mark.parametrize("dtype", [1, 6, 9, 10, 2])
def test_bernoulli(dtype):
    p = np.float32([[0], [0.25], [1]]).repeat(4000, 1)
    (y,) = run("Bernoulli", (p,), opset=15, dtype=dtype, seed=3.0)
    np.testing.assert_allclose(y.astype(np.float64).mean(1), [0, 0.25, 1], atol=0.03)
    assert y.dtype.name == {1: "float32", 6: "int32", 9: "bool", 10: "float16", 2: "uint8"}[dtype]


@pytest.mark.parametrize("dtype", [6, 7])
def test_multinomial(dtype):
    share = np.array([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    with np.errstate(divide="ignore"):
        x = np.float32(np.log(share) + np.array([[2.0], [-50.0]]))
    (y,) = run("Multinomial", (x,), opset=7, dtype=dtype, sample_size=8000, seed=2.0)
    for row in y:
        np.testing.assert_allclose(np.bincount(row, minlength=6) / 8000, share, atol=0.03)
    assert y.dtype == (np.int32 if dtype == 6 else np.int64)


def test_every_run_of_a_session_draws_again():
    node = helper.make_node("RandomUniform", [], ["y"], shape=[4])
    info = helper.make_tensor_value_info("y", 1, [4])
    model = helper.make_model(
        helper.make_graph([node], "random", [], [info]), opset_imports=[helper.make_opsetid("", 22)], ir_version=10
    )
    session = qengine.InferenceSession(model.SerializeToString())
    assert not np.array_equal(session.run(None, {})[0], session.run(None, {})[0])


def test_numbers_do_not_depend_on_the_size_of_blocks(monkeypatch):
    wanted = random_numbers.random_normal(seed=1.0, shape=(100_000,))
    monkeypatch.setattr(random_numbers, "_BLOCK", 1000)
    np.testing.assert_array_equal(random_numbers.random_normal(seed=1.0, shape=(100_000,)), wanted)


def test_no_elements():
    assert run("RandomNormal", (), opset=22, shape=[0, 3], seed=1.0)[0].shape == (0, 3)
    assert run("Multinomial", (real(0, 3),), opset=22)[0].shape == (0, 1)


ERRORS = [
    ("Bernoulli", (np.float32([0.5, 1.5]),), {}, "not between 0 and 1"),
    ("Bernoulli", (np.float32([0.5, -0.1]),), {}, "not between 0 and 1"),
    ("Bernoulli", (np.float32([0.5, np.nan]),), {}, "not between 0 and 1"),
    ("RandomNormal", (), {"shape": [3], "scale": -1.0}, "scale -1.0 0 or more"),
    ("RandomNormal", (), {"shape": [3], "scale": float("nan")}, "scale nan 0 or more"),
    ("RandomNormal", (), {"shape": [-3]}, "[Nn]egative"),
    ("RandomNormal", (), {"shape": [2**31 - 1, 2**31 - 1]}, "more than 1,073,741,824 elements"),
    ("RandomNormal", (), {"shape": [3], "dtype": 6}, "dtype 6 is not a type|dtype"),
    ("RandomUniform", (), {"shape": [3], "low": 2.0}, "low not above high"),
    ("RandomUniform", (), {"shape": [3], "high": float("inf")}, "must be finite"),
    ("RandomUniformLike", (np.int64([1, 2]),), {}, "set the attribute dtype|cannot run"),
    ("Multinomial", (real(2, 3),), {"sample_size": 0}, "sample_size 0 1 or more"),
    ("Multinomial", (real(2, 3),), {"sample_size": 2**31 - 1}, "more than 1,073,741,824 elements"),
    ("Multinomial", (real(3),), {}, "must be \\[batch, classes\\]|cannot run"),
    ("Multinomial", (np.full((1, 2), -np.inf, np.float32),), {}, "no class with a probability above 0"),
    ("Multinomial", (np.float32([[np.nan, 1]]),), {}, "NaN"),
    ("Multinomial", (real(2, 3),), {"dtype": 1}, "dtype|cannot run"),
]


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"), ERRORS, ids=[f"{i}-{one[0]}" for i, one in enumerate(ERRORS)]
)
def test_what_onnx_does_not_allow_is_an_error(operator, inputs, attributes, message):
    with pytest.raises(QEngineError, match=message):
        run(operator, inputs, opset=22, **attributes)


def test_a_class_without_probability_is_never_drawn(monkeypatch):
    monkeypatch.setattr(random_numbers, "_fractions", lambda _, count: np.zeros(count))
    x = np.float32([[-np.inf, -np.inf, 0, -np.inf]])
    assert random_numbers.multinomial(x, sample_size=3).tolist() == [[2, 2, 2]]
    monkeypatch.setattr(random_numbers, "_fractions", lambda _, count: np.full(count, 1 - 2**-53))
    assert random_numbers.multinomial(x, sample_size=3).tolist() == [[2, 2, 2]]
