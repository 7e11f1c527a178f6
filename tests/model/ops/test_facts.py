"""Facts that operators declare: each is true of the float32 kernel on random data, and who declares none is listed."""

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from networks import network

from qengine import InferenceSession
from qengine.analysis.inspection.counts import multiply_accumulates
from qengine.errors import UnsupportedError
from qengine.model.custom import Custom
from qengine.model.graph import Graph, Node, Value
from qengine.model.ops.binding import make_steps
from qengine.model.ops.filters import ConvFilters, MatrixFilters, ScaleFilters, TransposedConvFilters
from qengine.model.ops.operator import ANY, Channels, Facts, Number, Role, Sign, find, operator, versions
from qengine.model.ops.signature import Bias, Known, Weights
from qengine.model.steps import Island, Linear, Move, Tensor
from qengine.model.steps.forms import LinearForm, MatrixProduct
from qengine.quantization.correction import correct_bias, equalize, folded, round_weights

from . import __path__ as here
from .cases import i64, real

# An operator that is added declares a fact, or its author puts it here.
WITHOUT_FACTS = {
    *("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Xor"),
    *("ArgMax", "ArgMin", "Cast", "CastLike", "ConstantOfShape", "NonZero", "Range", "Shape", "Size"),
    *("BatchNormalization", "GridSample", "LayerNormalization", "LogSoftmax"),
    *("Ceil", "Floor", "Mod", "Neg", "Pow", "Reciprocal", "Round", "Sign", "Sub"),
    *("Celu", "Elu", "Erf", "Gelu", "HardSwish", "Log", "Mish", "Selu", "Softsign", "Swish", "Tanh"),
    *("DequantizeLinear", "QuantizeLinear", "Requantize"),
    "ThresholdedRelu",
}


@dataclass
class Sample:
    """One node with arrays for its inputs."""

    operator: str
    arrays: list[Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    version: int = 17
    domain: str = ""
    outputs: int = 1

    @property
    def node(self):
        names = tuple("" if a is None else f"x{i}" for i, a in enumerate(self.arrays))
        outputs = tuple(f"y{i}" for i in range(self.outputs))
        attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in self.attributes.items()}
        return Node(self.operator, names, outputs, attributes, "node", self.domain, self.version)

    @property
    def op(self):
        return find(self.node)

    @property
    def constants(self):
        """The inputs whose elements the handler itself reads."""
        return {name: array for name, array in self.by_name().items() if self.role(name) is Role.KNOWN}

    def by_name(self):
        return {f"x{i}": a for i, a in enumerate(self.arrays) if a is not None}

    def role(self, name):
        return dict(self.op.roles(self.node))[name]

    def numbers(self):
        """Names of the inputs that hold data."""
        return [n for n in self.by_name() if self.role(n) in (Role.DATA, Role.WEIGHTS, Role.BIAS)]

    def steps(self):
        known = self.constants
        tensors = {n: Tensor(n, a.dtype, a.shape, known.get(n)) for n, a in self.by_name().items()}
        return make_steps(self.node, tensors.__getitem__)

    def run(self, changed):
        """Return the outputs with some inputs changed."""
        arrays = {**self.by_name(), **changed}
        with np.errstate(all="ignore"):
            return [step.float32()(*(arrays[t.name] for t in step.operands)) for step in self.steps()]


def samples():
    modules = [importlib.import_module(f".{m.name}", __package__) for m in pkgutil.iter_modules(here)]
    for case in [case for module in modules for case in getattr(module, "CASES", [])]:
        handlers = {}
        for version in case.versions():
            one = Sample(case.operator, list(case.inputs), dict(case.attributes), version, outputs=case.outputs)
            handlers[id(one.op)] = one
        for one in handlers.values():
            if one.op.is_delegated:
                continue
            try:
                one.steps()
            except UnsupportedError:  # which runs by itself
                continue
            yield one
    for axes in ([2, 3], [-1, -2], [3]):
        for keepdims in (0, 1):
            yield Sample("ReduceMean", [real(2, 3, 4, 5)], {"axes": axes, "keepdims": keepdims})
            yield Sample("ReduceMean", [real(2, 3, 4, 5), i64(*axes)], {"keepdims": keepdims}, 18)
        yield Sample("Squeeze", [real(2, 3, 1, 1)], {"axes": axes}, 11)
        yield Sample("Squeeze", [real(2, 3, 1, 1), i64(*axes)])
    yield Sample("Logistic", [real(3, 4)], {"alpha": -2.0}, 1, "qengine")
    yield Sample("ScaleShift", [real(2, 3, 4), real(3), real(3, seed=1)], {}, 1, "qengine")


