"""Declarations: what handlers say they take is what ONNX's schemas say, and what else is given is refused."""

import importlib
import pkgutil
import types
from typing import Annotated, Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.defs import OpSchema

from qengine.errors import ModelError, UnsupportedError
from qengine.model.graph import Graph, Node
from qengine.model.ops.binding import _is_a, make_steps
from qengine.model.ops.operator import ANY, Known, find, operator, versions
from qengine.model.ops.signature import NEVER, _unmarked
from qengine.model.ops.support_check import check_supported
from qengine.model.schemas import is_defined
from qengine.model.steps import Island, Tensor

from . import __path__ as here
from .cases import NEWEST, OLDEST, handler, schemas

STANDARD = sorted(name for domain, name in versions() if domain == "")
KINDS = {
    OpSchema.AttrType.INT: int,
    OpSchema.AttrType.FLOAT: float,
    OpSchema.AttrType.STRING: str,
    OpSchema.AttrType.INTS: tuple[int, ...],
    OpSchema.AttrType.FLOATS: tuple[float, ...],
}
# Required once and optional since; taken as optional throughout.
LENIENT = {("Gemm", "c"), ("Resize", "roi"), ("Resize", "scales")}


def all_cases():
    modules = [importlib.import_module(f".{m.name}", __package__) for m in pkgutil.iter_modules(here)]
    return [case for module in modules for case in getattr(module, "CASES", [])]


def test_every_handler_has_a_reference_case():
    tested = {id(handler(case.operator, version)) for case in all_cases() for version in case.versions()}
    reachable = [
        one
        for name in STANDARD
        for one in versions()["", name]
        if any(handler_or_none(name, v) is one for v in range(OLDEST, NEWEST + 1))
    ]
    assert [f"{one.name} since {one.since}" for one in reachable if id(one) not in tested] == []
    assert len(reachable) > 100


def handler_or_none(name, version):
    try:
        return handler(name, version)
    except UnsupportedError:
        return None


@pytest.mark.parametrize("name", STANDARD)
def test_signatures_are_those_of_the_schemas(name):
    for version, schema in schemas(name):
        found = handler_or_none(name, version)
        if found is None:
            continue
        what = f"{name} at opset {version}"
        given = {key: p for key, p in found.attributes.items() if p.serves(version)}
        assert set(given) == set(schema.attributes), what
        for key, attribute in schema.attributes.items():
            assert given[key].required == attribute.required, f"{what}: {key}"
            if attribute.type in KINDS:
                assert given[key].element == KINDS[attribute.type], f"{what}: {key}"
            default = onnx.helper.get_attribute_value(attribute.default_value) if has_default(attribute) else None
            default = default.decode() if isinstance(default, bytes) else default
            default = tuple(default) if isinstance(default, list) else default
            if default is not None:
                assert given[key].default == default, f"{what}: {key}"
        inputs = [p for p in found.parameters if p.serves(version)]
        assert len(inputs) == len(schema.inputs), what
        for parameter, formal in zip(inputs, schema.inputs, strict=True):
            option = OpSchema.FormalParameterOption
            assert parameter.variadic == (formal.option == option.Variadic), what
            if (name, parameter.name) not in LENIENT:
                assert (parameter.required or parameter.variadic) == (formal.option != option.Optional), what


def has_default(attribute):
    return attribute.default_value.type != onnx.AttributeProto.UNDEFINED


def test_opsets_without_the_operator():
    for name, version in (("Upsample", 10), ("HardSwish", 13), ("Mish", 17), ("Gelu", 19), ("Swish", 23)):
        assert handler(name, version).is_delegated
        assert not is_defined(Node(name, (), (), version=version))


def x(name, kind=np.float32, value=None):
    return Tensor(name, np.dtype(kind), (1, 4, 6, 6) if value is None else value.shape, value)


