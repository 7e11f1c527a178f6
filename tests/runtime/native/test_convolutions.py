"""Convolutions on native kernels equal the reference, for every instruction set that this machine has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from covering import covering
from networks import network
from oracle import OVERFLOWS, ROUNDINGS
from runtime.native import native
from runtime.native.native import ISAS, assert_same, both

from qengine import QFormat
from qengine.kernels.isa import available

WORDS = {
    "float32": {},
    "int8": {"qformat": "Q2.5"},
    "uint8": {"qformat": "UQ3.5", "weight_qformat": "Q0.7"},
    "int16": {"qformat": "Q3.12"},
    "uint16": {"qformat": "UQ4.12", "weight_qformat": "Q0.15"},
    "int8 by int16": {"qformat": "Q2.5", "weight_qformat": "Q0.13"},
    "int16 by int8": {"qformat": "Q3.12", "weight_qformat": "Q0.7"},
}
# inputs, outputs, kernel size, attributes, size of the input, and the kernel that must run
SHAPES = {
    "one pixel": (16, 32, (1, 1), {}, (1, 1), "dot"),
    "1x1": (32, 64, (1, 1), {}, (9, 31), "dot"),
    "3x3": (16, 20, (3, 3), {"pads": [1] * 4}, (7, 15), "dot"),
    "three channels": (3, 33, (5, 5), {"pads": [2] * 4}, (6, 17), "dot"),
    "to three channels": (32, 3, (5, 5), {"pads": [2] * 4}, (6, 33), "narrow"),
    "to five channels": (16, 5, (3, 3), {"pads": [0, 1, 2, 1]}, (6, 19), "narrow"),
    "many taps": (48, 20, (3, 3), {"pads": [1] * 4}, (7, 23), "dot"),
    "many taps of few weights": (48, 12, (3, 3), {"pads": [1] * 4}, (7, 23), "dot"),
    "stride": (17, 16, (3, 3), {"strides": [2, 2], "pads": [1] * 4}, (9, 16), "dot"),
    "stride and dilation": (
        5,
        7,
        (3, 2),
        {"strides": [3, 2], "dilations": [2, 3], "pads": [2, 1, 0, 3]},
        (13, 14),
        "dot",
    ),
    "image smaller than the kernel": (16, 16, (5, 5), {"pads": [2] * 4}, (2, 3), "dot"),
    "two groups": (32, 32, (3, 3), {"group": 2, "pads": [1] * 4}, (5, 8), "dot"),
    "narrow groups": (24, 36, (3, 1), {"group": 4, "pads": [1, 0, 1, 0]}, (6, 9), "dot"),
    "depthwise": (32, 32, (3, 3), {"group": 32, "pads": [1] * 4}, (7, 19), "depthwise"),
    "depthwise, stride": (19, 19, (3, 3), {"group": 19, "strides": [2, 2], "pads": [1] * 4}, (9, 10), "depthwise"),
    "depthwise, few channels": (6, 6, (3, 3), {"group": 6, "pads": [1] * 4}, (5, 9), "dot"),
    "one axis": (17, 16, (3,), {"pads": [1, 1]}, (29,), "dot"),
}


def feed(shape, seed=3, spread=2.0):
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


# Attributes that a transposed convolution has instead.
TRANSPOSED = {
    "stride": {"output_padding": [1, 0]},
    "three channels": {"dilations": [2, 1]},
    "to five channels": {"dilations": [1, 3]},
    "depthwise": {"dilations": [2, 1]},
}


def convolution(name, operator="Conv", batch=2):
    inputs, outputs, kernel, attributes, size, ran = SHAPES[name]
    per_group = inputs // attributes.get("group", 1)
    shape = (outputs, per_group, *kernel)
    if operator == "ConvTranspose":
        attributes = attributes | TRANSPOSED.get(name, {})
        shape = (inputs, outputs // attributes.get("group", 1), *kernel)
        ran = "dot" if max(attributes.get("strides", [1])) > 1 else ran  # one table for each phase
    w = np.random.default_rng(1).normal(0, 0.25, shape).astype(np.float32)
    model = network(
        [(operator, "x w b", "c", attributes), ("Relu", "c", "y")],
        inputs={"x": [batch, inputs, *size]},
        constants={"w": w, "b": feed((outputs,), 5, 1.0)},
    )
    return model, {"x": feed((batch, inputs, *size))}, ran


@pytest.mark.parametrize(
    ("name", "operator", "word", "isa", "threads"),
    covering(SHAPES, ["Conv", "ConvTranspose"], WORDS, ISAS, [1, 2], strength=3),
)
def test_every_shape_and_word(name, operator, word, isa, threads):
    model, feeds, ran = convolution(name, operator)
    got, want, kernels = both(model, feeds, isa, threads, **WORDS[word])
    assert_same(got, want)
    assert any(kernel.startswith(ran) for kernel in kernels), kernels
    assert not any(kernel.startswith("reference") for kernel in kernels), kernels


@pytest.mark.parametrize("name", ["3x3", "to three channels", "depthwise"])
def test_sums_are_widened_by_either_instruction(name, monkeypatch):
    """The CPU decides which one is the faster; both give the same sums."""
    best = available()[0]
    other = replace(best, name=f"{best.name}, the other way", adds_beside=not best.adds_beside)
    monkeypatch.setattr(native, "ISAS", [other.name])
    monkeypatch.setattr("qengine.kernels.isa.available", lambda: (other,))
    model, feeds, ran = convolution(name)
    got, want, kernels = both(model, feeds, other.name, **WORDS["int16"])
    assert_same(got, want)
    assert any(kernel.startswith(ran) for kernel in kernels), kernels


SUMS = ({}, {"per_channel": True}, {"accumulator_bits": 14}, {"accumulator_bits": 30}, {"accumulator_bits": 40})


@pytest.mark.parametrize(
    ("qformat", "rounding", "overflow", "name", "sums", "isa"),
    covering(
        ["Q2.5", "Q1.3", "UQ3.5", "Q3.12", "Q1.9", "UQ4.12"],
        ROUNDINGS,
        OVERFLOWS,
        ["3x3", "to three channels", "depthwise"],
        SUMS,
        ISAS,
        strength=3,
    ),
)
def test_every_rounding_and_overflow(qformat, rounding, overflow, name, sums, isa):
    model, feeds, _ = convolution(name, batch=1)
    got, want, kernels = both(model, feeds, isa, qformat=qformat, rounding=rounding, overflow=overflow, **sums)
    assert_same(got, want)
    assert not any(kernel.startswith("reference") for kernel in kernels), kernels


@pytest.mark.parametrize(("rounding", "overflow", "isa"), covering(ROUNDINGS, OVERFLOWS, ISAS))
def test_constants_in_every_mode(rounding, overflow, isa):
    """Weights at ties, and some that do not fit."""
    w = np.random.default_rng(8).integers(-300, 300, (8, 4, 3, 3)).astype(np.float32) / 256
    model = network([("Conv", "x w", "y")], inputs={"x": [1, 4, 9, 9]}, constants={"w": w})
    feeds = {"x": np.random.default_rng(9).normal(0, 1, (1, 4, 9, 9)).astype(np.float32)}
    rules = {"constants.rounding": rounding, "constants.overflow": overflow}
    got, want, kernels = both(model, feeds, isa, qformat="Q3.4", weight_qformat="Q0.7", rules=rules)
    assert_same(got, want)
    assert not any(kernel.startswith("reference") for kernel in kernels), kernels


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("formats", [("Q0.7", "Q9.-2"), ("Q0.15", "Q12.3"), ("Q9.-2", "Q-3.10"), ("Q0.15", "Q-2.17")])
def test_shifts_near_and_far(formats, isa):
    """Far to the right, and to the left."""
    model, feeds, _ = convolution("1x1", batch=1)
    chosen = {"x": formats[0], "y": formats[1]}
    got, want, kernels = both(model, feeds, isa, formats=chosen)
    assert_same(got, want)
    assert not any(kernel.startswith("reference") for kernel in kernels), kernels


def random_convolution(seed):
    """A model, feeds and options, all of them odd."""
    rng = np.random.default_rng(seed)
    whole = lambda low, high: int(rng.integers(low, high + 1))  # noqa: E731
    pick = lambda *values: values[int(rng.integers(len(values)))]  # noqa: E731
    spatial, group, transposed = whole(1, 2), pick(1, 1, 1, 2, 3), rng.random() < 0.3
    inputs, outputs = group * whole(1, 17), group * whole(1, 17)
    size, kernel = [whole(1, 18) for _ in range(spatial)], [whole(1, 4) for _ in range(spatial)]
    strides, dilations = [whole(1, 3) for _ in range(spatial)], [whole(1, 2) for _ in range(spatial)]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if transposed:
        pads = [0] * (2 * spatial)
        shape = (inputs, outputs // group, *kernel)
    else:
        pads = [whole(0, 2) for _ in range(spatial)]
        pads = [max(p, -(-(e - n) // 2)) for p, e, n in zip(pads, extent, size, strict=True)] * 2
        shape = (outputs, inputs // group, *kernel)
    attributes = {"strides": strides, "dilations": dilations, "group": group, "pads": pads}
    model = network(
        [("ConvTranspose" if transposed else "Conv", "x w b", "y", attributes)],
        inputs={"x": [whole(1, 3), inputs, *size]},
        constants={
            "w": rng.normal(0, 0.4, shape).astype(np.float32),
            "b": rng.normal(0, 1, outputs).astype(np.float32),
        },
    )
    bits, signed = pick(4, 7, 8, 8, 11, 16, 16), rng.random() < 0.8
    m = whole(-1, 3)
    options = {
        "qformat": f"{'' if signed else 'U'}Q{m}.{bits - signed - m}",
        "rounding": pick(*ROUNDINGS),
        "overflow": pick("saturate", *OVERFLOWS),
        "accumulator_bits": pick(None, None, 12, 20, 32),
        "per_channel": pick(False, True),
    }
    return model, options if rng.random() < 0.8 else {}, rng


@pytest.mark.parametrize(("seed", "isa"), covering(range(60), ISAS, strength=1))
def test_random_convolutions(seed, isa):
    model, options, rng = random_convolution(seed)
    import onnx

    shape = [d.dim_value for d in onnx.load_from_string(model).graph.input[0].type.tensor_type.shape.dim]
    feeds = {"x": rng.normal(0, 2, shape).astype(np.float32)}
    got, want, kernels = both(model, feeds, isa, threads=1 + seed % 2, **options)
    assert_same(got, want)
    assert not any(kernel.startswith("reference") for kernel in kernels), kernels


@pytest.mark.parametrize(
    ("weight", "value", "outputs_group", "qformat", "isa"),
    covering(
        [-1.0, 1.0],
        [-1.0, 0.0, 1.0],
        [(4, 1), (16, 1), (33, 1), (17, 17)],
        ["Q0.15", "UQ0.16", "Q-1.15", "UQ1.14", "Q0.7", "UQ0.8", "Q-1.7"],
        ISAS,
        strength=3,
    ),
)
def test_the_largest_sums_that_there_are(weight, value, outputs_group, qformat, isa):
    """A pair of products alone may leave 32 bits, or 16, and does where everything is as far out as it goes."""
    outputs, group = outputs_group
    model = network(
        [("Conv", "x w", "y", {"pads": [1] * 4, "group": group})],
        inputs={"x": [1, 17, 5, 9]},
        constants={"w": np.full((outputs, 17 // group, 3, 3), weight, np.float32)},
    )
    feeds = {"x": np.full((1, 17, 5, 9), value, np.float32)}
    bits = QFormat.parse(qformat).bits
    formats = {"x": qformat, "w": f"Q0.{bits - 1}", "y": "Q8.7"}
    got, want, kernels = both(model, feeds, isa, formats=formats)
    assert_same(got, want)
    assert not any(kernel.startswith("reference") for kernel in kernels), kernels
