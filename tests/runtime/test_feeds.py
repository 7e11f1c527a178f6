import numpy as np
import pytest

from qengine.errors import FeedError
from qengine.model.graph import Graph, Value
from qengine.runtime.feeds import Argument, check_feeds

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def graph(*inputs, overridable=()):
    return Graph("g", inputs, (), (), {}, overridable=overridable)


def value(dtype=np.float32, shape=None, name="x"):
    return Value(name, None if dtype is None else np.dtype(dtype), shape)


def fed(declared, feed):
    return check_feeds(graph(declared), {"x": feed})["x"]


@pytest.mark.parametrize(
    ("declared", "shape", "kind"),
    [
        (value(np.float32, (1, "N", None)), [1, "N", None], "tensor(float)"),
        (value(np.float64, ()), [], "tensor(double)"),
        (value(np.float16), None, "tensor(float16)"),
        (value(np.int64, (3,)), [3], "tensor(int64)"),
        (value(bool, (3,)), [3], "tensor(bool)"),
        (value(None, (3,)), [3], "tensor(unknown)"),
    ],
)
def test_an_argument_is_described(declared, shape, kind):
    assert Argument.of(declared) == Argument("x", shape, kind)


def test_feeds_come_back_by_name_in_their_own_order():
    declared = graph(value(name="x"), value(np.int64, name="z"), overridable=(value(name="w"),))
    z, w = np.arange(3), np.ones(4, np.float32)
    found = check_feeds(declared, {"w": w, "z": z, "x": X})
    assert list(found) == ["w", "z", "x"]
    assert [found[name] is array for name, array in (("w", w), ("z", z), ("x", X))] == [True] * 3
    assert set(check_feeds(declared, {"x": X, "z": z})) == {"x", "z"}


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "u4", "i8"])
def test_arrays_come_in_the_machines_byte_order(dtype):
    for order in "<>":
        found = fed(value(dtype), X.astype(np.dtype(dtype).newbyteorder(order)))
        np.testing.assert_array_equal(found, X.astype(dtype), strict=True)
        assert found.dtype.isnative


@pytest.mark.parametrize("shape", [None, (2, 3), ("N", "M"), (None, 3), (2, "N"), ("N", "N")])
def test_shapes_that_fit(shape):
    np.testing.assert_array_equal(fed(value(shape=shape), X), X)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4), r"needs shape \[2, 4\], not \[2, 3\]$"),
        ((3, 2), r"needs shape \[3, 2\], not \[2, 3\]$"),
        (("N", 4), r"needs shape \[N, 4\], not \[2, 3\]$"),
        ((None, 0), r"needs shape \[\?, 0\], not \[2, 3\]$"),
        ((6,), r"needs 1 axes \[6\], not 2: \[2, 3\]$"),
        ((1, None, "C"), r"needs 3 axes \[1, \?, C\], not 2: \[2, 3\]$"),
        ((), r"needs 0 axes \[\], not 2: \[2, 3\]$"),
    ],
)
def test_shapes_that_do_not_fit(shape, message):
    with pytest.raises(FeedError, match=f"^input 'x' {message}"):
        fed(value(shape=shape), X)


def test_an_open_type_takes_anything():
    for feed in (X, X.astype(np.int8), X > 2, X.astype(">f8")):
        assert fed(value(None), feed).dtype == feed.dtype.newbyteorder("=")


@pytest.mark.parametrize(
    ("dtype", "feed", "wanted"),
    [
        (np.float32, [[1, 2.5], [True, -3]], [[1, 2.5], [1, -3]]),
        (np.float32, 0.1, np.float32(0.1)),
        (np.float16, (1e6, -1e6), [np.inf, -np.inf]),
        (np.float64, [2**53 + 1], [2.0**53]),
        (np.int8, [127, -128], [127, -128]),
        (np.uint64, [2**64 - 1], [2**64 - 1]),
        (np.int64, [True, False], [1, 0]),
        (bool, [True], [True]),
        (np.int64, [], []),
        (bool, [], []),
    ],
)
def test_numbers_and_lists_become_arrays(dtype, feed, wanted):
    np.testing.assert_array_equal(fed(value(dtype), feed), np.array(wanted, dtype), strict=True)


@pytest.mark.parametrize(
    ("dtype", "feed"),
    [
        (np.float32, X.astype(np.float64)),
        (np.float32, X.astype(np.float16)),
        (np.float32, X.astype(np.int64)),
        (np.float64, X),
        (np.int64, X.astype(np.int32)),
        (np.int64, np.zeros(0, np.float32)),
        (np.float32, np.float64(1)),
        (np.uint8, X > 2),
    ],
)
def test_arrays_are_never_converted(dtype, feed):
    with pytest.raises(
        FeedError, match=f"^input 'x' needs dtype {np.dtype(dtype)}, not {feed.dtype}: convert it with .astype\\('"
    ):
        fed(value(dtype), feed)