SAMPLES = list(samples())


def for_samples(is_so):
    """Make a test of one sample a test of each operator, on all samples of it that are so."""
    found = {}
    for sample in SAMPLES:
        if is_so(sample):
            found.setdefault(sample.operator, []).append(sample)

    def decorate(check):
        @pytest.mark.parametrize("operator", found)
        def test(operator):
            for sample in found[operator]:
                check(sample)

        return test

    return decorate


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
    assert declared <= {one.operator for one in SAMPLES}


def is_real(sample):
    return sample.arrays[0].dtype.kind == "f" and all(array.size for array in sample.arrays if array is not None)


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
    fixed = {"count_include_pad": 1} if "count_include_pad" in sample.op.attributes else {}
    attributes = {k: v for k, v in sample.attributes.items() if k != "ceil_mode"} | fixed
    own = Sample(sample.operator, sample.arrays, {**attributes, "pads": pads}, sample.version)
    widths = [(0, 0), (0, 0), *zip(pads[:spatial], pads[spatial:], strict=True)]
    wide = np.pad(sample.arrays[0], widths, constant_values=sample.op.facts.padding_value)
    bare = {**attributes, "pads": [0] * 2 * spatial}
    other = Sample(sample.operator, [wide, *sample.arrays[1:]], bare, sample.version)
    np.testing.assert_allclose(own.run({})[0], other.run({})[0], rtol=1e-5, atol=1e-6)


def linear_step(sample):
    (step,) = sample.steps()
    return step if isinstance(step, Linear) else None


LINEAR = for_samples(lambda one: one.op.facts.filters is not None and is_real(one))


@LINEAR
def test_blocks_are_the_filters_over_what_they_read(sample):
    step, filters, x, w = linear_step(sample), sample.op.facts.filters, *sample.arrays[:2]
    groups = filters.groups(sample.node, w.shape)
    if step is None or not groups:
        assert sample.operator in ("Gemm", "MatMul")
        return
    blocks = filters.blocks(sample.node, w, groups)
    np.testing.assert_array_equal(filters.from_blocks(sample.node, blocks, w.shape), w)
    outputs = blocks.shape[0] * blocks.shape[1]
    axis = filters.channel_axis(sample.node, w.ndim)
    assert w.shape[axis] * (groups if isinstance(filters, TransposedConvFilters) else 1) == outputs
    assert isinstance(step.product, LinearForm)
    patches = np.concatenate(list(step.product.patches(x, w.shape, groups)), axis=1)
    wanted = np.einsum("gpi,goi->pgo", patches, blocks.reshape(*blocks.shape[:2], -1).astype(np.float64))
    y = np.asarray(step.product(x.astype(np.float64), w.astype(np.float64)))
    channel = 1 if filters.channels is Channels.IMAGE else y.ndim - 1
    rows = np.moveaxis(y, channel, -1).reshape(-1, outputs)
    np.testing.assert_allclose(wanted.reshape(-1, outputs), rows, rtol=1e-4, atol=1e-4)


@LINEAR
def test_macs(sample):
    """Ones times ones sum to the number of products, with ones for the padding and nothing cut off."""
    step, filters = linear_step(sample), sample.op.facts.filters
    x, w = np.ones_like(sample.arrays[0], np.float64), np.ones_like(sample.arrays[1], np.float64)
    product, spatial = None if step is None else step.product, x.ndim - 2
    if isinstance(filters, ConvFilters):
        if isinstance(filters, TransposedConvFilters):
            parts = (product.strides, product.dilations, ((0, 0),) * spatial, (0,) * spatial, product.group)
        else:
            parts = (product.strides, product.dilations, ((0, 0),) * spatial, product.group)
            x = np.pad(x, [(0, 0), (0, 0), *product.pads], constant_values=1.0)
        count = type(product)(*parts)(x, w).sum()
    elif isinstance(filters, ScaleFilters):
        count = product(x, w).sum()
    else:
        a = x.T if sample.attributes.get("transA") else x
        count = np.matmul(a, w.T if sample.attributes.get("transB") else w).sum()
    (y,) = sample.steps()
    assert filters.macs(sample.node, sample.arrays[0].shape, w.shape, y.shape) == count


def test_macs_of_weights_of_unknown_shape():
    assert find(Node("MatMul", (), ())).facts.filters.macs(Node("MatMul", (), ()), (4, 3), None, (4, 6)) == 72
    for name in ("Conv", "ConvTranspose"):
        assert find(Node(name, (), ())).facts.filters.macs(Node(name, (), ()), (1, 3, 4, 4), None, (1, 2, 4, 4)) is None


