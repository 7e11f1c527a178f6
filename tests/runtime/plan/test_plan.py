import gc
import tracemalloc
import weakref

import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

import qengine
from qengine.errors import FeedError, FormatError, ModelError, UnsupportedError
from qengine.kernels.reference.requantize import LARGEST, SATURATED, TOTAL, UNDERFLOWED, new_tally
from qengine.model.ops.operator import NeedsRun
from qengine.runtime.plan.plan import decode_output

X = weights(1, 3, 6, 5, seed=1, scale=2.0)
CONV = [("Conv", "x W b", "c"), ("Relu", "c", "r"), ("Sigmoid", "r", "s"), ("Add", "s s2", "y")]
CONSTANTS = {"W": weights(4, 3, 3, 3), "b": weights(4), "s2": weights(4, 1, 1)}


def session(nodes=CONV, *, qformat=None, constants=CONSTANTS, fixed=None, **build):
    options = {} if qformat is None else {"qformat": qformat}
    return qengine.InferenceSession(network(nodes, constants=constants, **build), **options, **(fixed or {}))


def plan_of(s, feeds, names=None):
    return s.plan(s.check_feeds(feeds), names)


def test_the_trace_is_in_the_order_of_the_run():
    s = session(qformat="Q4.3")
    found = list(plan_of(s, {"x": X}).trace({"x": X}))
    assert [tensor.name for tensor, _ in found] == ["x", "r", "s", "y"]
    for tensor, codes in found:
        assert tensor.shape == codes.shape
        assert tensor.format == s.formats[tensor.name]
        assert codes.dtype == np.int8
        np.testing.assert_array_equal(codes, s.run([tensor.name], {"x": X}, raw=True)[0])
        np.testing.assert_array_equal(decode_output(tensor, codes, raw=False), s.run([tensor.name], {"x": X})[0])


def test_the_trace_in_float32():
    s = session()
    for tensor, array in plan_of(s, {"x": X}).trace({"x": X}):
        assert tensor.format is None
        assert decode_output(tensor, array, raw=False) is array
        np.testing.assert_array_equal(array, s.run([tensor.name], {"x": X})[0])


def test_tallies():
    s = session([("Mul", "x k", "y")], qformat="Q2.1", constants={"k": 1.0}, inputs={"x": [6]})
    feeds = {"x": np.float32([0.0, 0.125, 0.5, -1.0, 9.0, -9.0])}
    tallies = {}
    plan = plan_of(s, feeds)
    counted = plan.run(feeds, tallies=tallies)
    np.testing.assert_array_equal(counted["y"], plan.run(feeds)["y"])
    assert set(tallies) == {"x", "y"}
    wanted = new_tally()
    wanted[[SATURATED, UNDERFLOWED, LARGEST, TOTAL]] = 2, 1, 8, 6
    np.testing.assert_array_equal(tallies["x"], wanted)
    assert tallies["y"][TOTAL] == 6
    plan.run(feeds, tallies=tallies)  # they add up
    assert tallies["x"][TOTAL] == 12
    assert tallies["x"][LARGEST] == 8


def test_float32_has_nothing_to_tally():
    tallies = {}
    plan_of(session(), {"x": X}).run({"x": X}, tallies=tallies)
    assert tallies == {}


@pytest.mark.parametrize("qformat", [None, "Q4.3"])
def test_what_nothing_reads_any_more_is_let_go(qformat):
    nodes = [("Softmax", "x" if i == 0 else f"t{i - 1}", f"t{i}") for i in range(6)]
    s = session([*nodes, ("Add", "t1 t5", "y")], qformat=qformat)
    references, alive = {}, {}
    for tensor, array in plan_of(s, {"x": X}).trace({"x": X.copy()}):
        references[tensor.name] = weakref.ref(array)
        del array
        alive[tensor.name] = {name for name, one in references.items() if one() is not None}
    # What is read at this place and what is read later, and nothing else; in float32 the feed itself is the input.
    feed = {"x"} if qformat is None else set()
    assert alive["t0"] - feed == {"x", "t0"} - feed
    assert alive["t1"] - feed == {"t0", "t1"}
    assert alive["t2"] - feed == {"t1", "t2"}
    assert alive["t4"] - feed == {"t1", "t3", "t4"}
    assert alive["y"] - feed == {"t1", "t5", "y"}


