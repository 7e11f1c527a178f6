"""Facts that operators declare: each is true of the float32 kernel on random data, and who declares none is listed."""

import numpy as np
import pytest
from networks import network

from qengine import InferenceSession
from qengine.model.custom import Custom
from qengine.model.graph import Node
from qengine.model.ops.operator import ANY, Channels, Facts, NumberKind, Sign, find, operator, versions
from qengine.model.ops.signature import Known
from qengine.model.steps import Island, Move, Tensor

from .cases import i64, real
from .samples import SAMPLES, Sample, for_samples, is_real

# An operator that is added declares a fact, or its author puts it here.
WITHOUT_FACTS = {
    *("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Xor"),
    *("ArgMax", "ArgMin", "Cast", "CastLike", "ConstantOfShape", "Range", "Shape", "Size"),
    *("BatchNormalization", "GridSample", "GroupNormalization", "InstanceNormalization", "LayerNormalization"),
    *("LogSoftmax", "LpNormalization", "MeanVarianceNormalization", "RMSNormalization", "Standardize"),
    *("Ceil", "Floor", "Mod", "Neg", "Pow", "Reciprocal", "Round", "Sign", "Sub"),
    *("Celu", "Elu", "Erf", "Gelu", "HardSwish", "Log", "Mish", "Selu", "Softsign", "Swish", "Tanh"),
    *("DequantizeLinear", "QuantizeLinear", "Requantize"),
    *("ThresholdedRelu", "Quant", "IntQuant", "BipolarQuant", "Trunc"),
}


def declares(facts):
    return facts != Facts()


def test_operators_without_facts_are_listed():
    without = {name for (domain, name), found in versions().items() if not any(declares(one.facts) for one in found)}
    assert without == WITHOUT_FACTS


def test_all_versions_of_an_operator_declare_facts_or_none_does():
    uneven = [key for key, found in versions().items() if len({declares(one.facts) for one in found}) > 1]
    assert uneven == []


@pytest.mark.parametrize("fact", ["sign", "channels", "filters", "padding_value", "keeps_mean", "numbers"])
def test_every_operator_with_a_fact_has_a_sample(fact):
    every = [one for found in versions().values() for one in found]
    declared = {one.name for one in every if getattr(one.facts, fact) != getattr(Facts(), fact)}
    declared -= {"Chain"}  # it has the facts of its operators
    assert declared <= {one.operator for one in SAMPLES}


def data(sample, name, rng, *, signed):
    array = sample.by_name()[name]
    if array.dtype == bool:
        return rng.random(array.shape) < 0.5
    values = rng.normal(size=array.shape) * 3.0
    return np.asarray(values if signed else np.abs(values)).astype(array.dtype)


def sign_of(sample):
    return sample.op.sign(sample.node, sample.constants)


@for_samples(lambda one: sign_of(one) is not None and one.arrays[0].dtype.kind == "f")
def test_signs(sample):
    kept = sign_of(sample) is Sign.KEPT
    rng = np.random.default_rng(1)
    for _ in range(5):
        changed = {name: data(sample, name, rng, signed=not kept) for name in sample.numbers()}
        for y in sample.run(changed):
            # The largest of nothing is minus infinity, which a format without negative numbers saturates.
            assert not np.any((y < 0) & np.isfinite(y))


@pytest.mark.parametrize("name", ["ReduceL1", "ReduceL2", "ReduceSumSquare"])
def test_signs_of_operators_without_a_handler(name):
    node = Node(name, ("x",), ("y",), {}, version=13)
    assert find(node).is_delegated
    assert find(node).sign(node, {}) is Sign.NOT_NEGATIVE
    assert find(Node(name, ("x",), ("y",), {}, "", "my.domain", 13)).facts == Facts()
    (y,) = InferenceSession(network([(name, "x", "y")], opset=13)).run(None, {"x": real(1, 3, 6, 5)})
    assert (y >= 0).all()


def test_signs_that_numbers_decide():
    def sign(operator, attributes=None, version=13, **constants):
        node = Node(operator, ("x", *constants), ("y",), attributes or {}, version=version)
        return find(node).sign(node, {name: value for name, value in constants.items() if value is not None})

    assert sign("Clip", low=np.float32(0)) is Sign.NOT_NEGATIVE
    assert sign("Clip", {"min": 1.0, "max": 2.0}, 6) is Sign.NOT_NEGATIVE
    assert sign("Clip", low=np.float32(0), high=np.float32(-1)) is None
    assert sign("Clip", low=np.float32(0), high=None) is None
    assert sign("Clip", low=None, high=np.float32(1)) is None
    assert sign("Clip", {"max": 2.0}, 6) is None
    assert sign("Resize", {"mode": "linear", "extrapolation_value": 1.0}) is Sign.KEPT
    assert sign("Resize", {"mode": "linear", "extrapolation_value": -1.0}) is None
    assert sign("Resize", {"mode": "cubic"}) is None