def test_the_stride_of_inputs():
    """Where kernel and stride are equal, one tap of a transposed convolution meets each output."""
    x, w = np.ones((1, 3, 4, 4), np.float32), np.ones((3, 2, 2, 3), np.float32)
    sample = Sample("ConvTranspose", [x, w], {"strides": (2, 3)})
    filters = sample.op.facts.filters
    stride = filters.input_stride(sample.node)
    assert stride == 6
    (y,) = sample.run({})
    np.testing.assert_array_equal(y, np.full(y.shape, 3 * 2 * 3 / stride))
    assert find(Node("Conv", (), ())).facts.filters.input_stride(Node("Conv", (), (), {"strides": (2, 2)})) == 1


def test_operators_with_a_bias():
    with_bias = {key for key, found in versions().items() if found[0].takes_bias}
    assert with_bias == {("", "Conv"), ("", "ConvTranspose"), ("", "Gemm"), ("qengine", "ScaleShift")}


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
    assert set(find(pad).facts.numbers.values()) == {Number.FILL}


def test_a_number_must_be_an_input_or_attribute():
    def handler(x: Tensor, low: Known) -> Move:
        return Move(x, lambda v: v, x.shape)

    with pytest.raises(ValueError, match="Own since 1 has no input or attribute high"):
        operator("Own", domain="test", elements=ANY, numbers={"low": Number.BOUND, "high": Number.BOUND})(handler)
    assert ("test", "Own") not in versions()


@pytest.fixture
def declared():
    """Return a name under which an operator may be declared for one test."""
    yield "Own"
    versions().pop(("test", "Own"), None)


class RowFilters(MatrixFilters):
    """Weights (outputs, inputs) of an operator that has no attributes."""

    def _is_transposed(self, node):
        return True


@pytest.fixture
def linear_operator():
    """Declare a linear operator of ONNX for one test, and return its name."""

    @operator("Dense", filters=RowFilters())
    def dense(x: Tensor, w: Weights, b: Bias | None = None) -> Linear:
        shape = (x.shape[0], w.shape[0])
        return Linear(x, w, b, MatrixProduct(transposed_w=True), shape, (1,), 1, () if b is None else b.shape)

    yield "Dense"
    versions().pop(("", "Dense"))


def test_a_linear_operator_needs_its_declaration_alone(linear_operator):
    """Passes, formats for each channel, counts and all corrections take it as they take Gemm."""
    constants = {
        "w": real(6, 5) * np.exp2(np.arange(-3.0, 3.0, dtype=np.float32))[:, None],
        "v": real(4, 6, seed=1),
        "c": real(4),
        **{name: np.abs(real(6, seed=i)) + 0.5 for i, name in enumerate(["scale", "shift", "mean", "var"])},
    }
    nodes = (
        Node(linear_operator, ("x", "w"), ("a",)),
        Node("BatchNormalization", ("a", "scale", "shift", "mean", "var"), ("n",), version=15),
        Node("Relu", ("n",), ("r",), version=14),
        Node(linear_operator, ("r", "v", "c"), ("y",)),
    )
    x, y = (Value(name, np.dtype(np.float32), shape) for name, shape in (("x", (7, 5)), ("y", (7, 4))))
    graph = Graph("dense", (x,), (y,), nodes, constants)
    feeds = {"x": real(7, 5, seed=2)}
    (wanted,) = InferenceSession(graph).run(None, feeds)

    after = folded(graph)
    assert [node.operator for node in after.nodes] == [linear_operator, "Relu", linear_operator]
    np.testing.assert_allclose(InferenceSession(after).run(None, feeds)[0], wanted, rtol=1e-4, atol=1e-4)
    assert multiply_accumulates(nodes[0], {"x": (7, 5), "w": (6, 5), "a": (7, 6)}) == 7 * 5 * 6
    equal = equalize(graph)
    assert [entry.is_done for entry in equal.entries] == [True, False]
    np.testing.assert_allclose(InferenceSession(equal.graph).run(None, feeds)[0], wanted, rtol=1e-4, atol=1e-4)
    formats = {"x": "Q3.12", "n": "Q6.9", "r": "Q6.9", "y": "Q9.6"}
    session = InferenceSession(after, formats=formats, per_channel=True, isa="reference")
    assert (session.formats["w"].axis, len(session.formats["w"].formats)) == (0, 6)
    for correct in (round_weights, correct_bias):
        found = correct(graph, {**formats, "w": "Q3.4", "v": "Q2.5"}, [feeds])
        assert [entry.is_done for entry in found.entries] == [True, True]


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
