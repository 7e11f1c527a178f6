"""Linear operators in C: every form, word, mode and register has the codes of the reference."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from deploy.c.running import INLINED, QUICK, SANITIZED, differences, needs_gcc
from networks import network

from qengine import InferenceSession
from qengine.deploy.c import lowering
from qengine.deploy.c.lowerings.linear.general import lower_linear
from qengine.deploy.c.lowerings.linear.loop_nests import phases_of
from qengine.deploy.c.network import network_of
from qengine.errors import UnsupportedError
from qengine.model.rules import AccumulatorRule, BiasRule, Modes, Rules
from qengine.model.steps import Linear
from qengine.model.steps.forms import TransposedConvolution
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
    "one call": lambda: convolution(3, 4, (3, 3), (4, 5), "ConvTranspose", middle=True, strides=[3, 3]),
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
    "deep stacks": lambda: product_of((2, 1, 2, 1, 3, 1, 2, 4, 5), (1, 2, 1, 2, 1, 3, 1, 5, 6), computed="w"),
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


@pytest.fixture
def general(monkeypatch):
    """Leave linear steps to the general kernels."""
    network_of(*first_case())
    left = [one for one in lowering._LOWERINGS if one.step is not Linear or one.lower is lower_linear]
    monkeypatch.setattr(lowering, "_LOWERINGS", left)


def first_case():
    model, feeds = STEPS["gemm"]()
    return InferenceSession(model, isa="reference", qformat="Q2.5"), feeds


def cases(registers, count, seed=0, words=WORDS, steps=STEPS):
    """Return random combinations of a step, a word, a register, a bias and modes: each step as often as any other."""
    rng = np.random.default_rng(seed)
    found, names = [], []
    for i in range(count):
        step = list(steps)[i % len(steps)]
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


def assert_equal(found, names, folder, *flags, toolchain=QUICK):
    wrong = differences(found, folder, flags, toolchain=toolchain)
    assert not wrong, [(line, names[int(line.split()[1].rstrip(","))]) for line in wrong]


GROUPS = [list(REGISTERS)[:7], list(REGISTERS)[7:14], list(REGISTERS)[14:]]


@pytest.mark.parametrize("seed", [0, *(pytest.param(i, marks=pytest.mark.exhaustive) for i in range(1, 8))])
@pytest.mark.parametrize("registers", GROUPS, ids=["wrap", "saturate", "cut"])
def test_every_form_in_registers(registers, seed, general, tmp_path):
    assert_equal(*cases(registers, len(STEPS), seed), tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(20, 28))
def test_no_behaviour_is_undefined(seed, general, tmp_path):
    few = list(STEPS)[seed % 2 :: 2]
    assert_equal(*cases(list(REGISTERS), len(few), seed, steps=few), tmp_path, *SANITIZED)


@pytest.mark.parametrize("flags", [("-O1",), pytest.param(("-O3",), marks=pytest.mark.exhaustive)])
def test_fast_kernels_and_general_ones_share_steps(flags, tmp_path):
    transposed = [name for name in STEPS if "transposed" in name or name in ("cropped", "grown")]
    assert_equal(*cases(["exact"], len(transposed), 40, steps=transposed), tmp_path, *flags, toolchain=INLINED)


def operation(model, feeds, **options):
    """Return the last operation of a model."""
    options = {"qformat": "Q2.5", **options}
    return network_of(InferenceSession(model, isa="reference", **options), feeds).operations[-1]


def kernels(step, **options):
    return [call.kernel for call in operation(*STEPS[step](), **options).calls]


@pytest.mark.parametrize(
    ("step", "kernel", "count"),
    [
        ("convolution", "linear_rows", 1),
        ("few filters", "linear_dot", 1),
        ("depthwise in the middle", "linear_rows", 1),
        ("transposed in the middle", "linear_rows", 4),
        ("one call", "linear_rows", 1),
        ("computed matrices", "linear_rows", 1),
        ("computed square", "linear_dot", 1),
        ("second vector", "linear_dot", 1),
        ("scale of channels", "linear_rows", 1),
        ("deep stacks", "linear_rows", 4),
    ],
)
def test_kernels(step, kernel, count, general):
    assert kernels(step) == [kernel] * count


def test_transposed_convolutions_use_the_fast_kernel():
    assert kernels("transposed in the middle") == ["conv"] * 4
    assert set(kernels("transposed, gaps")) == {"linear_rows"}  # some outputs sum nothing


def test_phases_that_are_alike_are_one():
    form = TransposedConvolution((3,), (1,), ((0, 0),), (0,), 1)
    assert [(one.first, one.every, one.taps) for one in phases_of(form, 3, 12, 0)] == [(0, 1, ((0,), (1,), (2,)))]
    assert [one.taps for one in phases_of(form, 4, 13, 0)] == [((3, 0),), ((1,), (2,))]
    assert [one.taps for one in phases_of(form, 2, 12, 0)] == [((0,), (1,)), ((),)]


@pytest.mark.parametrize(
    ("register", "comment"),
    [
        (AccumulatorRule(), "|sum| <= 38,908 < 2^31"),
        (AccumulatorRule(24), "|sum| <= 38,908 < 2^31"),
        (AccumulatorRule(12), "sums modulo 2^32, of which the low 12 bits count"),
        (AccumulatorRule(12, "saturate"), "|sum| <= 12,417 < 2^31"),
    ],
)
def test_sums_tell_their_proof(register, comment, general):
    assert comment in operation(*STEPS["gemm"](), rules=Rules(accumulator=register)).comments


def test_a_large_sum_is_of_64_bits(general):
    model, feeds = product_of((2, 2000), (2000, 3))
    found = operation(model, {"x": feeds["x"]}, qformat="Q0.15", weight_qformat="Q0.15")
    assert found.calls[0].types["s"] == np.int64
    assert found.comments[0].endswith("< 2^63")


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_integers_keep_their_low_bits(dtype, tmp_path):
    rng = np.random.default_rng(2)
    most = np.iinfo(dtype).max
    nodes = [("MatMul", "a b", "c"), ("Gemm", "c k d", "e", {"transB": 1}), ("Relu", "x", "y")]
    constants = {"k": rng.integers(0, most, (4, 5), dtype), "d": rng.integers(0, most, (4,), dtype)}
    shapes = {"a": (2, 3), "b": (3, 5)}
    inputs = {name: (dtype, list(shape)) for name, shape in shapes.items()}
    model = network(nodes, inputs={"x": [2], **inputs}, constants=constants, outputs=["c", "e", "y"])
    feeds = {name: rng.integers(0, most // 2, shape, dtype) for name, shape in shapes.items()} | {"x": feed((2,))}
    session = InferenceSession(model, isa="reference", qformat="Q2.5")
    assert not differences([(session, [feeds])], tmp_path, SANITIZED)


def test_an_output_may_lie_on_what_was_read(general):
    """A scale of 38 channels of 12 elements, a channel at a time; 6 rows of 33 elements from rows of 9."""
    assert operation(*STEPS["scale of channels"]()).overlap == (0,)
    assert operation(*STEPS["scale of channels"](), formats={"y": "Q3.9"}).overlap == (37 * 12 - 37 * 12 * 2,)
    assert operation(*STEPS["rows"]()).overlap == (5 * 9 - 5 * 33,)
    assert operation(*STEPS["computed matrices"]()).overlap[1] is None


@pytest.mark.parametrize(
    ("register", "bias", "message"),
    [
        (AccumulatorRule(64, "saturate", fraction_bits=62), BiasRule(), "its sums need 65 bits and C has 64"),
        (AccumulatorRule(), BiasRule(64), "its sums need 65 bits and C has 64: give its tensors formats"),
    ],
)
def test_sums_that_64_bits_do_not_hold_are_refused(register, bias, message):
    model, feeds = (
        network(
            [("Gemm", "x w b", "y")],
            inputs={"x": [2, 9]},
            constants={"w": weights((9, 3)), "b": np.float32([0, 0, 3e38])},
        ),
        {"x": feed((2, 9))},
    )
    rules = Rules(accumulator=register, bias=bias)
    with pytest.raises(UnsupportedError, match=message):
        operation(model, feeds, qformat="Q0.15", weight_qformat="Q0.15", rules=rules)


def test_a_convolution_over_four_axes_is_refused():
    model, feeds = convolution(1, 2, (2, 1, 1, 1), (3, 1, 1, 1))
    with pytest.raises(UnsupportedError, match="a convolution over 4 axes, and C has kernels for up to 3"):
        operation(model, feeds)
