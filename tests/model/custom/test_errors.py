"""Errors in a user's function or a model: one line that names the node, with the raised exception as its cause."""

import traceback

import numpy as np
import pytest
from networks import network, weights

from qengine import FixedPoint, InferenceSession, QEngineError, dequantize, register_operator
from qengine.analysis.report import compare
from qengine.errors import FormatError, ModelError, OperatorError, UnsupportedError

X = weights(1, 3, 6, 5, seed=1, scale=1.0)
ONE = network([("my.domain.Own", "x", "y")])
NODE = r"^node 'the_y' \(my.domain.Own\): "


def model(attributes=None, inputs="x", outputs="y"):
    return network([("my.domain.Own", inputs, outputs, attributes or {}), ("Neg", outputs.split()[-1], "z")])


def own(function, **options):
    return register_operator("Own", domain="my.domain", **options)(function)


def refused(error, match, *, model=ONE, **options):
    with pytest.raises(error, match=match) as caught:
        InferenceSession(model, **options).run(None, {"x": X})
    assert "\n" not in str(caught.value)
    return caught.value


def fails(x):
    raise KeyError("no such thing\nand more")


@pytest.mark.parametrize("fixed_point", [None, "table", "move"])
@pytest.mark.parametrize("qformat", [None, "Q3.4"])
def test_what_the_function_raises_is_the_cause(qformat, fixed_point):
    own(fails, fixed_point=fixed_point)
    line = fails.__code__.co_firstlineno + 1
    found = refused(
        OperatorError,
        NODE + rf"its function raised KeyError: 'no such thing\\nand more' \(test_errors.py:{line}\)$",
        qformat=qformat,
    )
    assert type(found.__cause__) is KeyError
    assert traceback.extract_tb(found.__cause__.__traceback__)[-1].name == "fails"


def test_what_a_rule_raises_is_the_cause():
    @own(lambda x: x).fixed_point
    def _(x):
        return x.codes + dequantize([300], x.format) if x.codes.size > 1000 else x.codes / 0 + None, 1

    found = refused(OperatorError, NODE + "its function raised TypeError: unsupported operand", qformat="Q3.4")
    assert type(found.__cause__) is TypeError


def test_an_error_of_qengine_stays_what_it_is():
    own(lambda x: dequantize([300], "Q3.4"))
    refused(FormatError, NODE + r"codes of Q3.4 lie within -128..127; found 300..300")


@pytest.mark.parametrize("qformat", [None, "Q3.4"])
def test_inputs_are_others_too_and_cannot_be_written_to(qformat):
    def function(x):
        x += 1
        return x

    own(function)
    refused(OperatorError, NODE + "its function raised ValueError: .*read-only", qformat=qformat)


@pytest.mark.parametrize("qformat", [None, "Q3.4"])
def test_an_output_is_a_copy_of_what_the_function_keeps(qformat):
    kept = np.zeros(X.shape, np.float32)

    def function(x):
        kept[...] += 1
        return kept

    own(function)
    twice = network([("my.domain.Own", "x", "a"), ("my.domain.Own", "x", "b"), ("Sub", "b a", "y")])
    (y,) = InferenceSession(twice, qformat=qformat).run(None, {"x": X})
    np.testing.assert_array_equal(y, np.ones_like(X))


@pytest.mark.parametrize(
    ("result", "match"),
    [
        (None, "gives None for 'y'; a NumPy array is needed"),
        ("text", "gives a str for 'y'"),
        (X.astype(complex), "gives complex128 for 'y'; real numbers"),
        ((), r"gives 0 output\(s\), the model needs 1"),
        ([[1.0]], "gives a list for 'y'"),
    ],
)
def test_results_that_are_no_outputs(result, match):
    own(lambda x: result)
    refused(OperatorError, NODE + "its function " + match)