def test_means_that_axes_decide():
    for axis in (0, 1, 2):
        node = Node("Flatten", ("x",), ("y",), {"axis": axis})
        assert find(node).keeps_mean(node) == (axis == 1)


def places(sample):
    """Yield where channels are before and behind a sample, for each place that the operator keeps apart."""
    x = sample.arrays[0]
    for channels in Channels:
        ndim_fits = x is not None and x.ndim >= (3 if channels is Channels.IMAGE else 1)
        behind = sample.op.channels_after(sample.node, channels, x.shape, sample.constants) if ndim_fits else None
        if behind is not None and x.dtype.kind == "f" and x.size:
            yield channels, behind


def axis_of(channels):
    return 1 if channels is Channels.IMAGE else -1


def per_channel(factors, ndim, axis):
    shape = [1] * ndim
    shape[axis] = -1
    return factors.reshape(shape)


@for_samples(lambda one: any(places(one)))
def test_channels_are_kept_apart_and_scale(sample):
    rng = np.random.default_rng(2)
    for before, behind in places(sample):
        x = data(sample, "x0", rng, signed=True)
        factors = np.exp2(rng.integers(-3, 4, x.shape[axis_of(before)]))
        scaled = (x * per_channel(factors, x.ndim, axis_of(before))).astype(x.dtype)
        y, z = sample.run({"x0": x})[0], sample.run({"x0": scaled})[0]
        repeat = y.shape[axis_of(behind)] // len(factors)
        wanted = y * per_channel(np.repeat(factors, repeat), y.ndim, axis_of(behind))
        np.testing.assert_allclose(z, wanted, rtol=1e-3 if x.dtype == np.float16 else 1e-5, atol=1e-6)


def test_every_rule_of_channels_holds_for_a_sample():
    declared = {one.name for found in versions().values() for one in found if one.facts.channels}
    assert declared == {one.operator for one in SAMPLES if any(places(one))} | {"Reshape"}
    node = Node("Reshape", ("x", "s"), ("y",), {}, version=14)
    rule = find(node).channels_after
    for shape, wanted in (((0, -1), True), ((2, 12), True), ((2, -1), True), ((-1, 12), True), ((1, -1), False)):
        behind = rule(node, Channels.IMAGE, (2, 3, 2, 2), {"s": i64(*shape)})
        assert (behind is Channels.LAST) == wanted
    assert rule(node, Channels.IMAGE, (2, 3, None, 2), {"s": i64(2, 12)}) is None
    assert rule(node, Channels.IMAGE, None, {"s": i64(0, 12)}) is Channels.LAST
    assert rule(node, Channels.LAST, (2, 12), {"s": i64(0, -1)}) is None
    sample = Sample("Reshape", [real(2, 3, 2, 2), i64(0, -1)])
    factors = np.exp2(np.arange(3.0)).astype(np.float32)
    (y,), (z,) = sample.run({}), sample.run({"x0": sample.arrays[0] * factors.reshape(3, 1, 1)})
    np.testing.assert_array_equal(z, y * np.repeat(factors, 4))


@for_samples(lambda one: one.op.keeps_mean(one.node) and is_real(one))
def test_means_are_kept(sample):
    y = sample.run({"x0": np.full_like(sample.arrays[0], 3)})[0]
    np.testing.assert_allclose(y, np.full_like(y, 3), rtol=1e-6)


def test_an_average_that_counts_padding_does_not_keep_the_mean():
    x, attributes = real(1, 2, 4, 4), {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "count_include_pad": 1}
    sample = Sample("AveragePool", [x], attributes)
    assert not sample.op.keeps_mean(sample.node)
    assert sample.run({"x0": np.full_like(x, 3)})[0].min() < 3


