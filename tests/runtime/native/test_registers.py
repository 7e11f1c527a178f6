"""Linear steps in the registers of devices: native kernels equal the reference, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from networks import network
from runtime.native.native import ISAS, assert_same, both, kernels
from runtime.native.test_counting import assert_counted

from qengine import InferenceSession
from qengine.kernels.isa import available
from qengine.model.rules import AccumulatorRule, BiasRule, MeanRule, Modes, Rules, TableRule
from qengine.qformat import Overflow, Rounding

HALF_UP = {"linear": Modes(Rounding.HALF_UP)}

REGISTERS = {
    "saturate": AccumulatorRule(15, "saturate"),
    "saturate, channels last": AccumulatorRule(15, "saturate", "channels_last"),
    "saturate, half inside": AccumulatorRule(14, "saturate", rounds_inside=True),
    "cut and wrap": AccumulatorRule(10, fraction_bits=6),
    "cut and saturate": AccumulatorRule(10, "saturate", fraction_bits=6, rounding=Rounding.HALF_EVEN),
    "cut, unbounded": AccumulatorRule(fraction_bits=3, rounding=Rounding.TRUNC),
    "more fraction bits and saturate": AccumulatorRule(18, "saturate", fraction_bits=14),
    "wide": AccumulatorRule(33, "saturate", fraction_bits=30),
}
WORDS = {
    "int8": {"qformat": "Q2.5"},
    "uint8": {"qformat": "UQ3.5", "weight_qformat": "Q0.7"},
    "int16": {"qformat": "Q3.6", "weight_qformat": "Q0.9"},
    "uint16": {"qformat": "UQ4.12", "weight_qformat": "Q0.15"},
    "per channel": {"qformat": "Q2.5", "per_channel": True},
}


def feed(shape, seed=3, spread=2.0):
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


def convolution(channels, filters, kernel, size, operator="Conv", **attributes):
    group = attributes.get("group", 1)
    shape = (filters, channels // group, *kernel) if operator == "Conv" else (channels, filters // group, *kernel)
    w, b = feed(shape, 1, 0.3), feed((filters,), 5, 1.0)
    model = network(
        [(operator, "x w b", "c", attributes), ("Relu", "c", "y")],
        inputs={"x": [2, channels, *size]},
        constants={"w": w, "b": b},
    )
    return model, {"x": feed((2, channels, *size))}


def product(x, w, b=None, operator="MatMul", is_computed=False, **attributes):
    nodes = [(operator, "x w b" if b else "x w", "y", attributes)]
    inputs, feeds, constants = {"x": list(x)}, {"x": feed(x)}, {}
    if is_computed:
        inputs["w"], feeds["w"] = list(w), feed(w, 1, 0.5)
    else:
        constants["w"] = feed(w, 1, 0.3)
    if b:
        constants["b"] = feed(b, 5, 1.0)
    return network(nodes, inputs=inputs, constants=constants), feeds


def scaled(shape):
    channels = shape[1]
    names = ("s", "b", "m", "v")
    constants = {name: np.abs(feed((channels,), i)) + 0.5 for i, name in enumerate(names)}
    nodes = [("Relu", "x", "r"), ("BatchNormalization", "r s b m v", "y")]
    return network(nodes, inputs={"x": list(shape)}, constants=constants), {"x": feed(shape)}


STEPS = {
    "convolution": lambda: convolution(5, 35, (3, 2), (6, 7), pads=[1, 0, 1, 2]),
    "strides and dilations": lambda: convolution(3, 20, (3, 3), (9, 8), strides=[2, 1], dilations=[1, 2]),
    "groups": lambda: convolution(6, 36, (2, 2), (5, 4), group=2, pads=[0, 1, 1, 0]),
    "depthwise": lambda: convolution(18, 18, (3, 3), (5, 6), group=18, pads=[1] * 4),
    "one axis": lambda: convolution(4, 70, (3,), (11,), pads=[2, 1]),
    "three axes": lambda: convolution(3, 17, (2, 2, 2), (4, 3, 5), pads=[1, 0, 0, 0, 1, 0]),
    "transposed": lambda: convolution(5, 20, (3, 3), (4, 5), "ConvTranspose", strides=[2, 1], pads=[1, 0, 0, 1]),
    "transposed, groups": lambda: convolution(4, 6, (3, 2), (4, 5), "ConvTranspose", group=2, dilations=[1, 2]),
    "gemm": lambda: product((7, 9), (20, 9), (20,), "Gemm", transB=1),
    "rows": lambda: product((2, 3, 9), (9, 33)),
    "stacks": lambda: product((2, 1, 3, 9), (3, 9, 17)),
    "computed matrices": lambda: product((2, 1, 3, 9), (3, 9, 17), is_computed=True),
    "computed matrix, transposed": lambda: product((5, 9), (9, 18), None, "Gemm", True),
    "vector": lambda: product((9,), (9, 5)),
    "scale of channels": lambda: scaled((2, 19, 3, 4)),
}


@pytest.mark.parametrize(("step", "register", "isa"), covering(STEPS, REGISTERS, ISAS))
def test_sums_in_order_equal_the_reference(step, register, isa):
    model, feeds = STEPS[step]()
    word = list(WORDS)[(list(STEPS).index(step) + list(REGISTERS).index(register)) % len(WORDS)]
    rules = Rules(accumulator=REGISTERS[register], kinds=HALF_UP)
    got, want, ran = both(model, feeds, isa, rules=rules, **WORDS[word])
    assert_same(got, want)
    assert "register_dot" in ran or "cut" not in register
    assert not any(name.startswith("reference") for name in ran), ran


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("register", REGISTERS)
def test_every_word_and_register(word, register):
    model, feeds = STEPS["convolution"]()
    rules = Rules(accumulator=REGISTERS[register], kinds=HALF_UP)
    got, want, ran = both(model, feeds, available()[0].name, threads=2, rules=rules, **WORDS[word])
    assert_same(got, want)
    assert "register_dot" in ran


EXACT = ("convolution", "depthwise", "transposed", "gemm", "rows", "scale of channels")
WRAPPED = {
    "wrap": AccumulatorRule(13),
    "half inside": AccumulatorRule(12, rounds_inside=True),
    "half inside 32 bits": AccumulatorRule(32, rounds_inside=True),
    "32 bits": AccumulatorRule(32),
    "more fraction bits": AccumulatorRule(16, fraction_bits=14),
    "wide enough": AccumulatorRule(40, "saturate"),
}


@pytest.mark.parametrize(("step", "register", "isa"), covering(EXACT, WRAPPED, ISAS))
def test_sums_that_wrap_are_exact_sums(step, register, isa):
    model, feeds = STEPS[step]()
    words = [{"qformat": "Q2.5"}, {"qformat": "Q3.12" if "32" in register else "Q2.5", "per_channel": True}]
    for word in words:
        rules = Rules(accumulator=WRAPPED[register], kinds=HALF_UP)
        got, want, ran = both(model, feeds, isa, rules=rules, **word)
        assert_same(got, want)
        # Channels whose products have other fraction bits keep other numbers of low bits: such sums wrap in order.
        assert "register_dot" not in ran or (register == "more fraction bits" and "per_channel" in word)


@pytest.mark.parametrize("rounding", ["half_up", "floor"])
def test_registers_of_32_bits_are_lanes(rounding):
    """Large weights and inputs, so that sums leave 32 bits; with the constant inside nothing but a lane is needed."""
    model = network(
        [("Conv", "x w b", "y", {"pads": [1] * 4})],
        inputs={"x": [1, 16, 5, 9]},
        constants={"w": np.sign(feed((20, 16, 3, 3), 1)) * 0.99, "b": feed((20,), 2, 1000.0)},
    )
    feeds = {"x": np.sign(feed((1, 16, 5, 9))) * 7.9}
    rules = Rules(
        accumulator=AccumulatorRule(32, rounds_inside=True), kinds={"linear": Modes(Rounding(rounding), Overflow.WRAP)}
    )
    for isa in ISAS:
        got, want, _ = both(model, feeds, isa, rules=rules, qformat="Q3.12", weight_qformat="Q0.15")
        assert_same(got, want)


@pytest.mark.parametrize(
    "bias", [BiasRule(8, "most"), BiasRule(5, 3), BiasRule(64), BiasRule(20, rounding=Rounding.FLOOR)]
)
@pytest.mark.parametrize("isa", ISAS)
def test_biases_in_words_of_their_own(bias, isa):
    for step in ("convolution", "gemm", "scale of channels"):
        model, feeds = STEPS[step]()
        for word in ("int8", "per channel"):
            got, want, _ = both(model, feeds, isa, rules=Rules(bias=bias), **WORDS[word])
            assert_same(got, want)


def test_a_step_that_cannot_saturate_has_its_usual_kernel():
    model, feeds = STEPS["convolution"]()
    for bits, is_exact in ((14, False), (24, True)):
        rules = Rules(accumulator=AccumulatorRule(bits, "saturate"))
        session = InferenceSession(model, isa=available()[0].name, qformat="Q2.5", rules=rules)
        assert ("register_dot" not in kernels(session, feeds)) == is_exact


def test_a_relu_proves_that_inputs_are_not_negative():
    """Filters of 1 and -1: inputs of 0 to 127 sum to 127 at most, those of -128 to 127 to 255. 9 bits end at 255."""
    w = np.float32([[1, -1], [1, -1]]).reshape(2, 2, 1, 1)
    nodes = [("Relu", "x", "r"), ("Conv", "r w", "y", {}), ("Conv", "x w", "z", {})]
    model = network(nodes, inputs={"x": [1, 2, 3, 4]}, constants={"w": w}, outputs=["y", "z"])
    feeds = {"x": np.round(feed((1, 2, 3, 4), spread=99.0)).clip(-128, 127)}
    formats = {"x": "Q7.0", "w": "Q7.0", "y": "Q8.0", "z": "Q8.0"}
    rules = Rules(accumulator=AccumulatorRule(8, "saturate"))
    got, want, ran = both(model, feeds, ISAS[0], rules=rules, formats=formats)
    assert_same(got, want)
    assert ran.count("register_dot") == 1


@pytest.mark.parametrize(("register", "isa"), covering([*WRAPPED, "saturate", "cut and saturate"], ISAS, strength=1))
def test_counts_equal_the_reference(register, isa):
    rules = Rules(accumulator=(WRAPPED | REGISTERS)[register], kinds=HALF_UP, bias=BiasRule(9, "most"))
    left = []
    for step in ("convolution", "depthwise", "gemm"):
        model, feeds = STEPS[step]()
        found = assert_counted(model, feeds, isa, rules=rules, qformat="Q2.5")
        left += [note for note in found.notes if "sums of" in note]
    assert bool(left) == (register not in ("32 bits", "half inside 32 bits", "wide enough"))
    if "saturate" in register:
        assert "-bit rail and stopped there" in left[0]


def test_a_report_names_the_channels_that_may_reach_a_rail():
    """The second filter sums to 4 * 127 at most, the others to 127: 9 bits end at 255."""
    w = np.float32([[1, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]]).reshape(3, 4, 1, 1)
    model = network([("Conv", "x w", "y", {})], inputs={"x": [1, 4, 1, 3]}, constants={"w": w})
    feeds = {"x": np.float32([[100, 100, 1]] * 4).reshape(1, 4, 1, 3)}
    rules = Rules(accumulator=AccumulatorRule(9, "saturate"))
    formats = {"x": "Q7.0", "w": "Q7.0", "y": "Q15.0"}
    for isa in (ISAS[0], "reference"):
        found = assert_counted(model, feeds, isa, rules=rules, formats=formats)
        note = "2 of 9 sums of 'y' reached the 9-bit rail and stopped there; only channels 1 of 3 may"
        assert note in found.notes


SUM_MODES = (("half_up", "saturate"), ("floor", "wrap"), ("half_even", "symmetric"))
SUMS = {
    "images": [("Add", "x z", "y")],
    "difference": [("Sub", "x z", "y")],
    "constant": [("Add", "x k", "y")],
    "one pixel": [("GlobalAveragePool", "z", "p"), ("Add", "x p", "y")],
    "with a bound": [("Add", "x z", "s"), ("Relu", "s", "y")],
    "three": [("Sum", "x z x", "y")],
    "plain": [
        ("Transpose", "x", "t", {"perm": [0, 2, 3, 1]}),
        ("Transpose", "z", "u", {"perm": [0, 2, 3, 1]}),
        ("Sub", "t u", "y"),
    ],
}


@pytest.mark.parametrize(("nodes", "modes", "isa"), covering(SUMS, SUM_MODES, ISAS))
def test_aligned_sums_equal_the_reference(nodes, modes, isa):
    rounding, overflow = modes
    used = " ".join(node[1] for node in SUMS[nodes]).split()
    inputs = {name: [1, 17, 4, 5] for name in ("x", "z") if name in used}
    constants = {"k": feed((17, 1, 1), 9)} if "k" in used else {}
    model = network(SUMS[nodes], inputs=inputs, constants=constants)
    feeds = {name: feed(shape, i, 3.0) for i, (name, shape) in enumerate(inputs.items())}
    formats = {"x": "Q2.5", "y": "Q3.3"} | ({"z": "Q1.6"} if "z" in inputs else {"k": "Q1.6"})
    kinds = {"add": Modes(Rounding(rounding), Overflow(overflow))}
    options = {"qformat": "Q2.4", "formats": formats}
    if nodes == "plain":
        options["formats"] = {"x": "Q2.5", "z": "Q1.6", "y": "Q3.3", "t": "Q2.5", "u": "Q1.6"}
    got, want, ran = both(model, feeds, isa, rules=Rules(kinds=kinds, aligns_add=True), **options)
    assert_same(got, want)
    assert not any(name.startswith("reference") for name in ran) or nodes == "three", ran
    (exact,) = InferenceSession(model, isa=isa, rules=Rules(kinds=kinds), **options).run(None, feeds, raw=True)
    assert (exact != got[0]).any()
    assert_counted(model, feeds, isa, rules=Rules(kinds=kinds, aligns_add=True), **options)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("method", ["exact", "shifted_count", "two_pass", "reciprocal", "accumulator", "float32"])
def test_means_equal_the_reference(method, isa):
    nodes = [
        ("AveragePool", "x", "p", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 1]}),
        ("GlobalAveragePool", "p", "y"),
    ]
    model = network(nodes, inputs={"x": [2, 17, 9, 8]})
    feeds = {"x": feed((2, 17, 9, 8))}
    for formats in ({}, {"p": "Q2.6"}):
        for pads in (None, method != "two_pass"):
            rules = Rules(Rounding.TRUNC, mean=MeanRule(method, pads))
            options = {"qformat": "Q2.5", "formats": formats, "rules": rules}
            got, want, ran = both(model, feeds, isa, names=["p", "y"], **options)
            assert_same(got, want)
            assert (method in ("exact", "shifted_count")) == (not any(name.startswith("reference") for name in ran))
    assert_counted(model, feeds, isa, **options)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "table", [TableRule("cut", 64, 4), TableRule("interpolated", 32), TableRule("shared_sigmoid", min_bits=9)]
)
def test_tables_equal_the_reference(table, isa):
    model = network(
        [("Sigmoid", "x", "s"), ("Tanh", "x", "t"), ("Exp", "x", "y")],
        inputs={"x": [2, 17, 9]},
        outputs=["s", "t", "y"],
    )
    feeds = {"x": feed((2, 17, 9))}
    for form in ("Q2.5", "Q3.12"):
        got, want, ran = both(model, feeds, isa, rules=Rules(table=table), qformat=form)
        assert_same(got, want)
        assert not any(name.startswith("reference") for name in ran)
        full = InferenceSession(model, qformat=form).run(None, feeds, raw=True)
        is_full = table.min_bits > 8 and form == "Q2.5"
        assert [bool((a != b).any()) for a, b in zip(got, full, strict=True)] == [not is_full, not is_full, False]
        assert_counted(model, feeds, isa, rules=Rules(table=table), qformat=form)
