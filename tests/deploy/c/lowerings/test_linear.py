"""Linear operators in C: every form, word, mode and register has the codes of the reference."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from deploy.c.running import SANITIZED, differences, needs_gcc
from networks import network

from qengine import InferenceSession
from qengine.model.rules import AccumulatorRule, BiasRule, Modes, Rules
from qengine.qformat import Overflow, Rounding

pytestmark = needs_gcc

REGISTERS = {
    "exact": AccumulatorRule(),
    "wraps": AccumulatorRule(13),
    "wraps at 24 bits": AccumulatorRule(24),
    "wraps at 32 bits": AccumulatorRule(32),
    "wraps with the half": AccumulatorRule(12, rounds_inside=True),
    "wraps with the half at 32 bits": AccumulatorRule(32, rounds_inside=True),
    "wraps with more fraction bits": AccumulatorRule(16, fraction_bits=14),
    "saturates": AccumulatorRule(15, "saturate"),
    "saturates at 16 bits": AccumulatorRule(16, "saturate"),
    "saturates at 24 bits": AccumulatorRule(24, "saturate"),
    "saturates, channels last": AccumulatorRule(15, "saturate", "channels_last"),
    "saturates with the half": AccumulatorRule(14, "saturate", rounds_inside=True),
    "saturates in a wide word": AccumulatorRule(33, "saturate", fraction_bits=30),
    "saturates with more fraction bits": AccumulatorRule(18, "saturate", fraction_bits=14),
    "cuts and wraps": AccumulatorRule(10, fraction_bits=6),
    "cuts and saturates": AccumulatorRule(10, "saturate", fraction_bits=6, rounding=Rounding.HALF_EVEN),
    "cuts": AccumulatorRule(fraction_bits=3, rounding=Rounding.TRUNC),
    "cuts twice": AccumulatorRule(16, "saturate", "channels_last", fraction_bits=5, rounding=Rounding.TFLITE),
}
WORDS = {
    "int8": {"qformat": "Q2.5"},
    "uint8": {"qformat": "UQ3.5", "weight_qformat": "Q0.7"},
    "int16": {"qformat": "Q3.6", "weight_qformat": "Q0.9"},
    "int16 and int8": {"qformat": "Q3.12", "weight_qformat": "Q0.7"},
    "uint16": {"qformat": "UQ4.12", "weight_qformat": "Q0.15"},
    "wide": {"qformat": "Q1.14", "weight_qformat": "Q0.15"},
    "left": {"qformat": "Q2.5", "weight_qformat": "Q4.-2", "formats": {"y": "Q4.11"}},
    "per channel": {"qformat": "Q2.5", "per_channel": True},
    "per channel of both signs": {"qformat": "Q3.4", "per_channel": True, "formats": {"y": "Q3.9"}},
}
BIASES = (
    BiasRule(),
    BiasRule(8, "most"),
    BiasRule(20, rounding=Rounding.FLOOR),
    BiasRule(16, 2, Rounding.HALF_UP),
    BiasRule(32, shift=3),
)


def feed(shape, seed=3, spread=2.0):
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


def weights(shape):
    """Weights whose channels have other formats, with `per_channel`."""
    scales = 2.0 ** np.random.default_rng(7).integers(-5, 1, shape[:1] + (1,) * (len(shape) - 1))
    return (feed(shape, 1, 0.6) * scales).astype(np.float32)


def convolution(channels, filters, kernel, size, operator="Conv", middle=False, images=2, **attributes):
    """Return a convolution; in the middle, its input is in the order that the network gives to images."""
    group = attributes.get("group", 1)
    is_conv = operator == "Conv"
    shape = (filters, channels // group, *kernel) if is_conv else (channels, filters // group, *kernel)
    computed = attributes.pop("computed", "")
    constants = {"w": weights(shape), "b": feed((filters,), 5, 1.0)}
    inputs = {"x": [images, channels, *size]} | {name: list(constants[name].shape) for name in computed}
    feeds = {"x": feed((images, channels, *size))} | {name: constants.pop(name) for name in computed}
    nodes = []
    if middle:
        constants["i"] = weights((channels, 1, *(1,) * len(size)))
        nodes = [("Conv", "x i", "h", {"group": channels})]
    nodes += [(operator, "h w b" if middle else "x w b", "c", attributes), ("Relu", "c", "y")]
    return network(nodes, inputs=inputs, constants=constants), feeds


def product_of(x, w, b=None, operator="MatMul", computed="", **attributes):
    names = ("x", "w", *(("b",) if b is not None else ()))
    arrays = {"x": feed(x), "w": weights(w), "b": feed(b or (1,), 5, 1.0)}
    inputs = {name: list(arrays[name].shape) for name in ("x", *computed)}
    if "w" in computed:
        arrays["w"] = feed(w, 1, 0.6)
    constants = {name: arrays[name] for name in names if name not in inputs}
    feeds = {name: arrays[name] for name in inputs}
    return network([(operator, " ".join(names), "y", attributes)], inputs=inputs, constants=constants), feeds


def first_constant(x, w):
    """A product whose first matrix is known."""
    model = network([("MatMul", "k x", "y")], inputs={"x": list(x)}, constants={"k": weights(w)})
    return model, {"x": feed(x)}


def scaled(shape):
    names = ("s", "b", "m", "v")
    constants = {name: np.abs(feed((shape[1],), i)) + 0.5 for i, name in enumerate(names)}
    nodes = [("BatchNormalization", "x s b m v", "y")]
    return network(nodes, inputs={"x": list(shape)}, constants=constants), {"x": feed(shape)}


def rows_scaled(shape):
    nodes = [("Mul", "x s", "m"), ("Add", "m b", "y")]
    constants = {"s": feed(shape[-1:], 1), "b": feed(shape[-1:], 2)}
    return network(nodes, inputs={"x": list(shape)}, constants=constants), {"x": feed(shape)}


STEPS = {
    "convolution": lambda: convolution(5, 35, (3, 2), (6, 7), pads=[1, 0, 1, 2]),
    "middle": lambda: convolution(5, 35, (3, 2), (6, 7), middle=True, pads=[1, 0, 1, 2]),
    "few filters": lambda: convolution(20, 3, (3, 3), (5, 6), middle=True, pads=[1] * 4),
    "one filter": lambda: convolution(3, 1, (3, 3), (5, 6), middle=True),
    "pixels": lambda: convolution(3, 2, (1, 1), (5, 6)),
    "many filters": lambda: convolution(3, 150, (2, 2), (3, 3), images=1),
    "strides and dilations": lambda: convolution(3, 20, (3, 3), (9, 8), strides=[2, 1], dilations=[1, 2]),
    "kernel larger than input": lambda: convolution(2, 3, (5, 5), (2, 3), pads=[4] * 4, strides=[2, 3]),
    "cropped": lambda: convolution(2, 3, (2, 2), (6, 6), "ConvTranspose", strides=[1, 2], pads=[3, 4, 2, 3]),
    "grown": lambda: convolution(2, 3, (2, 2), (3, 4), "ConvTranspose", strides=[2, 2], output_shape=[7, 5]),
    "groups": lambda: convolution(6, 36, (2, 2), (5, 4), group=2, pads=[0, 1, 1, 0]),
    "groups in the middle": lambda: convolution(6, 36, (2, 2), (5, 4), middle=True, group=3, pads=[0, 1, 1, 0]),
    "depthwise": lambda: convolution(18, 18, (3, 3), (5, 6), group=18, pads=[1] * 4),
    "depthwise in the middle": lambda: convolution(18, 18, (3, 3), (5, 6), middle=True, group=18, pads=[1] * 4),
    "depthwise, two each": lambda: convolution(5, 10, (3, 3), (5, 6), middle=True, group=5, strides=[2, 2]),
    "one axis": lambda: convolution(4, 70, (3,), (11,), pads=[2, 1]),
    "three axes": lambda: convolution(3, 17, (2, 2, 2), (4, 3, 5), pads=[1, 0, 0, 0, 1, 0]),
    "computed weights": lambda: convolution(4, 6, (2, 3), (4, 5), computed="wb", group=2, pads=[1] * 4),
    "computed bias": lambda: convolution(4, 5, (2, 3), (4, 5), computed="b"),
    "transposed": lambda: convolution(5, 20, (3, 3), (4, 5), "ConvTranspose", strides=[2, 1], pads=[1, 0, 0, 1]),
    "transposed in the middle": lambda: convolution(
        5, 20, (4, 4), (4, 5), "ConvTranspose", middle=True, strides=[2, 2], pads=[1] * 4
    ),
    "transposed, gaps": lambda: convolution(
        2, 3, (2, 1), (3, 4), "ConvTranspose", strides=[3, 2], output_padding=[2, 1]
    ),
    "transposed, groups": lambda: convolution(4, 6, (3, 2), (4, 5), "ConvTranspose", group=2, dilations=[1, 2]),
    "transposed, dilations": lambda: convolution(
        3, 4, (3, 4), (4, 5), "ConvTranspose", strides=[2, 4], dilations=[3, 6], pads=[1, 2, 3, 0]
    ),
    "transposed, one axis": lambda: convolution(3, 4, (5,), (6,), "ConvTranspose", strides=[3], pads=[2, 1]),
    "transposed, three axes": lambda: convolution(2, 3, (2, 3, 2), (3, 2, 3), "ConvTranspose", strides=[2, 1, 2]),
    "transposed, computed weights": lambda: convolution(
        4, 6, (3, 4), (4, 5), "ConvTranspose", computed="wb", group=2, strides=[2, 3], pads=[1] * 4
    ),
    "gemm": lambda: product_of((7, 9), (20, 9), (20,), "Gemm", transB=1),
    "gemm, transposed": lambda: product_of((9, 7), (9, 20), (7, 1), "Gemm", transA=1),
    "gemm, computed bias": lambda: product_of((7, 9), (20, 9), (7, 20), "Gemm", "b", transB=1),
    "gemm, computed": lambda: product_of((9, 7), (20, 9), (1, 20), "Gemm", "wb", transB=1, transA=1),
    "gemm, scalar bias": lambda: product_of((7, 9), (20, 9), (), "Gemm", transB=1),
    "rows": lambda: product_of((2, 3, 9), (9, 33)),
    "stacks": lambda: product_of((2, 1, 3, 9), (3, 9, 17)),
    "deep stacks": lambda: product_of((2, 1, 3, 1, 2, 4, 5), (1, 2, 1, 3, 1, 5, 6), computed="w"),
    "computed matrices": lambda: product_of((2, 1, 3, 9), (3, 9, 17), computed="w"),
    "computed square": lambda: product_of((8, 40), (8, 40), None, "Gemm", "w", transB=1),
    "vector": lambda: product_of((9,), (9, 5)),
    "second vector": lambda: product_of((4, 9), (9,), computed="w"),
    "vectors": lambda: product_of((9,), (9,), computed="w"),
    "first constant": lambda: first_constant((2, 9, 5), (4, 9)),
    "scale of channels": lambda: scaled((2, 19, 3, 4)),
    "scale of one channel": lambda: scaled((3, 1, 5)),
    "scale of rows": lambda: rows_scaled((3, 4, 11)),
}
MODES = list(product(Rounding, Overflow))


def cases(registers, count, seed=0, words=WORDS):
    """Return random combinations of a step, a word, a register, a bias and modes: each step and each register often."""
    rng = np.random.default_rng(seed)
    found, names = [], []
    for i in range(count):
        step = list(STEPS)[i % len(STEPS)]
        register = registers[int(rng.integers(len(registers)))]
        word = list(words)[int(rng.integers(len(words)))]
        rounding, overflow = MODES[int(rng.integers(len(MODES)))]
        if REGISTERS[register].rounds_inside:
            rounding = (Rounding.HALF_UP, Rounding.FLOOR)[int(rng.integers(2))]
        bias = BIASES[int(rng.integers(len(BIASES)))]
        if bias.fraction_bits == 2 and word in ("left", "per channel of both signs"):
            bias = BIASES[0]
        model, feeds = STEPS[step]()
        rules = Rules(rounding, overflow, accumulator=REGISTERS[register], bias=bias, kinds={"linear": Modes(rounding)})
        session = InferenceSession(model, isa="reference", rules=rules, **words[word])
        found.append((session, [feeds, {name: a * 3 for name, a in feeds.items()}]))
        names.append((step, register, word, str(rounding), str(overflow), bias))
    return found, names


def assert_equal(found, names, folder, *flags):
    wrong = differences(found, folder, flags)
    assert not wrong, [(line, names[int(line.split()[1].rstrip(","))]) for line in wrong]


@pytest.mark.parametrize("registers", [list(REGISTERS)[:7], list(REGISTERS)[7:14], list(REGISTERS)[14:]])
def test_every_form_and_register(registers, tmp_path):
    assert_equal(*cases(registers, 2 * len(STEPS), len(registers[0])), tmp_path, "-O1", *SANITIZED)
