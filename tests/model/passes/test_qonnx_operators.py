"""Operators between the roundings of QONNX: the codes that are defined, in integers where their numbers allow it."""

import numpy as np
import pytest
from model.passes.qonnx_models import Builder, expected

import qengine

RNG = np.random.default_rng(1)


def conv(b, x, *inputs, shape=(6, 4, 3, 3), **attributes):
    w = b.weights("w", RNG.normal(0, 0.5, shape), 3, 4)
    return b.node("Conv", " ".join([x, w, *inputs]), "c", **attributes)


def batch_norm(b, x, *, is_exact):
    numbers = {
        "scale": np.exp2(RNG.integers(-2, 2, 6)) if is_exact else RNG.uniform(0.5, 2, 6),
        "shift": RNG.normal(size=6),
        "mean": np.zeros(6) if is_exact else RNG.normal(size=6),
        "variance": np.full(6, 1 - 1e-5) if is_exact else RNG.uniform(0.5, 2, 6),
    }
    names = [b.constant(name, array) for name, array in numbers.items()]
    b.node("BatchNormalization", f"{conv(b, x)} {' '.join(names)}", "n")
    b.node("Relu", "n", "r")
    return b.quant("r", 2, 4, signed=0)


def leaky(b, x):
    b.node("LeakyRelu", conv(b, x), "l", alpha=0.125)
    return b.quant("l", 3, 5, mode="CEIL")


def sloped(b, x):
    b.node("PRelu", f"{conv(b, x)} {b.constant('slope', np.exp2(-RNG.integers(0, 4, (6, 1, 1))))}", "l")
    return b.quant("l", 3, 5, mode="UP")


def curve(b, x):
    b.node("HardSwish", conv(b, x), "h")
    return b.quant("h", 3, 6, mode="HALF_UP")


def table(b, x):
    return b.quant(b.node("Sigmoid", x, "s"), 6, 6, signed=0, mode="HALF_UP")


def product(b, x):
    b.node("Mul", f"{x} {b.quant('x', 4, 5, out='z')}", "m")
    return b.quant("m", 4, 6, mode="HALF_DOWN")


def mean(b, x):
    b.node("GlobalAveragePool", x, "g")
    b.node("Flatten", "g", "f")
    return b.quant("f", 5, 6, mode="UP")


def transposed(b, x):
    w = b.weights("w", RNG.normal(0, 0.5, (4, 6, 3, 3)), RNG.integers(2, 5, (1, 6, 1, 1)), 4)
    b.node("ConvTranspose", f"{x} {w} {b.constant('b', RNG.normal(size=6))}", "c", strides=[2, 2])
    return b.quant("c", 2, 6, mode="FLOOR")


def parts(b, x):
    b.nodes.append(("Split", x, "one other", {"axis": 1}))
    b.node("Sub", "one other", "d")
    return b.quant("d", 1, 5, mode="HALF_UP")


def padded(b, x):
    b.constants["pads"] = np.int64([0, 0, 1, 1, 0, 0, 1, 1])
    b.node("Pad", f"{x} pads", "p")
    return b.quant(conv(b, "p", b.constant("b", RNG.normal(size=6))), 3, 6)


def two_activations(b, x):
    b.node("Transpose", x, "t", perm=[0, 1, 3, 2])
    b.node("MatMul", f"{x} t", "m")
    return b.quant("m", 1, 6, mode="FLOOR")


def one_axis(b, x):
    b.constants["rows"] = np.int64([1, 4, 64])
    b.node("Reshape", f"{x} rows", "s")
    return b.quant(conv(b, "s", b.constant("b", RNG.normal(size=6)), shape=(6, 2, 3), group=2, strides=[2]), 3, 4)


@pytest.mark.parametrize(
    ("build", "islands"),
    [
        (lambda b, x: batch_norm(b, x, is_exact=False), 1),
        (lambda b, x: batch_norm(b, x, is_exact=True), 0),
        *((build, 0) for build in (leaky, sloped, curve, table, product, mean, transposed, parts, padded)),
        *((build, 0) for build in (two_activations, one_axis)),
    ],
)
def test_operators_between_roundings(build, islands):
    b = Builder()
    out = build(b, b.quant("x", 3, 5, mode="FLOOR"))
    model = b.model(inputs={"x": [1, 4, 8, 8]}, outputs=[out])
    feeds = {"x": np.float32(RNG.normal(0, 1, (1, 4, 8, 8)))}
    wanted = expected(model, feeds, b.quantized)
    for isa in ("reference", None):
        session = qengine.InferenceSession(model, isa=isa)
        for name, ours, theirs in zip(b.quantized, session.run(b.quantized, feeds), wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs, name, strict=True)
        assert sum(event.is_island for event in session.trace(feeds)) == islands
