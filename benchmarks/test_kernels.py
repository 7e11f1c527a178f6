"""Timing of layers, one at a time, by instruction set and word length."""

import numpy as np
import pytest

from qengine import InferenceSession
from qengine.analysis.bench.kernels import LAYERS, WORDS
from qengine.kernels.isa import available


@pytest.mark.parametrize("isa", [isa.name for isa in available()])
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layer(benchmark, layer, word, isa):
    benchmark.group = f"{layer.name}, {word}"
    session = InferenceSession(layer.graph(), WORDS[word].with_(isa=isa))
    x = np.random.default_rng(1).normal(0, 1, layer.shape).astype(np.float32)
    (y,) = benchmark(session.run, None, {"x": x})
    assert np.isfinite(y).all()
