"""Images of one column, which kernels take as images of one row, equal the reference."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from networks import network, weights
from runtime.native.native import ISAS, assert_same, both
from runtime.native.test_counting import FIXED, assert_counted
from runtime.native.test_other_steps import WORDS

from qengine import InferenceSession
from qengine.runtime.native.lowerings.linear_op import LinearOp

COLUMN = {"x": [2, 20, 41, 1]}
CONSTANTS = {
    "w": weights(24, 20, 5, 1),
    "v": weights(20, 24, 3, 1),
    "few": weights(3, 24, 3, 1),
    "g": weights(24, 5, 3, 1),
    "d": weights(20, 1, 3, 1),
    "t": weights(20, 6, 3, 1),
    "whole": weights(24, 20, 41, 1),
    "b": weights(24),
    "s": weights(24, 1, 1),
    "p": weights(24, 1, 1, scale=0.4),
    "q": weights(24, 1),
    "h": weights(41, 1),
    "wide": weights(4, 20, 3, 3),
    "stats": np.abs(weights(20)) + 0.5,
    "sizes": np.float32([1, 1, 2, 1]),
    "ends": np.int64([0, 0, 3, 0, 0, 0, 2, 0]),
    "three": np.int64([2, 24, -1]),
    "last": np.int64([3]),
}

CHAINS = {
    "window": [("Conv", "x w b", "y")],
    "strides, dilations, padding": [
        ("Conv", "x w b", "y", {"strides": [2, 3], "dilations": [3, 2], "pads": [4, 0, 5, 0]})
    ],
    "the whole column": [("Conv", "x whole", "y")],
    "kernel that is wider": [("Conv", "x wide", "y", {"pads": [1, 1, 1, 1]})],
    "padding beside": [("Conv", "x w", "y", {"pads": [0, 1, 0, 1]})],
    "groups": [("Conv", "x g b", "y", {"group": 4})],
    "depthwise": [("Conv", "x d", "y", {"group": 20, "pads": [1, 0, 1, 0]})],
    "few channels": [("Conv", "x w b", "c"), ("Relu", "c", "r"), ("Conv", "r few", "y")],
    "transposed": [("ConvTranspose", "x t", "y", {"strides": [2, 1], "pads": [1, 0, 0, 0], "output_padding": [1, 0]})],
    "residual": [
        ("Conv", "x w b", "c", {"pads": [2, 0, 2, 0]}),
        ("Relu", "c", "r"),
        ("Conv", "r v", "e", {"pads": [1, 0, 1, 0]}),
        ("Add", "e x", "y"),
    ],
    "pools": [
        ("Conv", "x w b", "c"),
        ("MaxPool", "c", "m", {"kernel_shape": [3, 1], "strides": [2, 1], "pads": [1, 0, 1, 0]}),
        ("AveragePool", "m", "a", {"kernel_shape": [4, 1], "strides": [3, 1], "pads": [1, 0, 0, 0]}),
        ("Sigmoid", "a", "y"),
    ],
    "a number for every channel": [
        ("Conv", "x w b", "c"),
        ("GlobalAveragePool", "c", "a"),
        ("Mul", "c a", "n"),
        ("GlobalMaxPool", "n", "m"),
        ("Sub", "n m", "y"),
    ],
    "constants": [
        ("Conv", "x w", "c", {"pads": [2, 0, 2, 0]}),
        ("Mul", "c s", "m"),
        ("PRelu", "m p", "k"),
        ("Add", "k h", "y"),
    ],
    "channels side by side": [("Conv", "x w", "c", {"pads": [2, 0, 2, 0]}), ("Concat", "x c", "y", {"axis": 1})],
    "statistics": [("Sigmoid", "x", "z"), ("BatchNormalization", "z stats stats stats stats", "y")],
    "steps that are not of one row": [
        ("Conv", "x w", "c", {"pads": [2, 0, 2, 0]}),
        ("Resize", "c - sizes", "u", {"mode": "linear"}),
        ("Pad", "u ends", "e"),
        ("Conv", "e v", "y"),
    ],
    "another shape": [
        ("Conv", "x w", "c"),
        ("Squeeze", "c last", "l"),
        ("Add", "l q", "z"),
        ("Unsqueeze", "z last", "u"),
        ("Conv", "u v", "y"),
    ],
}
ONLY_FLOAT = {"several readers": [("Conv", "x w", "c"), ("Softmax", "c", "z", {"axis": 2}), ("Mul", "c z", "y")]}


def model_of(nodes):
    read = {name for node in nodes for name in node[1].split()}
    return network(nodes, inputs=COLUMN, constants={n: c for n, c in CONSTANTS.items() if n in read}, opset=18)


def feeds():
    return {"x": np.random.default_rng(5).standard_normal(COLUMN["x"]).astype(np.float32)}


@pytest.mark.parametrize(("name", "word", "isa", "threads"), covering(CHAINS, WORDS, ISAS, [1, 2]))
def test_every_chain_and_word(name, word, isa, threads):
    got, want, kernels = both(model_of(CHAINS[name]), feeds(), isa, threads, **WORDS[word])
    assert_same(got, want)
    assert not [kernel for kernel in kernels if kernel.startswith("reference")], kernels


@pytest.mark.parametrize(("name", "word", "threads"), covering(CHAINS, FIXED, [1, 2]))
def test_counted_runs(name, word, threads):
    assert_counted(model_of(CHAINS[name]), feeds(), ISAS[0], threads, **FIXED[word])


@pytest.mark.parametrize("name", ONLY_FLOAT)
def test_steps_in_plain_order(name):
    got, want, _ = both(model_of(ONLY_FLOAT[name]), feeds(), ISAS[0])
    assert_same(got, want)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("name", ["residual", "pools", "depthwise", "few channels", "transposed"])
def test_linear_steps_go_along_rows(name, dtype):
    nodes = CHAINS[name]
    read = {n for node in nodes for n in node[1].split()}
    constants = {n: c.astype(dtype) for n, c in CONSTANTS.items() if n in read}
    model = network(nodes, inputs={"x": (dtype, COLUMN["x"])}, constants=constants, opset=18)
    given = {"x": feeds()["x"].astype(dtype)}
    got, want, _ = both(model, given, ISAS[0])
    assert_same(got, want)
    session = InferenceSession(model, isa=ISAS[0])
    executor = session.executor(session.plan(session.check_feeds(given)), raw=True)
    shapes = [op.out.shape for part in executor.parts for op in part.ops if isinstance(op, LinearOp)]
    assert shapes
    assert all(height == 1 < width for _, _, height, width in shapes)