@pytest.mark.parametrize(
    ("dtype", "feed", "message"),
    [
        (np.int64, [1.0], "needs dtype int64, not float64: convert it with .astype.'int64'."),
        (bool, [0, 1], "needs dtype bool, not int64: convert it with .astype.'bool'."),
        (bool, 1.0, "needs dtype bool, not float64: convert it with .astype.'bool'."),
        (np.uint8, [256], "needs an array of uint8, not list"),
        (np.int8, (-129,), "needs an array of int8, not tuple"),
        (np.float32, "1", "needs dtype float32, not <U1"),
        (np.float32, [1j], "needs dtype float32, not complex128"),
        (np.float32, None, "needs dtype float32, not object"),
        (np.float32, [[1.0], [1.0, 2.0]], "needs an array of float32, not list"),
        (np.float32, {"a": 1}, "needs dtype float32, not object"),
    ],
)
def test_numbers_that_would_lose_something_or_are_none(dtype, feed, message):
    with pytest.raises(FeedError, match=f"^input 'x' {message}$"):
        fed(value(dtype), feed)


TWO = graph(value(), value(name="z"), overridable=(value(name="w"),))


@pytest.mark.parametrize(
    ("declared", "feeds", "message"),
    [
        (TWO, {}, r"no feed for input 'x' \(float32\), 'z' \(float32\)"),
        (TWO, {"x": X, "w": X}, r"no feed for input 'z' \(float32\)"),
        (TWO, {"x": X, "z": X, "y": X}, "the model has no input 'y'; its inputs are 'x', 'z'"),
        (TWO, {"X": X}, r"the model has no input 'X'; did you mean 'x'\?; its inputs are 'x', 'z'"),
        (TWO, {1: X}, "the model has no input '1'; its inputs are 'x', 'z'"),
        (graph(), {"x": X}, "the model has no input 'x'; its inputs are none"),
        (TWO, X, "feeds must be a mapping of input names to arrays, not ndarray"),
        (TWO, [("x", X)], "feeds must be a mapping of input names to arrays, not list"),
        (TWO, None, "feeds must be a mapping of input names to arrays, not NoneType"),
    ],
)
def test_feeds_of_other_names(declared, feeds, message):
    with pytest.raises(FeedError, match=f"^{message}$"):
        check_feeds(declared, feeds)


def test_nothing_is_asked_for_and_nothing_given():
    assert check_feeds(graph(), {}) == {}


@pytest.mark.parametrize(
    ("kind", "feed", "expected"),
    [
        ("map(int64,tensor(float))", {np.int32(1): 2}, {1: np.float32(2)}),
        ("map(string,tensor(double))", {"a": np.float32(0.5)}, {"a": np.float64(0.5)}),
        ("map(string,tensor(int64))", {"a": 2**62}, {"a": np.int64(2**62)}),
        ("map(int64,tensor(string))", {1: "b"}, {1: "b"}),
        ("optional(map(int64,tensor(float)))", None, None),
        ("seq(map(int64,tensor(float)))", [{1: 2.0}, {}], [{1: np.float32(2)}, {}]),
    ],
)
def test_maps(kind, feed, expected):
    found = fed(Value("x", container=kind), feed)
    assert found == expected
    if isinstance(found, dict):
        assert [type(one) for one in found.values()] == [type(one) for one in expected.values()]


@pytest.mark.parametrize(
    ("kind", "feed", "reason"),
    [
        ("map(int64,tensor(float))", [1.0], r"needs a dict \(map\(int64,tensor\(float\)\)\), not list"),
        ("map(int64,tensor(float))", {"a": 1.0}, "keys and values of"),
        ("map(int64,tensor(float))", {1: "a"}, "keys and values of"),
        ("map(string,tensor(int64))", {"a": 1.5}, "keys and values of"),
        ("map(string,tensor(int64))", {"a": 2**70}, "outside map"),
        ("map(string,tensor(bool))", {"a": True}, "cannot be fed"),
        ("seq(map(int64,tensor(float)))", {1: 2.0}, "needs a list of dicts"),
        ("seq(tensor(float))", [X, X.astype(np.float64)], r"'x'\[1\] needs dtype float32, not float64"),
        ("optional(tensor(float))", X.astype(np.int64), "needs dtype float32, not int64"),
    ],
)
def test_what_is_not_of_the_declared_type_is_refused(kind, feed, reason):
    with pytest.raises(FeedError, match=reason):
        fed(Value("x", container=kind), feed)


def test_a_sequence_has_its_declared_type_also_where_it_is_empty():
    assert fed(Value("x", container="seq(tensor(int64))"), []).dtype == np.int64
    (found,) = fed(Value("x", container="seq(tensor(float))"), [[1, 2]])
    assert found.dtype == np.float32


@pytest.mark.parametrize("element", [1, None, b"a", ["a"]], ids=repr)
def test_text_is_text(element):
    array = np.empty(2, object)
    array[:] = ["a", element]
    for declared in (value(object), value(None), Value("x", container="seq(tensor(string))")):
        feed = [array] if declared.container else array
        with pytest.raises(FeedError, match=f"needs text .* holds {type(element).__name__}"):
            fed(declared, feed)
    assert fed(value(object), np.array(["a", "é"])).tolist() == ["a", "é"]
    assert fed(value(object), [["a"], ["b"]]).shape == (2, 1)
