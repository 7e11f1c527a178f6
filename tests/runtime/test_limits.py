"""Limits of a run: iterations of loops, memory at once, seconds of constants; each names its option in its error."""

import numpy as np
import pytest
from networks import network, weights
from onnx import TensorProto, helper, numpy_helper

from qengine import InferenceSession
from qengine.errors import OptionError, QEngineError, UnsupportedError
from qengine.model.passes import constants
from qengine.runtime.options import MAX_ITERATIONS, SessionOptions

_INT, _BOOL, _FLOAT = TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT


def info(name, kind=_FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, held=()):
    constant = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(held).items()]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info(n) for n in outputs], constant)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def loop(count, *, inner=None, scanned=()):
    """Return a Loop node whose body doubles its state; `inner` is a node in the body."""
    nodes = [helper.make_node("Identity", ["k"], ["ko"]), helper.make_node("Add", ["s", "s"], ["so"])]
    nodes += [inner] if inner is not None else []
    inputs = [info("n", _INT, []), info("k", _BOOL, []), info("s")]
    body = helper.make_graph(nodes, "b", inputs, [info("ko", _BOOL, []), info("so"), *map(info, scanned)])
    return helper.make_node("Loop", ["m", "", "x"], ["y", *(f"scan{i}" for i in range(len(scanned)))], body=body)


def endless(count=2**62, **kwargs):
    node = loop(count, **kwargs)
    return model([node], [info("x", shape=[2])], node.output, {"m": np.array(count)})


X = np.ones(2, np.float32)

EVERY_KIND = pytest.mark.parametrize(
    "options", [{}, {"isa": "reference"}, {"qformat": "Q4.3"}], ids=["native", "reference", "Q4.3"]
)


@pytest.mark.parametrize(
    "options", [{}, {"isa": "reference"}, {"qformat": "Q4.3"}], ids=["native", "reference", "Q4.3"]
)
def test_iterations_of_a_loop(options):
    session = InferenceSession(endless(), max_iterations=30, **options)
    for _ in range(2):  # each run counts for itself
        with pytest.raises(UnsupportedError, match=r"^node 'y' \(Loop\): .* more than 30 iterations; .*--max-iter"):
            session.run(None, {"x": X})
    (y,) = InferenceSession(endless(30), max_iterations=30, **options).run(None, {"x": X * 0})
    assert y.tolist() == [0, 0]


def test_iterations_of_nested_loops_and_of_all_loops_are_added():
    deep = model(
        [
            helper.make_node(
                "Loop",
                ["m", "", "x0"],
                ["y0"],
                body=helper.make_graph(
                    [helper.make_node("Identity", ["k0"], ["ko0"]), loop(3)],
                    "outer",
                    [info("n0", _INT, []), info("k0", _BOOL, []), info("x")],
                    [info("ko0", _BOOL, []), info("y")],
                ),
            )
        ],
        [info("x0", shape=[2])],
        ["y0"],
        {"m": np.array(3)},
    )
    assert InferenceSession(deep, max_iterations=12).run(None, {"x0": X})[0].tolist() == [512, 512]
    with pytest.raises(UnsupportedError, match="more than 11 iterations"):
        InferenceSession(deep, max_iterations=11).run(None, {"x0": X})


def test_iterations_of_a_scan():
    body = helper.make_graph([helper.make_node("Add", ["s", "r"], ["so"])], "b", [info("s"), info("r")], [info("so")])
    node = helper.make_node("Scan", ["x", "rows"], ["y"], body=body, num_scan_inputs=1)
    session = InferenceSession(model([node], [info("x", shape=[]), info("rows", shape=["N"])], ["y"]), max_iterations=5)
    zero = np.float32(0)
    assert session.run(None, {"x": zero, "rows": np.ones(5, np.float32)})[0] == 5
    with pytest.raises(UnsupportedError, match="more than 5 iterations"):
        session.run(None, {"x": zero, "rows": np.ones(6, np.float32)})


def test_memory_of_scan_outputs_grows_until_it_is_refused():
    inner = helper.make_node("Tile", ["x", "m1000"], ["big"])
    node = loop(2**62, inner=inner, scanned=["big"])
    made = model([node], [info("x", shape=[2])], node.output, {"m": np.array(2**62), "m1000": np.array([1000])})
    with pytest.raises(UnsupportedError, match=r"needs .* of memory at once, more than 1.0 MiB"):
        InferenceSession(made, max_memory="1M", isa="reference").run(None, {"x": X})


@pytest.mark.parametrize(
    "options", [{}, {"isa": "reference"}, {"qformat": "Q4.3"}], ids=["native", "reference", "Q4.3"]
)
def test_memory_of_a_plan_is_checked_before_it_runs(options):
    made = network([("Tile", "x by", "t"), ("Relu", "t", "y")], constants={"by": [1, 1, 200, 200]})
    x = weights(1, 3, 6, 5, seed=1, scale=1.0)
    with pytest.raises(UnsupportedError, match=r"^node .* needs 41.2|34.3 MiB of .* \(--max-memory"):
        InferenceSession(made, max_memory="1M", **options).run(None, {"x": x})
    assert InferenceSession(made, max_memory="1G", **options).run(None, {"x": x})[0].shape == (1, 3, 1200, 1000)