def test_fewer_outputs_than_the_model_asks_for():
    own(lambda x: x)
    refused(OperatorError, r"gives 1 output\(s\), the model needs 2", model=model(outputs="a y"))


def test_more_outputs_than_the_model_asks_for_are_dropped():
    own(lambda x: (x, "not looked at"))
    (y,) = InferenceSession(ONE).run(None, {"x": X})
    np.testing.assert_array_equal(y, X, strict=True)


@pytest.mark.parametrize(
    ("declared", "result", "wanted"),
    [(np.float64, np.float32, np.float64), (np.float16, np.float64, np.float16), (np.int8, np.int8, np.int8)],
)
def test_the_type_that_the_model_declares(declared, result, wanted):
    own(lambda x: np.ones(3, result))
    built = network([("my.domain.Own", "x", "y")], values={"y": (declared, [3])})
    (y,) = InferenceSession(built).run(None, {"x": X})
    np.testing.assert_array_equal(y, np.ones(3, wanted), strict=True)


def test_a_rule_gives_numbers_of_the_type_that_the_model_declares():
    own(lambda x: x).fixed_point(lambda x: (x.codes, x.fraction_bits))
    built = network([("my.domain.Own", "x", "y")], values={"y": (np.float64, [1, 3, 6, 5])})
    (y,) = InferenceSession(built, qformat="Q3.4").run(None, {"x": X})
    np.testing.assert_array_equal(y, np.rint(X.astype(np.float64) * 16) / 16, strict=True)


@pytest.mark.parametrize(
    ("declared", "result", "n"),
    [(np.float32, np.int64, None), (np.int32, np.int64, None), (np.int64, np.float32, 4), (np.bool_, np.int64, 4)],
)
def test_a_type_that_the_model_does_not_declare(declared, result, n):
    own(lambda x: np.ones(3, result)).fixed_point(lambda x: (np.ones(3, np.int64), n))
    built = network([("my.domain.Own", "x", "y")], values={"y": (declared, [3])})
    refused(OperatorError, NODE + f"its function gives {np.dtype(result)} for 'y', which the model", model=built)
    refused(OperatorError, NODE + "its rule gives .* for 'y', which the model declares", model=built, qformat="Q3.4")


@pytest.mark.parametrize(
    ("given", "result", "wanted"),
    [
        (np.float32, np.float64, np.float32),
        (np.float16, np.float64, np.float16),
        (np.float16, np.float32, np.float32),
        (np.float64, np.float64, np.float64),
        (np.float32, np.int64, np.int64),
        (np.float32, np.bool_, np.bool_),
        (np.int32, np.float64, np.float64),
    ],
)
def test_the_types_of_results(given, result, wanted):
    own(lambda x: x.astype(result))
    built = network([("my.domain.Own", "x", "y")], inputs={"x": (given, [3])})
    (y,) = InferenceSession(built).run(None, {"x": np.arange(3).astype(given)})
    np.testing.assert_array_equal(y, np.arange(3).astype(result).astype(wanted), strict=True)


