import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

import qengine
from qengine.errors import ModelError, QEngineError, UnsupportedError
from qengine.model.loader import load
from qengine.model.static_values import known_tensors, value_inputs

X = weights(2, 3, 8, 6, seed=1)

# As torch exports x.view(x.size(0), -1) with dynamic axes.
VIEW = [
    ("Shape", "x", "s"),
    ("Gather", "s zero", "batch"),
    ("Unsqueeze", "batch axis", "row"),
    ("Concat", "row rest", "shape", {"axis": 0}),
    ("Reshape", "x shape", "y"),
]
VIEW_CONSTANTS = {"zero": np.int64(0), "axis": [0], "rest": [-1]}


def test_an_input_that_scales_is_known():
    model = network(
        [("Resize", "x - factor", "y", {"mode": "linear"})],
        inputs={"x": ["N", 3, "H", "W"], "factor": [4]},
    )
    assert value_inputs(load(model)) == {"factor"}
    assert known_tensors(load(model)) == {"factor"}
    s = qengine.InferenceSession(model)
    for factor in ([1, 1, 2, 2], [1, 1, 3, 1.5], [1, 1, 0.5, 1]):
        feeds = {"x": X, "factor": np.float32(factor)}
        (y,) = s.run(None, feeds)
        np.testing.assert_allclose(y, run_onnxruntime(model, feeds)[0], atol=1e-6)


def test_arithmetic_on_the_way_to_a_shape_is_known():
    model = network(
        [
            ("Concat", "ones factor", "f", {"axis": 0}),
            ("Mul", "f two", "g"),
            ("Resize", "x - g", "r", {"mode": "nearest"}),
            ("Conv", "r W", "y"),
        ],
        inputs={"x": ["N", 3, "H", "W"], "factor": [2]},
        constants={"ones": [0.5, 0.5], "two": 2.0, "W": weights(2, 3, 1, 1)},
    )
    assert value_inputs(load(model)) == {"factor"}
    assert {"f", "g", "W"} <= known_tensors(load(model))
    s = qengine.InferenceSession(model, qformat="Q4.11")
    assert "f" not in s.formats
    assert "factor" not in s.formats
    y, g = s.run(["y", "g"], {"x": X, "factor": np.float32([1.25, 0.75])}, raw=True)
    assert y.shape == (2, 2, 20, 9)
    assert y.dtype == np.int16
    np.testing.assert_array_equal(g, np.float32([1, 1, 2.5, 1.5]), strict=True)


def test_shapes_of_an_input_make_no_input_known():
    model = network(VIEW, inputs={"x": ["N", 3, "H", "W"]}, constants=VIEW_CONSTANTS)
    graph = load(model)
    assert value_inputs(graph) == set()
    assert known_tensors(graph) == {"s", "batch", "row", "shape", *VIEW_CONSTANTS}
    for options in ({}, {"qformat": "Q2.13"}):
        s = qengine.InferenceSession(model, **options)
        for batch in (1, 2):
            (y,) = s.run(None, {"x": X[:batch]})
            assert y.shape == (batch, 144)
    assert s.formats == {"x": qengine.QFormat.parse("Q2.13"), "y": qengine.QFormat.parse("Q2.13")}


def test_a_shape_in_real_numbers():
    """The export of torch's interpolate(x, size=(2 * H, 2 * W)): a shape, cast, scaled and cast back."""
    model = network(
        [
            ("Shape", "x", "s"),
            ("Slice", "s two four", "hw"),
            ("Cast", "hw", "real", {"to": 1}),
            ("Mul", "real factor", "scaled"),
            ("Floor", "scaled", "floored"),
            ("Cast", "floored", "sizes", {"to": 7}),
            ("Slice", "s zero two", "nc"),
            ("Concat", "nc sizes", "all", {"axis": 0}),
            ("Resize", "x - - all", "y", {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}),
        ],
        inputs={"x": ["N", 3, "H", "W"]},
        constants={"zero": [0], "two": [2], "four": [4], "factor": 1.7},
    )
    assert value_inputs(load(model)) == set()
    for options, tolerance in (({}, 1e-6), ({"qformat": "Q2.13", "strict": True}, 1e-3)):
        (y,) = qengine.InferenceSession(model, **options).run(None, {"x": X})
        assert y.shape == (2, 3, 13, 10)
        np.testing.assert_allclose(y, run_onnxruntime(model, {"x": X})[0], atol=tolerance)


def test_a_constant_that_only_shapes_make_known_is_quantized_where_data_meets_it():
    model = network(
        [
            ("Shape", "x", "s"),
            ("Gather", "s three", "w"),
            ("Cast", "w", "real", {"to": 1}),
            ("Div", "x real", "y"),
        ],
        inputs={"x": ["N", 3, "H", "W"]},
        constants={"three": np.int64(3)},
    )
    s = qengine.InferenceSession(model, qformat="Q4.11")
    np.testing.assert_allclose(s.run(None, {"x": X})[0], X / 6, atol=2**-11)
    # The width, 6, has the most fraction bits that 16 bits leave it; 2.5 would say what was asked for.
    coarse = qengine.InferenceSession(model, qformat="Q4.11", formats={"real": "Q1.0"})
    np.testing.assert_allclose(coarse.run(None, {"x": X})[0], X / 1, atol=2**-10)


