"""Networks on every compiler and machine: the codes of every tensor are those of the session."""

from __future__ import annotations

import numpy as np
import pytest
from deploy.c.running import Comparison
from deploy.c.toolchains import TOOLCHAINS, toolchain
from networks import network

import qengine


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network of a few bytes, for machines of any size."""
    model = network([("Sigmoid", "x", "a"), ("Tanh", "a", "y")])
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 3, 6, 5)).astype(np.float32)}
    return Comparison([(qengine.InferenceSession(model, qformat="Q2.5"), [feeds, feeds])], tmp_path_factory.mktemp("c"))


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_codes_are_equal(name, small):
    assert small.differences(toolchain(name)) == []
