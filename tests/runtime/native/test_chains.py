"""Chains on native kernels: tables equal to the reference's, and one kernel on real numbers."""

from __future__ import annotations

import numpy as np
import pytest
from chain_programs import random_chain
from networks import weights
from runtime.native.native import ISAS, assert_same, both
from runtime.native.test_counting import assert_counted

SHAPES = {"image": (2, 17, 5, 7), "rows": (3, 37), "many axes": (2, 3, 2, 3, 5)}
WORDS = {"float32": {}, "int8": {"qformat": "Q3.4"}, "int16": {"qformat": "Q3.12"}, "up": {"qformat": "Q2.5"}}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("seed", range(8))
def test_native_equals_the_reference(seed, word, isa):
    shape = list(SHAPES.values())[seed % len(SHAPES)]
    model, _ = random_chain(100 + seed, shape=shape)
    x = {"x": weights(*shape, seed=seed, scale=4.0)}
    got, want, kernels = both(model, x, isa, threads=1 + seed % 3, **WORDS[word])
    assert_same(got, want)
    assert not any(name.startswith("reference") for name in kernels)
    assert "composed" in kernels if word == "float32" else "table" in kernels


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_reference(seed):
    shape = SHAPES["image"]
    model, _ = random_chain(200 + seed, shape=shape)
    assert_counted(model, {"x": weights(*shape, scale=4.0)}, ISAS[0], qformat="Q2.5")


@pytest.mark.parametrize("isa", ISAS)
def test_infinities_and_nan(isa):
    model, _ = random_chain(301, shape=(5,))
    x = {"x": np.float32([np.nan, np.inf, -np.inf, 3e38, 0])}
    got, want, _ = both(model, x, isa)
    np.testing.assert_array_equal(np.isnan(got[0]), np.isnan(want[0]))
    np.testing.assert_array_equal(np.isinf(got[0]), np.isinf(want[0]))
