"""Normalizations in plain order, on native kernels."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check, on_isas


def numbers(shape, seed, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype) + np.array(0.5, dtype)


def normalization(operator, shape, *parameters, opset=23, outputs="y", computed=False, dtype=np.float32, **attributes):
    given = {f"p{i}": numbers(p, i, dtype) for i, p in enumerate(parameters)}
    feeds = {"x": numbers(shape, 9, dtype)} | (given if computed else {})
    model = network(
        [(operator, " ".join(["x", *given]), outputs, attributes)],
        inputs={name: (array.dtype, list(array.shape)) for name, array in feeds.items()},
        outputs=outputs.split(),
        constants={} if computed else given,
        opset=opset,
    )
    return PlainCase(model, feeds, "normalize", 2e-6 if dtype == np.float32 else 1e-13)


IMAGES = (2, 6, 5, 7)
CASES = {
    "layer": normalization("LayerNormalization", (2, 9, 256), (256,), (256,), opset=17),
    "layer, no offset": normalization("LayerNormalization", (2, 9, 33), (33,)),
    "layer, two axes": normalization("LayerNormalization", IMAGES, (5, 7), (5, 7), axis=2),
    "layer, one number": normalization("LayerNormalization", (4, 50), (1,), (1, 50), epsilon=0.1),
    "layer, computed": normalization("LayerNormalization", (4, 50), (50,), (50,), computed=True),
    "layer, float64": normalization("LayerNormalization", (4, 50), (50,), (50,), dtype=np.float64),
    "layer, statistics": normalization("LayerNormalization", (3, 4, 50), (50,), (50,), outputs="y m d"),
    "layer, mean": normalization("LayerNormalization", (3, 4, 5), (4, 5), outputs="y m", axis=1),
    "root mean square": normalization("RMSNormalization", (2, 9, 256), (256,)),
    "root mean square, axis": normalization("RMSNormalization", (2, 9, 12), (9, 12), axis=1, epsilon=0.01),
    "instance": normalization("InstanceNormalization", IMAGES, (6,), (6,)),
    "instance, one axis": normalization("InstanceNormalization", (2, 6, 33), (6,), (6,), epsilon=0.1),
    "groups": normalization("GroupNormalization", IMAGES, (6,), (6,), num_groups=3),
    "groups, gains of groups": normalization("GroupNormalization", IMAGES, (3,), (3,), num_groups=3, opset=18),
    "groups, vectors": normalization("GroupNormalization", (4, 12), (12,), (12,), num_groups=3),
    "norm 1": normalization("LpNormalization", (3, 40), p=1),
    "norm 2": normalization("LpNormalization", (3, 40)),
    "norm 2, axis": normalization("LpNormalization", IMAGES, axis=1),
    "mean and variance": normalization("MeanVarianceNormalization", IMAGES, axes=[2, 3]),
    "mean and variance, batch of one": normalization("MeanVarianceNormalization", (1, 3, 5, 7), axes=[0, 2, 3]),
    "mean and variance, an axis": normalization("MeanVarianceNormalization", IMAGES, axes=[1]),
}


@pytest.mark.parametrize(("case", "isa"), on_isas(CASES))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same(threads):
    check(normalization("LayerNormalization", (300, 90), (90,), (90,)), ISAS[0], threads)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(5, 9), (2, 9, 4, 3, 2)])
def test_channels_have_factors_in_plain_order(shape, isa):
    """Lower a BatchNormalization that stands alone, and the Relu after it."""
    numbers_of = {name: np.abs(numbers((shape[1],), i)) + 0.1 for i, name in enumerate("sbmv")}
    model = network(
        [("BatchNormalization", "x s b m v", "t"), ("Relu", "t", "y")], inputs={"x": list(shape)}, constants=numbers_of
    )
    check(PlainCase(model, {"x": numbers(shape, 9)}, "multiply", 1e-6), isa, threads=1)


@pytest.mark.parametrize("isa", ISAS)
def test_a_norm_of_nothing_gives_zeros(isa):
    case = normalization("LpNormalization", (3, 40))
    case.feeds["x"][1] = 0.0
    check(case, isa, threads=1)


def test_rows_of_one_element_have_no_deviation():
    assert prod(CASES["norm 1"].feeds["x"].shape) > 1
    check(normalization("LayerNormalization", (5, 1), (1,), (1,)), ISAS[0], threads=1)


def responses(shape, dtype=np.float32, *, spread=1.0, **attributes):
    """Return a case of LRN whose sums of squares change the result."""
    attributes = {"size": 5, "alpha": 0.5} | attributes
    model = network([("LRN", "x", "y", attributes)], inputs={"x": (np.dtype(dtype), list(shape))})
    x = (spread * numbers(shape, 3)).astype(dtype)
    return PlainCase(model, {"x": x}, "local_response", {np.float32: 3e-7, np.float64: 1e-15, np.float16: 0}[dtype])


RESPONSES = {
    "usual": responses((2, 24, 9, 7)),
    "even window": responses((1, 7, 4, 4), size=4),
    "window of one": responses((1, 7, 4, 4), size=1),
    "window beyond the channels": responses((2, 5, 3, 6), size=64),
    "window of some channels": responses((1, 6, 5, 16), size=9),
    "one channel": responses((1, 1, 4, 5), size=3),
    "one position": responses((3, 11)),
    "a row": responses((2, 11, 40), beta=0.5, bias=2.0),
    "five axes": responses((2, 11, 2, 3, 3), beta=1.0),
    "any power": responses((2, 11, 3, 3), beta=0.6),
    "even power": responses((2, 11, 3, 3), beta=2.0),
    "odd power": responses((2, 11, 3, 3), beta=-3.0),
    "negative base": responses((2, 11, 3, 3), alpha=-0.5),
    "negative base of an odd power": responses((2, 11, 3, 3), alpha=-0.5, beta=3.0),
    "no bias": responses((2, 11, 3, 3), bias=0.0),
    "squares beyond float32": responses((2, 11, 3, 3), spread=1e30, beta=0.5),
    "squares below float32": responses((2, 11, 3, 3), spread=1e-30, beta=0.5, bias=0.0),
    "float64": responses((2, 11, 3, 3), np.float64),
    "float16": responses((2, 11, 3, 3), np.float16),
}


@pytest.mark.parametrize(("case", "isa"), on_isas(RESPONSES))
@pytest.mark.parametrize("threads", [1, 3])
def test_local_responses(case, isa, threads):
    check(case, isa, threads)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("beta", [0.5, 0.75, 0.6])
def test_what_is_not_finite_stays_in_its_windows(isa, beta):
    case = responses((1, 24, 3, 11), beta=beta)
    x = case.feeds["x"]
    x[0, 4, 0, 0], x[0, 12, 1, 3], x[0, 17, 2, 10], x[0, 23, 2, 10] = np.nan, np.inf, -np.inf, 3e38
    check(case, isa, threads=1)