@pytest.mark.parametrize(
    ("result", "match"),
    [
        (lambda x: x.codes, "gives an array of int64 for 'y'; exact integers and their number of fraction bits"),
        (lambda x: (x.codes, None), None),  # integers that are not quantized
        (lambda x: (x.codes / 2, None), "gives float64 without fraction bits for 'y'"),
        (lambda x: x.codes / 2, "gives an array of float64 for 'y'; exact integers and their number of fraction bits"),
        (lambda x: (x.codes / 2, 4), "gives float64 for 'y'; exact integers"),
        (lambda x: (x.codes.astype(object), 4), r"gives object for 'y'; exact integers \(int64\)"),
        (lambda x: (x.codes > 0, 4), "gives bool for 'y'"),
        (lambda x: (x.codes, 4.0), "gives an array of int64 for 'y'"),
        (lambda x: x, "gives a FixedPoint for 'y'"),
        (lambda x: None, "gives None for 'y'"),
        (lambda x: (x.codes, 5000), "gives 5000 fraction bits for 'y'; at most 1000"),
        (lambda x: (x.codes * 0 + (1 << 60) + 1, 4), r"gives integers beyond 2\^60 for 'y'"),
        (lambda x: (x.codes * 0 + np.int64(-1 << 63), 4), r"gives integers beyond 2\^60 for 'y'"),
        (lambda x: (x.codes * 0 + (1 << 60), 64), None),
    ],
)
def test_what_a_rule_gives(result, match):
    own(lambda x: x).fixed_point(lambda x: result(x))
    if match is None:
        InferenceSession(ONE, qformat="Q3.4").run(None, {"x": X})
    else:
        refused(OperatorError, NODE + "its rule " + match, qformat="Q3.4")


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda x: x * 0.5, "returns float64 for codes; fixed_point='move' is for functions that only move"),
        (lambda x: x * 20, r"returns -\d+..\d+ for codes of Q3.4"),
        (lambda x: x > 0, "returns bool for codes"),
    ],
)
def test_a_move_that_computes(function, match):
    own(function, fixed_point="move")
    InferenceSession(ONE).run(None, {"x": X})
    refused(OperatorError, NODE + "its function " + match, qformat="Q3.4")


def test_a_move_of_two_tensors_in_fixed_point():
    own(lambda x, y: np.maximum(x, y), fixed_point="move")
    built = network([("my.domain.Own", "x c", "y")], constants={"c": np.float32(0.5)})
    InferenceSession(built).run(None, {"x": X})
    refused(OperatorError, NODE + "moves the codes of its first input", model=built, qformat="Q3.4")


@pytest.mark.parametrize("function", [lambda x: x.sum(), lambda x: x[None], lambda x: x * 1j, lambda x: "text"])
def test_a_table_of_what_is_not_element_by_element(function):
    own(function, fixed_point="table")
    refused(
        OperatorError, NODE + "its function returns .* fixed_point='table' needs a function of real", qformat="Q3.4"
    )
    refused(OperatorError, NODE + "its function returns .* fixed_point='table' needs a function of real")


@pytest.mark.parametrize("qformat", [None, "Q3.4"])
def test_a_table_of_what_looks_at_other_elements(qformat):
    own(lambda x: np.exp(x) / np.exp(x).sum(), fixed_point="table")
    refused(OperatorError, NODE + "the result of its function for an element depends on other", qformat=qformat)


def test_where_a_table_is_undefined_it_is_0_and_counted():
    own(lambda x: np.log(x), fixed_point="table")
    session = InferenceSession(ONE, qformat="Q3.4")
    found = compare(session, InferenceSession(ONE), {"x": -np.abs(X) - 1})
    assert not found.codes["y"].any()
    assert [t.saturated for t in found.tensors] == [0, X.size]


@pytest.mark.parametrize(
    ("attributes", "match"),
    [
        ({"facto": 1.0}, "attribute 'facto' is unknown to its function, which takes factor, n, flag, mode; did"),
        ({"n": 1}, "attribute 'factor' is missing, and its function has no default"),
        ({"factor": "2"}, "attribute 'factor' is '2', and its function takes a number"),
        ({"factor": 1.0, "n": 1.5}, "attribute 'n' is 1.5, and its function takes an integer"),
        ({"factor": 1.0, "flag": 2}, "attribute 'flag' is 2, and its function takes 0 or 1"),
        ({"factor": 1.0, "mode": 2}, "attribute 'mode' is 2, and its function takes text"),
    ],
)
@pytest.mark.parametrize("fixed_point", [None, "table", "move"])
def test_attributes_that_do_not_fit_are_refused_before_a_run(attributes, match, fixed_point):
    def function(x, *, factor: float, n: int | None = None, flag: bool = False, mode: str = "a"):
        raise AssertionError("not called")

    own(function, fixed_point=fixed_point)
    with pytest.raises(ModelError, match=NODE + match):
        InferenceSession(model(attributes))