@pytest.mark.parametrize("qformat", [None, "Q4.3"])
def test_an_output_that_no_step_reads_is_released_at_once(qformat):
    """The caller of `trace` has it then; the run must not keep it until the end."""
    nodes = [("Sigmoid", "x", "early"), ("Split", "x", "l unread", {"axis": 3}), ("Sigmoid", "l", "s")]
    nodes.append(("Softmax", "s", "y"))
    s = session(nodes, qformat=qformat, inputs={"x": [1, 3, 6, 4]}, outputs=["early", "unread", "y"], opset=11)
    x = weights(1, 3, 6, 4, seed=1)
    plan = plan_of(s, {"x": x})
    release = {bound.output.name: bound.release for bound in plan.steps}
    assert release["early"] == ("early",)
    assert release["unread"] == ("unread", "x")
    assert release["y"] == ("s", "y")
    references = {}
    for tensor, array in plan.trace({"x": x}):
        references[tensor.name] = weakref.ref(array)
        del array
        if tensor.name == "s":
            assert references["early"]() is None
            assert references["unread"]() is None


def test_a_long_chain_needs_little_memory():
    nodes = [("Transpose", "x" if i == 0 else f"t{i - 1}", f"t{i}") for i in range(40)]
    s = session([*nodes, ("Relu", "t39", "y")], inputs={"x": [512, 512]})
    feeds = {"x": np.ones((512, 512), np.float32)}  # 1 MiB
    plan = plan_of(s, feeds)
    plan.run(feeds)
    gc.collect()
    tracemalloc.start()
    try:
        plan.run(feeds)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