def steps(op, inputs, outputs=("y",), version=17, **attributes):
    tensors = {t.name: t for t in inputs if t is not None}
    names = tuple("" if t is None else t.name for t in inputs)
    return make_steps(Node(op, names, outputs, attributes, "the_node", "", version), tensors.__getitem__)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: steps("Relu", [x("a")], alpha=1.0), "attribute 'alpha' does not exist at opset 17; there are none"),
        (lambda: steps("Shape", [x("a")], version=14, start=1), "attribute 'start' does not exist at opset 14"),
        (lambda: steps("LeakyRelu", [x("a")], alpha=1), "attribute 'alpha' has the wrong type: 1"),
        (lambda: steps("Flatten", [x("a")], axis=1.0), "attribute 'axis' has the wrong type"),
        (lambda: steps("MaxPool", [x("a")]), "attribute 'kernel_shape' is missing"),
        (lambda: steps("MaxPool", [x("a")], kernel_shape=(2, 2.0)), "'kernel_shape' has the wrong type"),
        (lambda: steps("Relu", []), "input 'x' is missing"),
        (lambda: steps("Conv", [x("a"), None]), "input 'w' is missing"),
        (lambda: steps("Relu", [x("a"), x("b")]), "takes at most 1 inputs at opset 17, 2 given"),
        (
            lambda: steps("Pad", [x("a"), x("p", value=np.zeros(8, np.int64)), None, x("c")]),
            "takes at most 3 inputs at opset 17, 4",
        ),
        (lambda: steps("Sigmoid", [x("a", np.int64)]), "'a' is int64; floating-point elements are needed"),
        (lambda: steps("Add", [x("a"), x("b", np.float64)]), r"'a' \(float32\) and 'b' \(float64\) differ in type"),
        (lambda: steps("Not", [x("a")]), "'a' is float32; boolean elements are needed"),
        (lambda: steps("Reshape", [x("a"), x("s", np.int64)]), r"input 'shape' \('s'\) depends on the data"),
        (lambda: steps("Relu", [x("a")], ("y", "z")), r"gives 1 output\(s\), the model needs 2"),
        (lambda: steps("Add", [x("a"), x("b", value=np.zeros((5, 1), np.float32))]), "broadcast"),
    ],
)
def test_what_a_node_may_not_give(call, reason):
    with pytest.raises((ModelError, UnsupportedError), match=rf"node 'the_node' \(\w+\): .*{reason}"):
        call()


def test_all_that_is_missing_is_named_at_once():
    nodes = [
        Node(op, (), (), {}, "", domain, 17) for op, domain in (("Foo", ""), ("Relu", ""), ("Bar", "my"), ("Foo", ""))
    ]
    graph = Graph("g", (), (), tuple(nodes), {})
    listed = r"operators not supported: Foo-17 \(x2\), my.Bar-17; register them first, as .*\"Bar\", domain=\"my\""
    with pytest.raises(UnsupportedError, match=listed):
        check_supported(graph, lambda _: False)
    with pytest.raises(UnsupportedError, match=r"operator not supported: Foo-17 \(x2\); replace them before"):
        check_supported(Graph("g", (), (), (nodes[0], nodes[3]), {}), lambda _: False)
    check_supported(graph, lambda _: True)
    check_supported(Graph("g", (), (), (nodes[1],), {}), lambda _: False)


@pytest.fixture
def declared():
    """Return a name under which an operator may be declared for one test."""
    yield "Own"
    versions().pop(("test", "Own"), None)


def test_the_newest_version_that_the_opset_reaches(declared):
    def first(a: Tensor) -> Island:
        return Island((a,), np.negative, a.shape, a.dtype)

    def third(a: Tensor, n: Known, *, k: int = 2) -> Island:
        return Island((a,), lambda v: v * n * k, a.shape, a.dtype)

    operator(declared, domain="test", elements=ANY)(first)
    operator(declared, domain="test", since=3, until=5, elements=ANY)(third)
    with pytest.raises(ValueError, match="Own since 3 is declared twice"):
        operator(declared, domain="test", since=3)(third)
    served = {v: find(Node(declared, (), (), {}, "", "test", v)).handler for v in (1, 2, 3, 4)}
    assert served == {1: first, 2: first, 3: third, 4: third}
    assert find(Node(declared, (), (), {}, "", "test", 5)).is_delegated
    assert NEVER > 10**6


def test_a_handler_gets_values_and_defaults(declared):
    def scaled(a: Tensor, n: Known, *, k: int = 2) -> Island:
        return Island((a,), lambda v: v * n * k, a.shape, a.dtype)

    operator(declared, domain="test")(scaled)
    tensors = {"a": x("a"), "n": x("n", value=np.float32([3]))}
    for attributes, factor in (({}, 6), ({"k": 5}, 15)):
        (step,) = make_steps(Node(declared, ("a", "n"), ("y",), attributes, "", "test", 1), tensors.__getitem__)
        assert step.float32()(np.float32([2]))[0] == 2 * factor


class _Alias:
    """Stand-in of a generic alias that was declared with `type`, as NumPy's NDArray is from Python 3.12 on."""

    __value__ = NDArray[Any]


@pytest.mark.parametrize("hint", [NDArray[Any], types.GenericAlias(_Alias, (int,)), Annotated[NDArray[Any], 1]])
def test_an_attribute_may_be_an_array_however_numpy_declares_it(hint):
    element = _unmarked(hint)
    assert _is_a(np.zeros(2), element)
    assert not _is_a((1, 2), element)
