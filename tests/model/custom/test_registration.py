"""Registration of operators: accepted and refused functions, and second registrations."""

import re

import numpy as np
import pytest
from networks import network

import qengine
from qengine import InferenceSession, register_operator
from qengine.errors import OptionError

ONE = network([("my.domain.Own", "x", "y")], inputs={"x": [2]})
X = np.float32([1, 2])


def run():
    return InferenceSession(ONE).run(None, {"x": X})[0].tolist()


def test_the_operator_can_be_called():
    @register_operator("Own", domain="my.domain")
    def own(x, *, factor=3):
        """Return three times x."""
        return x * factor

    assert own(X).tolist() == [3, 6]
    assert own(X, factor=2).tolist() == [2, 4]
    assert (own.__name__, own.__doc__) == ("own", "Return three times x.")
    assert repr(own) == "<operator my.domain.Own since 1>"
    assert run() == [3, 6]


def test_the_same_function_again_replaces_itself():
    """A cell of a notebook that is run again registers its function again."""
    cell = (
        "import qengine\n@qengine.register_operator('Own', domain='my.domain')\ndef own(x):\n    return x * FACTOR\n"
        "@own.fixed_point\ndef _(x):\n    return x.codes * FACTOR, x.fraction_bits"
    )
    for factor in (2, 3):
        exec(cell.replace("FACTOR", str(factor)), {"__name__": "__main__"})
        assert run() == [factor, 2 * factor]
        (y,) = InferenceSession(ONE, qformat="Q4.3", strict=True).run(None, {"x": X})
        assert y.tolist() == [factor, 2 * factor]


def test_another_function_replaces_only_on_request():
    def first(x):
        return x

    def second(x):
        return -x

    register_operator("Own", domain="my.domain")(first)
    message = f"my.domain.Own since 1 is registered already, by {first.__qualname__} of {__name__}; give replace=True"
    with pytest.raises(OptionError, match=re.escape(message)):
        register_operator("Own", domain="my.domain")(second)
    assert run() == [1, 2]
    register_operator("Own", domain="my.domain", since=2)(second)
    register_operator("Own", domain="your.domain")(second)
    assert run() == [1, 2]
    register_operator("Own", domain="my.domain", replace=True)(second)
    assert run() == [-1, -2]


def test_a_replaced_operator_takes_no_rule():
    def function(x):
        return x

    first = register_operator("Own", domain="my.domain")(function)
    register_operator("Own", domain="my.domain")(function)
    with pytest.raises(OptionError, match=r"the rule of my.domain.Own: the operator was registered again"):
        first.fixed_point(lambda x: (x.codes, 0))


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("Own", {"domain": ""}, "domain '' is ONNX's own; register Own in a domain of yours"),
        ("Own", {"domain": "ai.onnx"}, "domain 'ai.onnx' is ONNX's own"),
        ("Own", {"domain": "qengine"}, "domain 'qengine' is qengine's own"),
        ("Own", {"domain": None}, "the domain of an operator is text, not None"),
        ("Scaler", {"domain": "ai.onnx.ml"}, "ai.onnx.ml.Scaler is defined already"),
        ("", {"domain": "d"}, "registered by its name, not ''"),
        (lambda x: x, {"domain": "d"}, r'registered by its name, not <function.*register_operator\("Name", domain='),
        ("Own", {"domain": "d", "since": 0}, "since must be a whole number, 1 or more, not 0"),
        ("Own", {"domain": "d", "since": "1"}, "since must be a whole number, 1 or more, not '1'"),
        ("Own", {"domain": "d", "fixed_point": "island"}, "fixed_point is 'table', 'move' or left out, not 'island'"),
        ("Own", {"domain": "d", "fixed_point": len}, "add a rule with @operator.fixed_point"),
    ],
)
def test_what_cannot_be_registered(name, options, match):
    with pytest.raises(OptionError, match=match):
        register_operator(name, **options)


def test_what_onnx_does_not_define_in_a_domain_that_it_knows():
    register_operator("Own", domain="ai.onnx.ml")(lambda x: x)


@pytest.mark.parametrize(
    ("function", "options", "match"),
    [
        (7, {}, "must be a function, not 7"),
        (lambda x, **rest: x, {}, r"'\*\*rest' names no attributes"),
        (lambda x, y=3: x, {}, "input 'y' has the default 3; an optional input"),
        (max, {}, "has no signature; register a Python function"),
        (lambda x, y: x, {"fixed_point": "table"}, r"needs a function of one input, and this one takes \(x, y\)"),
        (lambda *x: x, {"fixed_point": "table"}, r"takes \(\*...\)"),
        (lambda: 1, {"fixed_point": "move"}, "needs an input to move"),
        (lambda x: x, {"fixed_point": "table", "deterministic": False}, "needs a deterministic function"),
    ],
)
def test_functions_that_cannot_be_registered(function, options, match):
    with pytest.raises(OptionError, match=rf"operator my.domain.Own.*{match}"):
        register_operator("Own", domain="my.domain", **options)(function)


@pytest.mark.parametrize("rule", [lambda x: x, lambda x, y, *, b: x, lambda x, y: x, lambda x, y, z, *, a: x])
def test_a_rule_takes_what_the_function_takes(rule):
    own = register_operator("Own", domain="my.domain")(lambda x, y=None, *, a=1: x)
    with pytest.raises(OptionError, match=r"the rule of my.domain.Own takes \(.*\), and the function \(x, y, \*, a\)"):
        own.fixed_point(rule)


@pytest.mark.parametrize("kind", ["table", "move"])
def test_an_operator_has_one_rule(kind):
    own = register_operator("Own", domain="my.domain", fixed_point=kind)(lambda x: x)
    with pytest.raises(OptionError, match="the operator has a rule already; leave out its fixed_point"):
        own.fixed_point(lambda x: (x.codes, 0))


def test_names_that_exist_for_a_type_checker_alone():
    namespace = {"__name__": "typed", "qengine": qengine}
    exec(
        "from __future__ import annotations\n@qengine.register_operator('Own', domain='my.domain')\n"
        "def own(x: Missing, *, a: float = 1.0) -> Missing:\n    return x * a",
        namespace,
    )
    assert run() == [1, 2]