def test_memory_of_a_trace_and_of_constants():
    made = network([("Tile", "x by", "y")], constants={"by": [1, 1, 200, 200]})
    session = InferenceSession(made, max_memory="1M")
    feeds = session.check_feeds({"x": weights(1, 3, 6, 5, seed=1, scale=1.0)})
    with pytest.raises(UnsupportedError, match="--max-memory"):
        list(session.trace(feeds))
    shape = numpy_helper.from_array(np.array([1 << 18]), "n")
    nodes = [helper.make_node("ConstantOfShape", ["n"], [f"c{k}"]) for k in range(9)]
    nodes += [helper.make_node("Sum", [f"c{k}" for k in range(9)], ["s"]), helper.make_node("Add", ["s", "x"], ["y"])]
    many = model(nodes, [info("x", shape=[1])], ["y"])
    many.graph.initializer.append(shape)
    with pytest.raises(UnsupportedError, match=r"\(ConstantOfShape\) needs .* more than 4.0 MiB"):
        InferenceSession(many, max_memory="4M")


def test_seconds_of_constants(monkeypatch):
    monkeypatch.setattr(constants, "MAX_SECONDS", 0)
    made = network([("Add", "a b", "c"), ("Add", "x c", "y")], constants={"a": 1.0, "b": 2.0})
    with pytest.raises(UnsupportedError, match=r"takes longer than 0 seconds .* node .*; fold the constants"):
        InferenceSession(made)


def test_the_options():
    assert SessionOptions().max_iterations == MAX_ITERATIONS
    assert SessionOptions(max_memory="2G") == SessionOptions(max_memory=1 << 31)
    assert SessionOptions(max_memory="2G", max_iterations=7, qformat="Q4.3").in_float32() == SessionOptions(
        max_memory="2G", max_iterations=7
    )
    for keywords in ({"max_iterations": 0}, {"max_iterations": None}, {"max_memory": "many"}, {"max_memory": 0}):
        with pytest.raises(OptionError, match=next(iter(keywords))):
            SessionOptions(**keywords)


SLICES = {
    "Slice": (helper.make_node("Slice", ["x", "k", "v"], ["y"]), {"k": [[0]], "v": [[2]]}),
    "Pad": (helper.make_node("Pad", ["x", "k", "f"], ["y"]), {"k": [[1, 1]], "f": np.zeros((1, 1), np.float32)}),
    "Slice of axes": (helper.make_node("Slice", ["x", "k", "v", "a"], ["y"]), {"k": [[0]], "v": [[2]], "a": [[0]]}),
}


@pytest.mark.parametrize(("node", "fed"), SLICES.values(), ids=SLICES)
def test_a_node_that_several_inputs_of_many_axes_decide(node, fed):
    fed = {name: np.asarray(array) for name, array in fed.items()}
    inputs = [info(n, _FLOAT if a.dtype == np.float32 else _INT) for n, a in fed.items()]
    session = InferenceSession(model([node], [info("x", shape=[4]), *inputs], ["y"]))
    with pytest.raises(QEngineError, match=r"^node 'y' ") as caught:
        session.run(None, {"x": np.arange(4, dtype=np.float32), **fed})
    assert "\n" not in str(caught.value)


def test_a_length_that_onnx_does_not_know_is_no_fault():
    resize = helper.make_node("Resize", ["x", "", "", "k"], ["y"])
    session = InferenceSession(model([resize], [info("x", shape=[4]), info("k", _INT)], ["y"]))
    for sizes in ([8], [[8]]):
        (y,) = session.run(None, {"x": np.arange(4, dtype=np.float32), "k": np.array(sizes)})
        assert y.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


MADE_LARGE = {
    "Einsum": ([(300,), (300,)], {"equation": "i,j->ij"}),
    "Attention": ([(1, 1, 300, 1)] * 3, {}),
    "RandomNormal": ([], {"shape": [300, 300]}),
    "MatMulInteger": ([(300, 1), (1, 300)], {}),
    "Expand": ([(1,)], {}),
    "BitwiseAnd": ([(300, 1), (1, 300)], {}),
    "BitShift": ([(300, 1), (1, 300)], {"direction": "LEFT"}),
    "Pow": ([(300, 1), (1, 300)], {}),
    "Equal": ([(300, 1), (1, 300)], {}),
    "Mean": ([(300, 1), (1, 300)], {}),
}
KINDS = {"MatMulInteger": TensorProto.UINT8, "BitwiseAnd": TensorProto.INT32, "BitShift": TensorProto.UINT32}
KINDS |= {"Pow": TensorProto.BFLOAT16, "Equal": TensorProto.BFLOAT16}


@pytest.mark.parametrize("operator", MADE_LARGE)
@pytest.mark.parametrize(
    ("option", "limit", "reason"),
    [("max_memory", "80K", "at once, more than 80.0 KiB"), ("max_elements", 1000, "more than 1,000 elements")],
    ids=["memory", "elements"],
)
def test_what_operators_make_of_small_inputs_counts(operator, option, limit, reason):
    """A node without a handler is no exception, nor are its intermediate results."""
    shapes, attributes = MADE_LARGE[operator]
    kind = KINDS.get(operator, _FLOAT)
    kinds = {f"x{i}": (kind, [None] * len(shape)) for i, shape in enumerate(shapes)}
    held = {"shape": np.array([300, 300])} if operator == "Expand" else {}
    node = helper.make_node(operator, [*kinds, *held], ["y"], **attributes)
    made = model([node], [info(name, *about) for name, about in kinds.items()], ["y"], held)
    made.opset_import[0].version, made.ir_version = 23, 11
    feeds = dict(zip(kinds, (np.ones(s, helper.tensor_dtype_to_np_dtype(kind)) for s in shapes), strict=True))
    assert InferenceSession(made).run(None, feeds)[0].size >= 300
    with pytest.raises(UnsupportedError, match=rf"node 'y' \({operator}\).* {reason}; .*{option}="):
        InferenceSession(made, **{option: limit}).run(None, feeds)