def test_an_attribute_of_a_table_that_is_left_out():
    def function(x, *, limit: float | None = None):
        assert limit is None
        return x + 1

    own(function, fixed_point="table")
    np.testing.assert_array_equal(InferenceSession(ONE).run(None, {"x": X})[0], (X.astype(np.float64) + 1).astype("f4"))


def test_attributes_that_fit():
    seen = []

    def function(x, *, factor: float, n: "int | None" = None, flag: bool = False, ints=None, table=None, mode="a"):
        seen.append((factor, type(factor), n, flag, ints, table, mode))
        return x

    own(function)
    InferenceSession(model({"factor": 2})).run(None, {"x": X})
    given = {"factor": 0.5, "n": 3, "flag": 1, "ints": [1, 2], "table": np.float32([4]), "mode": "b"}
    InferenceSession(model(given)).run(None, {"x": X})
    assert seen == [(2.0, float, None, False, None, None, "a"), (0.5, float, 3, True, (1, 2), np.float32([4]), "b")]


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ("x x x", r"takes at most 2 inputs \(x, y\), 3 given"),
        ("- x", "input 'x' is missing"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_a_run(inputs, match):
    own(lambda x, y=None: x)
    with pytest.raises(ModelError, match=NODE + match):
        InferenceSession(model(inputs=inputs))


def test_any_number_of_inputs():
    @own
    def total(*xs, sign: int = 1):
        return sign * sum(xs)

    @total.fixed_point
    def _(*xs, sign):
        assert all(isinstance(x, FixedPoint) for x in xs)
        return sign * sum(x.codes for x in xs), xs[0].fraction_bits

    built = network([("my.domain.Own", "x x x", "y", {"sign": -1})])
    np.testing.assert_array_equal(InferenceSession(built).run(None, {"x": X})[0], -(X + X + X))
    codes = InferenceSession(built, qformat="Q8.4").run(["x", "y"], {"x": X}, raw=True)
    np.testing.assert_array_equal(codes[1], -3 * codes[0], strict=True)


def test_a_sequence_is_no_tensor():
    own(lambda x: x)
    built = network([("SequenceConstruct", "x x", "s"), ("my.domain.Own", "s", "y")])
    refused(OperatorError, NODE + "is given a sequence", model=built)


def test_a_graph_is_no_attribute():
    from onnx import helper

    own(lambda x, *, body=None: x)
    graph = helper.make_graph(
        [helper.make_node("Neg", ["q"], ["r"])], "b", [helper.make_empty_tensor_value_info("q")],
        [helper.make_empty_tensor_value_info("r")],
    )  # fmt: skip
    with pytest.raises(UnsupportedError, match=NODE + "attribute 'body' is a graph or a type"):
        InferenceSession(model({"body": graph}))


def test_an_operator_that_is_not_registered_says_how_to():
    with pytest.raises(UnsupportedError) as caught:
        InferenceSession(ONE)
    assert str(caught.value) == (
        "operator not supported: my.domain.Own-1; register them first, as "
        '@qengine.register_operator("Own", domain="my.domain"), on the command line in a file for --operators'
    )
    import qengine

    told = str(caught.value).partition("@")[2].partition(", on the")[0]
    namespace = {"qengine": qengine}
    exec(f"@{told}\ndef own(x):\n    return -x", namespace)
    np.testing.assert_array_equal(InferenceSession(ONE).run(None, {"x": X})[0], -X)


def test_an_operator_that_is_registered_since_a_later_opset():
    own(lambda x: x, since=3)
    with pytest.raises(UnsupportedError, match="Own-1; Own is registered since 3: register it with since=1 for"):
        InferenceSession(ONE)


def test_every_error_is_one_of_ours():
    assert issubclass(OperatorError, QEngineError)
