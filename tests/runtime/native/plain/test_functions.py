"""Functions of one variable in plain order and in blocks, on native kernels."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check

from qengine import InferenceSession

ROUGH = np.concatenate([np.linspace(-12, 12, 331), [0.0, -0.0, 1e-30, -1e-20, 90.0, -90.0, 300.0]])
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, 1e-40, 3e38, -3e38])
POSITIVE = np.concatenate([np.geomspace(1e-44, 3e38, 200), [0.0, 1.0]])
INSIDE = np.concatenate([np.linspace(-1, 1, 101), [1e-20]])

FUNCTIONS = {
    **{name: (ROUGH, {}) for name in ("Erf", "Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Reciprocal", "Softplus")},
    **{name: (ROUGH, {}) for name in ("Softsign", "Mish", "HardSwish", "Sigmoid", "Tanh", "Gelu", "Elu", "Selu")},
    **{name: (ROUGH, {}) for name in ("Sin", "Cos", "Atan", "Asinh", "Swish", "LeakyRelu", "HardSigmoid")},
    "Celu": (ROUGH, {"alpha": 0.5}),
    "ThresholdedRelu": (ROUGH, {"alpha": 0.7}),
    **{name: (np.linspace(-30, 30, 200), {}) for name in ("Exp", "Sinh", "Cosh")},
    **{name: (POSITIVE, {}) for name in ("Log", "Sqrt")},
    **{name: (INSIDE, {}) for name in ("Asin", "Acos", "Atanh")},
    "Acosh": (np.geomspace(1, 1e38, 100), {}),
    "Tan": (np.linspace(-1.5, 1.5, 100), {}),
}
POWERS = {
    2.0: ROUGH,
    3.0: ROUGH,
    0.5: POSITIVE,
    -1.0: ROUGH,
    -2.0: ROUGH,
    5.0: ROUGH,
    1.7: POSITIVE,
    -0.5: POSITIVE[1:],
}


def function(name, values, attributes, dtype=np.float32, shape=None):
    x = np.asarray(values).astype(dtype).reshape(shape or -1)
    model = network([(name, "x", "y", attributes)], inputs={"x": (x.dtype, list(x.shape))}, opset=24)
    return model, {"x": x}


def power(exponent, values, dtype=np.float32):
    x = np.asarray(values, dtype)
    constants = {"e": np.array(exponent, dtype)}
    model = network([("Pow", "x e", "y")], inputs={"x": (x.dtype, list(x.shape))}, constants=constants)
    return model, {"x": x}


def check_near(model, feeds, isa, ulps):
    """Elements differ by a few units in the last place, and what is not finite is equal."""
    with np.errstate(all="ignore"):
        want = InferenceSession(model, isa="reference").run(None, feeds)[0]
    got = InferenceSession(model, isa=isa).run(None, feeds)[0]
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite & ~np.isnan(want)], want[~finite & ~np.isnan(want)])
    scale = np.finfo(want.dtype)
    wide = np.abs(got[finite].astype(np.float64) - want[finite].astype(np.float64))
    assert np.all(wide <= ulps * scale.eps * np.abs(want[finite]) + ulps * scale.tiny + NEAR_0), wide.max()


NEAR_0 = 8e-7
"""The difference that is allowed beside, where results cancel."""


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_within_a_few_units_in_the_last_place(name, isa):
    values, attributes = FUNCTIONS[name]
    check_near(*function(name, values, attributes), isa, 8)
    check_near(*function(name, SPECIAL, attributes), isa, 8)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("exponent", POWERS)
def test_powers_are_within_a_few_units_in_the_last_place(exponent, isa):
    check_near(*power(exponent, POWERS[exponent]), isa, 8)
    check_near(*power(exponent, SPECIAL), isa, 8)


@pytest.mark.parametrize("name", ["Sin", "Cos", "Tan"])
def test_angles_of_any_size_are_reduced_exactly(name):
    values = np.random.default_rng(0).choice([-1, 1], 400) * np.geomspace(1e-3, 3e38, 400)
    check_near(*function(name, values, {}), ISAS[0], 8)


@pytest.mark.parametrize("name", ["Exp", "Log", "Sqrt", "Floor", "Reciprocal", "Abs", "Softsign"])
def test_float64(name):
    check_near(*function(name, POSITIVE[:150] * 1e-3, {}, np.float64), ISAS[0], 4)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("name", "kernel"), [("Erf", "erf"), ("Exp", "exp"), ("Sin", "Sin"), ("Round", "round"), ("Celu", "celu")]
)
def test_functions_run_natively_in_plain_order(name, kernel, isa):
    model, feeds = function(name, np.linspace(-3, 3, 6 * 5 * 7 * 2 * 3), {}, shape=(2, 3, 6, 5, 7))
    check(PlainCase(model, feeds, kernel, 1e-6), isa, threads=1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["Abs", "Neg", "Sign"])
@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
def test_functions_of_integers(name, dtype, isa):
    least = np.iinfo(dtype).min
    model, feeds = function(name, [*range(-150, 150)] * 2 + [least, least + 1, -1 - least], {}, dtype)
    check(PlainCase(model, feeds, "integer_function"), isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same(threads):
    model, feeds = function("Erf", np.linspace(-3, 3, 40_001), {})
    check(PlainCase(model, feeds, "erf", 1e-6), ISAS[0], threads)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("qformat", ["Q3.4", "Q4.11", "UQ4.12", "UQ4.4"])
def test_tables_of_codes_are_equal_to_the_bit(qformat, isa):
    model, feeds = function("Sigmoid", np.linspace(-9, 9, 3 * 4 * 5 * 2 * 2), {}, shape=(2, 2, 3, 4, 5))
    check(PlainCase(model, feeds, "table", options={"qformat": qformat}), isa, threads=1)