@for_samples(lambda one: one.op.facts.padding_value is not None and is_real(one) and "auto_pad" not in one.attributes)
def test_padding(sample):
    """The node's own pads give what cells of the declared value around the input give."""
    spatial = sample.arrays[0].ndim - 2
    before = sample.attributes.get("pads", [0] * 2 * spatial)
    pads = [n + (2 if i == 0 else 1) for i, n in enumerate(before)]
    if sample.op.facts.filters is None:  # a pool refuses padding as wide as its windows
        dilations = sample.attributes.get("dilations", [1] * spatial)
        extents = [(k - 1) * d for k, d in zip(sample.attributes["kernel_shape"], dilations, strict=True)]
        pads = [min(n, most) for n, most in zip(pads, extents * 2, strict=True)]
    fixed = {"count_include_pad": 1} if "count_include_pad" in sample.op.attributes else {}
    attributes = {k: v for k, v in sample.attributes.items() if k != "ceil_mode"} | fixed
    own = Sample(sample.operator, sample.arrays, {**attributes, "pads": pads}, sample.version)
    widths = [(0, 0), (0, 0), *zip(pads[:spatial], pads[spatial:], strict=True)]
    wide = np.pad(sample.arrays[0], widths, constant_values=sample.op.facts.padding_value)
    bare = {**attributes, "pads": [0] * 2 * spatial}
    other = Sample(sample.operator, [wide, *sample.arrays[1:]], bare, sample.version)
    np.testing.assert_allclose(own.run({})[0], other.run({})[0], rtol=1e-5, atol=1e-6)


def test_operators_with_a_bias():
    with_bias = {key for key, found in versions().items() if found[0].takes_bias}
    linear = {("", "Conv"), ("", "ConvTranspose"), ("", "Gemm"), ("qengine", "MatMul")}
    scales = {("qengine", "ScaleShift"), ("qengine", "RowScaleShift")}
    normal = {("", f"{kind}Normalization") for kind in ("Group", "Instance", "Layer")} | {("qengine", "Standardize")}
    assert with_bias == linear | scales | normal


def test_numbers():
    clip = Node("Clip", ("x", "", "high"), ("y",), version=13)
    op = find(clip)
    assert op.number_inputs == (1, 2)
    assert op.numbers(clip, {"high": np.float32(6)}) == {"max": 6.0}
    assert op.numbers(clip, {}) == {"max": None}
    old = Node("Clip", ("x",), ("y",), {"min": -1.0}, version=6)
    assert find(old).numbers(old, {}) == {"min": -1.0}
    assert find(old).number_inputs == ()
    pad = Node("Pad", ("x", "pads", "fill"), ("y",), version=18)
    assert find(pad).numbers(pad, {"fill": np.float32([2])}) == {"constant_value": 2.0}
    assert find(pad).numbers(pad, {"fill": np.zeros(2, np.float32)}) == {"constant_value": None}
    assert set(find(pad).facts.numbers.values()) == {NumberKind.FILL}


def test_a_number_must_be_an_input_or_attribute():
    def handler(x: Tensor, low: Known) -> Move:
        return Move(x, lambda v: v, x.shape)

    with pytest.raises(ValueError, match="Own since 1 has no input or attribute high"):
        operator("Own", domain="test", elements=ANY, numbers={"low": NumberKind.BOUND, "high": NumberKind.BOUND})(
            handler
        )
    assert ("test", "Own") not in versions()


@pytest.fixture
def declared():
    """Return a name under which an operator may be declared for one test."""
    yield "Own"
    versions().pop(("test", "Own"), None)


def test_facts_by_default(declared):
    def move(x: Tensor) -> Move:
        return Move(x, lambda v: v, x.shape)

    def island(x: Tensor) -> Island:
        return Island((x,), np.abs, x.shape, x.dtype)

    operator(declared, domain="test")(move)
    operator(declared, domain="test", since=2, preserves_format=False)(move)
    operator(declared, domain="test", since=3)(island)
    found = {version: find(Node(declared, (), (), {}, "", "test", version)) for version in (1, 2, 3)}
    assert found[1].facts == Facts(preserves_format=True, sign=Sign.KEPT)
    assert found[2].facts == found[3].facts == Facts()


def test_a_registered_operator_declares_nothing_but_its_format():
    from qengine import register_operator

    @register_operator("Shift", domain="my.domain", fixed_point="move")
    def shift(x):
        return x

    @register_operator("Square", domain="my.domain", fixed_point="table")
    def square(x):
        return x * x

    moved, table = (find(Node(name, ("x",), ("y",), {}, "", "my.domain", 1)) for name in ("Shift", "Square"))
    assert isinstance(moved, Custom)
    assert moved.facts == Facts(preserves_format=True)
    assert table.facts == Facts()
    assert table.channel_axis(Node("Square", ("x",), ("y",)), 2) is None