def test_a_small_input_that_is_data_too():
    model = network(
        [("Reshape", "x t", "y"), ("Add", "t one", "z")],
        inputs={"x": [6], "t": (np.int64, [2])},
        constants={"one": np.int64(1)},
        outputs=["y", "z"],
    )
    y, z = qengine.InferenceSession(model, qformat="Q4.3").run(
        None, {"x": np.arange(6, dtype=np.float32), "t": np.array([3, 2])}
    )
    assert y.shape == (3, 2)
    assert z.tolist() == [4, 3]


@pytest.mark.parametrize(("shape", "is_static"), [([], True), ([2], True), ([1, 2], False), ([1, 1, 2], False)])
def test_only_an_input_of_at_most_one_axis_decides_shapes_before_a_run(shape, is_static):
    model = network(
        [("Reshape", "f flat", "s"), ("Expand", "x s", "y")],
        inputs={"x": [1, 1], "f": (np.int64, shape)},
        constants={"flat": [-1]},
    )
    graph = load(model)
    assert value_inputs(graph) == ({"f"} if is_static else set())
    assert ("s" in known_tensors(graph)) == is_static
    lengths = np.full(shape, 3, np.int64)
    (y,) = qengine.InferenceSession(model).run(None, {"x": np.float32([[2]]), "f": lengths})
    assert y.shape == ((3, 3) if shape else (1, 3))


def test_shapes_from_the_elements_of_much_data():
    model = network(
        [
            ("ReduceMax", "x", "m", {"keepdims": 0}),
            ("Cast", "m", "i", {"to": 7}),
            ("Unsqueeze", "i axis", "n"),
            ("Expand", "x n", "y"),
        ],
        inputs={"x": ["N"]},
        constants={"axis": [0]},
    )
    assert value_inputs(load(model)) == {"x"}
    s = qengine.InferenceSession(model)
    assert s.run(None, {"x": np.float32([3])})[0].tolist() == [3, 3, 3]
    assert s.run(None, {"x": np.ones(5000, np.float32)})[0].tolist() == [1] * 5000


@pytest.mark.parametrize(
    ("shape", "message"),
    [([4, 5], "cannot become"), ([-1, -1], "not allowed"), ([0, 0, 0, 0, 0, 7], "copies an axis")],
)
def test_a_shape_that_does_not_fit_names_the_node(shape, message):
    model = network([("Reshape", "x t", "y")], inputs={"x": [2, 3], "t": (np.int64, ["R"])})
    with pytest.raises(ModelError, match=rf"^node 'the_y' \(Reshape\): .*{message}") as error:
        qengine.InferenceSession(model).run(None, {"x": np.ones((2, 3), np.float32), "t": np.array(shape)})
    assert "\n" not in str(error.value)


def test_an_index_outside_of_a_shape_names_the_node():
    model = network(
        [("Shape", "x", "s"), ("Gather", "s i", "d"), ("Expand", "x d", "y")],
        inputs={"x": ["N", 3], "i": (np.int64, [1])},
    )
    with pytest.raises(QEngineError, match=r"^node 'the_d' \(Gather\): .*index"):
        qengine.InferenceSession(model).run(None, {"x": np.ones((2, 3), np.float32), "i": np.array([9])})


def test_data_that_decides_shapes_is_computed_in_fixed_point():
    model = network(
        [
            ("Conv", "x W", "c"),
            ("ReduceMax", "c", "m", {"keepdims": 0}),
            ("Cast", "m", "i", {"to": 7}),
            ("Unsqueeze", "i axis", "n"),
            ("Expand", "c n", "y"),
        ],
        inputs={"x": [1, 3, 6, 1]},
        constants={"axis": [0], "W": np.float32([1, 0, 0]).reshape(1, 3, 1, 1)},
    )
    feeds = {"x": np.full((1, 3, 6, 1), 1.03, np.float32)}
    assert qengine.InferenceSession(model).run(None, feeds)[0].shape == (1, 1, 6, 1)
    codes = qengine.InferenceSession(model, qformat="Q4.3").run(None, feeds, raw=True)[0]
    np.testing.assert_array_equal(codes, np.full((1, 1, 6, 1), 8, np.int8), strict=True)
    feeds = {"x": np.full((1, 3, 6, 1), 3.9, np.float32)}
    assert qengine.InferenceSession(model).run(None, feeds)[0].shape == (1, 1, 6, 3)
    codes = qengine.InferenceSession(model, qformat="Q4.3").run(None, feeds, raw=True)[0]
    np.testing.assert_array_equal(codes, np.full((1, 1, 6, 3), 31, np.int8), strict=True)


def test_bounds_from_the_data_leave_nothing_to_fixed_point():
    model = network(
        [("Mul", "x x", "s"), ("ReduceMax", "x", "m", {"keepdims": 0}), ("Clip", "s - m", "y")], inputs={"x": [3]}
    )
    feeds = {"x": np.float32([0.5, 2, -3])}
    assert qengine.InferenceSession(model).run(None, feeds)[0].tolist() == [0.25, 2.0, 2.0]
    with pytest.raises(UnsupportedError, match="the elements of input 'x' decide shapes or bounds, and nothing is"):
        qengine.InferenceSession(model, qformat="Q4.3").run(None, feeds)