LARGE = {
    "Resize": ([("Resize", "x - by", "y")], {"by": [1.0, 1.0, 1e6, 1e6]}),
    "Expand": ([("Expand", "x to", "y")], {"to": [10**6, 3, 6, 5]}),
    "Tile": ([("Tile", "x by", "y")], {"by": [1, 1, 10**5, 10**5]}),
    "Pad": ([("Pad", "x pads", "y")], {"pads": [0, 0, 10**6, 10**6, 0, 0, 0, 0]}),
    "ConstantOfShape": ([("ConstantOfShape", "to", "z"), ("Add", "x z", "y")], {"to": [10**6, 3, 6, 5]}),
    "Add": ([("Add", "x row", "a"), ("Add", "a column", "y")], {"row": weights(10**5, 1, 1, 1, 1)}),
    "Gather": ([("Gather", "x i", "y")], {"i": np.zeros((10**4, 10), np.int64)}),
    "Concat": ([("Concat", " ".join(["x"] * 200), "y", {"axis": 0})], {}),
    "Transposed": ([("ConvTranspose", "x w", "y", {"strides": [10**4, 10**4]})], {"w": weights(3, 1, 1, 1)}),
    "Range": ([("Range", "zero end one", "y")], {"zero": 0.0, "end": 1e9, "one": 1.0}),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_tensor_that_is_too_large_is_refused_before_it_is_made(kind):
    nodes, constants = LARGE[kind]
    model = network(nodes, constants={"column": weights(10**5, 1, 1, 1, 1, 1), **constants})
    for options in ({}, {"qformat": "Q4.3"}):
        s = qengine.InferenceSession(model, max_elements=10_000, **options)
        tracemalloc.start()
        try:
            with pytest.raises(UnsupportedError, match=r"^node '.*more than 10,000 elements; raise the limit") as error:
                s.run(None, {"x": X})
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
        assert "\n" not in str(error.value)


def test_an_input_that_is_too_large():
    with pytest.raises(UnsupportedError, match=r"^input 'x': a tensor of 1 x 3 x 6 x 5 has more than 80 elements"):
        session(fixed={"max_elements": 80}).run(None, {"x": X})
    session(fixed={"max_elements": 90}).run(None, {"x": X})


def test_a_node_without_a_handler_is_computed_in_the_plan_where_all_that_it_reads_is_known():
    nodes = [("Shape", "x", "s"), ("Cast", "s", "f", {"to": 1}), ("Unique", "f", "h"), ("Relu", "x", "y")]
    plan = plan_of(session(nodes, outputs=["h", "y"]), {"x": X})
    assert [bound.output.name for bound in plan.steps] == ["y"]
    np.testing.assert_array_equal(plan.outputs["h"].value, np.float32([1, 3, 5, 6]), strict=True)
    random = [*nodes[:2], ("RandomNormalLike", "f", "y")]
    for others in ([("Unique", "x", "y")], random):
        with pytest.raises(NeedsRun, match=r"^node 'the_y' .* runs by itself$"):
            plan_of(session(others), {"x": X})


def test_memory_that_is_not_there_is_an_error_of_the_node():
    s = session([("Tile", "x by", "y")], constants={"by": [1, 1, 10**8, 10**8]}, fixed={"max_elements": 10**20})
    with pytest.raises(UnsupportedError, match=r"^node 'the_y' \(Tile\) needs [0-9,.]+ TiB"):
        s.run(None, {"x": X})


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("qformat", [None, "Q4.3"])
@pytest.mark.parametrize("operator", ["Identity", "Reshape", "Transpose", "Relu", "Conv", "Dropout", "Flatten"])
def test_what_comes_out_is_the_callers_own(operator, qformat, raw):
    node = {
        "Reshape": ("Reshape", "x shape", "y"),
        "Conv": ("Conv", "x W", "y"),
    }.get(operator, (operator, "x", "y"))
    s = session(
        [node],
        qformat=qformat,
        constants={"shape": [3, -1], "c": [1.0, 2.0], "W": weights(2, 3, 1, 1)},
        outputs=["y", "x", "c"],
    )
    x = X.copy()
    first = s.run(None, {"x": x}, raw=raw)
    assert all(array.flags.c_contiguous and array.flags.writeable for array in first)
    assert not any(np.shares_memory(array, x) for array in first)
    kept = [array.copy() for array in first]
    for array in first:
        array[...] = 7
    np.testing.assert_array_equal(x, X)
    x[...] = 5
    for found, wanted in zip(s.run(None, {"x": X}, raw=raw), kept, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_known_output_and_one_that_is_an_input():
    s = session(
        [("Resize", "x - factor", "y"), ("Mul", "factor two", "z"), ("Shape", "x", "s")],
        inputs={"x": [1, 3, 6, 5], "factor": [4]},
        constants={"two": 2.0},
        outputs=["z", "factor", "x", "s", "y"],
    )
    factor = np.float32([1, 1, 2, 1])
    z, f, x, shape, y = s.run(None, {"x": X, "factor": factor})
    np.testing.assert_array_equal(z, factor * 2)
    np.testing.assert_array_equal(f, factor)
    np.testing.assert_array_equal(x, X)
    assert shape.tolist() == [1, 3, 6, 5]
    assert y.shape == (1, 3, 12, 5)
    z[...], f[...] = 9, 9
    np.testing.assert_array_equal(s.run(None, {"x": X, "factor": factor})[0], factor * 2)


def test_an_input_in_fixed_point_comes_back_in_its_format():
    s = session(qformat="Q4.3", outputs=["x", "y"])
    x, _ = s.run(None, {"x": X})
    np.testing.assert_array_equal(x, qengine.dequantize(qengine.quantize(X, "Q4.3"), "Q4.3"))
    codes, _ = s.run(None, {"x": X}, raw=True)
    np.testing.assert_array_equal(codes, qengine.quantize(X, "Q4.3"), strict=True)


def test_inputs_that_are_not_numbers_in_fixed_point():
    s = session(qformat="Q4.3")
    broken = X.copy()
    broken[0, 1, 2, 3] = np.nan
    with pytest.raises(FeedError, match=r"^input 'x' holds NaN"):
        s.run(None, {"x": broken})
    assert np.isnan(session().run(["c"], {"x": broken})[0]).any()


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
def test_infinite_inputs_saturate_and_are_counted(overflow):
    s = session([("Identity", "x", "y")], qformat="Q4.3", constants={}, inputs={"x": [3]}, fixed={"overflow": overflow})
    feeds = {"x": np.float32([np.inf, -np.inf, 1])}
    tallies = {}
    plan = plan_of(s, feeds)
    assert plan.run(feeds, raw=True, tallies=tallies)["y"].tolist() == [127, -128, 8]
    assert tallies["x"][SATURATED] == 2


def test_a_tensor_that_becomes_nan_in_an_island_names_its_node():
    s = session(
        [("LayerNormalization", "x g", "y", {"epsilon": 0.0})],
        qformat="Q4.3",
        inputs={"x": [2, 3]},
        constants={"g": [1.0, 1.0, 1.0]},
        fixed={"islands": ("norm",)},
    )
    with pytest.raises(FormatError, match=r"^node 'the_y' \(LayerNormalization\): tensor 'y' became NaN"):
        s.run(None, {"x": np.ones((2, 3), np.float32)})


def test_strict_names_every_island():
    nodes = [("Softmax", "x", "s"), ("LogSoftmax", "s", "y")]
    with pytest.raises(UnsupportedError, match=r"^strict: .*node 'the_s' \(Softmax\), node 'the_y' \(LogSoftmax\)"):
        session(nodes, qformat="Q4.3", fixed={"strict": True, "islands": "softmax"}).run(None, {"x": X})
    session(nodes, qformat="Q4.3", fixed={"strict": True, "islands": "norm"}).run(None, {"x": X})
    s = session(nodes, qformat="Q4.3", fixed={"islands": "norm, softmax"})
    assert [bound.node.operator for bound in plan_of(s, {"x": X}).steps if bound.is_island] == ["Softmax", "LogSoftmax"]
    assert not any(bound.is_island for bound in plan_of(session(nodes), {"x": X}).steps)
    session(qformat="Q4.3", fixed={"strict": True}).run(None, {"x": X})


def test_integers_beside_fixed_point_are_no_islands():
    nodes = [("Shape", "x", "s"), ("Add", "i one", "j"), ("Cast", "j", "k", {"to": 7}), ("Gather", "x k", "y")]
    s = session(
        nodes,
        qformat="Q4.3",
        fixed={"strict": True},
        inputs={"x": [1, 3, 6, 5], "i": (np.int32, [2])},
        constants={"one": np.int32(0)},
        outputs=["y", "s"],
    )
    y, _ = s.run(None, {"x": X, "i": np.zeros(2, np.int32)}, raw=True)
    np.testing.assert_array_equal(y, qengine.quantize(X, "Q4.3")[[0, 0]])


def test_errors_at_run_time_name_the_node():
    s = session([("Gather", "x i", "y")], inputs={"x": [3], "i": (np.int64, [1])}, constants={})
    with pytest.raises(ModelError, match=r"^node 'the_y' \(Gather\): an index"):
        s.run(None, {"x": np.ones(3, np.float32), "i": np.array([3])})


def test_shapes_that_do_not_go_together_name_the_node():
    s = session([("Add", "x z", "y")], inputs={"x": ["A"], "z": ["B"]}, constants={})
    with pytest.raises(ModelError, match=r"^node 'the_y' \(Add\): .*broadcast"):
        s.run(None, {"x": np.ones(2, np.float32), "z": np.ones(3, np.float32)})


def test_constants_go_by_the_models_names():
    norm = {"g": np.full(4, 9.0, np.float32), "h": weights(4), "m": weights(4), "v": np.ones(4, np.float32)}
    s = session(
        [CONV[0], ("BatchNormalization", "c g h m v", "y")],
        qformat="Q4.3",
        constants={**CONSTANTS, **norm},
        fixed={"weight_qformat": "Q0.7"},
    )
    assert [tensor.name for tensor in plan_of(s, {"x": X}).constants] == ["W"]


def test_several_inputs_and_outputs():
    nodes = [("Add", "a b", "s"), ("Mul", "a b", "p"), ("Split", "s", "l r", {"axis": 0})]
    s = session(nodes, inputs={"a": [4], "b": [4]}, outputs=["r", "p", "l"], constants={}, opset=11)
    feeds = {"b": weights(4, seed=2), "a": weights(4, seed=3)}
    model = network(nodes, inputs={"a": [4], "b": [4]}, outputs=["r", "p", "l"], opset=11)
    for found, wanted in zip(s.run(None, feeds), run_onnxruntime(model, feeds), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        (("MaxPool", "x", "y", {"kernel_shape": [300, 300], "pads": [150] * 4, "strides": [300, 300]}), {}),
        (("AveragePool", "x", "y", {"kernel_shape": [300, 300], "pads": [150] * 4, "strides": [300, 300]}), {}),
        (("Conv", "x w", "y", {"pads": [150] * 4, "strides": [300, 300]}), {"w": np.ones((1, 1, 2, 2), np.float32)}),
        (
            ("ConvTranspose", "x w", "y", {"pads": [150] * 4, "strides": [300, 300]}),
            {"w": np.ones((1, 1, 2, 2), np.float32)},
        ),
    ],
)
def test_what_a_kernel_makes_on_its_way_is_limited_too(node, inputs):
    model = network([node], inputs={"x": [1, 1, 2, 2]}, constants=inputs)
    feeds = {"x": np.ones((1, 1, 2, 2), np.float32)}
    assert qengine.InferenceSession(model, max_elements=100_000).run(None, feeds)[0].size < 10_000
    with pytest.raises(UnsupportedError, match=r"node 'the_y' .*, scratch array: a tensor of 1 x 1 x .* than 10,000"):
        qengine.InferenceSession(model, max_elements=10_000).run(None, feeds)


def test_strict_names_a_node_of_several_outputs_once():
    found = session(
        [("SoftmaxCrossEntropyLoss", "x labels", "y last", {"reduction": "none"})],
        inputs={"x": [4, 3]},
        constants={"labels": np.array([0, 2, 1, 1])},
        outputs=["y", "last"],
        qformat="Q3.4",
        fixed={"strict": True},
    )
    with pytest.raises(UnsupportedError, match=r"rule for node 'the_y' \(SoftmaxCrossEntropyLoss\);"):
        found.run(None, {"x": np.zeros((4, 3), np.float32)})
