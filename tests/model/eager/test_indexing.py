"""Reading and writing at indices against ONNX Runtime and onnx.reference; an index out of range is an error."""

import ml_dtypes
import numpy as np
import pytest
from model.eager.nodes import alone, refused
from model.ops.cases import Case, each, f32, i64, real
from networks import network

import qengine
from qengine.errors import ModelError, UnsupportedError

R = np.random.default_rng(5)
TYPES = (np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)
REDUCTIONS = ("none", "add", "mul", "max", "min")
EXACT = {"rtol": 0, "atol": 0}


def data(shape, dtype=np.float32):
    return R.integers(0, 9, shape).astype(dtype)


def within(length, shape, dtype=np.int64):
    return R.integers(-length, length, shape).astype(dtype)


# axis, shape of data, shape of indices: longer along the axis, shorter along others, negative axes, one to five axes.
ELEMENTS = [
    (0, (5,), (7,)),
    (1, (4, 3), (3, 5)),
    (-1, (4, 3), (4, 5)),
    (0, (4, 3), (2, 2)),
    (-2, (2, 3, 4), (2, 6, 1)),
    (2, (2, 1, 3, 2), (1, 1, 4, 2)),
    (1, (2, 2, 2, 2, 2), (1, 4, 2, 1, 2)),
    (0, (4, 3), (0, 3)),
]
# batch_dims, shape of data, shape of indices
SLICES = [
    (0, (4, 3), (5, 2)),
    (0, (4, 3), (5, 1)),
    (0, (4, 3, 2), (2, 3, 1)),
    (0, (4,), (1,)),
    (0, (2, 2, 2, 2, 3), (3, 4)),
    (0, (2, 0), (3, 1)),
    (0, (4, 3), (0, 2)),
    (1, (2, 3, 4), (2, 1)),
    (1, (2, 3, 4), (2, 5, 2)),
    (2, (2, 3, 4), (2, 3, 1)),
]
# Rows and columns of which many are the same, so that the order of updates counts.
SAME = i64(1, 1, -1, 1, 0).reshape(1, 5)


def tuples(batch, shape, indices):
    axes = [within(shape[batch + i], indices[:-1]) for i in range(indices[-1])]
    return np.stack(axes, -1) if axes else np.zeros(indices, np.int64)


CASES = [
    # onnx.reference refuses indices that are shorter than data.
    *(
        Case("GatherElements", (data(shape), within(shape[axis], indices)), {"axis": axis}, follows="onnxruntime")
        for axis, shape, indices in ELEMENTS
    ),
    *(Case("GatherElements", (data((4, 3), t), within(4, (2, 3), np.int32)), **EXACT) for t in TYPES),
    *(
        Case("GatherND", (data(shape), tuples(batch, shape, indices)), {"batch_dims": batch} if batch else {})
        for batch, shape, indices in SLICES
    ),
    *(Case("GatherND", (data((4, 3), t), tuples(0, (4, 3), (2, 2))), **EXACT) for t in TYPES),
    *(
        Case(
            name,
            (
                data(shape),
                np.argsort(R.random(indices), axis)[..., : shape[axis]].clip(0, shape[axis] - 1),
                data(indices),
            ),
            {"axis": axis},
            follows="onnxruntime",
        )
        for name in ("Scatter", "ScatterElements")
        for axis, shape, indices in [(0, (5,), (4,)), (1, (2, 3), (2, 3))]
    ),
    *(
        Case(
            "ScatterElements",
            (data(shape), within(shape[axis], indices), data(indices)),
            {"axis": axis, "reduction": "add"},
        )
        for axis, shape, indices in ELEMENTS
    ),
    *(
        Case(
            "ScatterElements",
            (data((2, 4), t), SAME % 4, data((1, 5), t)),
            {"axis": 1, "reduction": reduction},
            follows="onnxruntime" if t != np.float16 else "both",
            **EXACT,
        )
        for t in TYPES[1:-1]
        for reduction in REDUCTIONS[1:]
    ),
    *(
        Case("ScatterND", (data((4, 3), t), SAME.T, data((5, 3), t)), {"reduction": reduction}, **EXACT)
        for t in (np.float32, np.float64, np.int32, np.int64)
        for reduction in REDUCTIONS[1:]
    ),
    *(
        Case(
            "ScatterND",
            (data(shape), tuples(0, shape, indices), data((*indices[:-1], *shape[indices[-1] :]))),
            {"reduction": "add"},
        )
        for batch, shape, indices in SLICES
        if not batch
    ),
    Case("ScatterND", (data((4, 3)), i64(2, 0).reshape(2, 1), data((2, 3)))),
    Case("ScatterND", (data((4, 3), np.int64), i64(-1, 1).reshape(1, 2), data((1,), np.int64))),
    Case(
        "ScatterElements",
        (real(3, 2).astype(ml_dtypes.bfloat16), i64(0, 0).reshape(1, 2), real(1, 2).astype(ml_dtypes.bfloat16)),
        {"reduction": "add"},
        **EXACT,
    ),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


def test_the_last_of_several_updates_of_a_place_remains():
    (y,) = alone("ScatterElements", (f32(0, 0, 0), i64(1, 1, -2), f32(5, 6, 7)))
    np.testing.assert_array_equal(y, [0, 7, 0])
    (y,) = alone("ScatterND", (f32(0, 0, 0), i64(1, 1, 1).reshape(3, 1), f32(5, 6, 7)))
    np.testing.assert_array_equal(y, [0, 7, 0])


def test_text_is_picked_and_joined():
    words = np.array([["a", ""], ["bc", "d"]], object)
    (y,) = alone("GatherElements", (words, i64(1, 0, 0, -1).reshape(2, 2)))
    np.testing.assert_array_equal(y, [["bc", ""], ["a", "d"]])
    (y,) = alone("ScatterND", (words, i64(0, 0).reshape(2, 1), words), {"reduction": "add"})
    np.testing.assert_array_equal(y, [["aabc", "d"], ["bc", "d"]])


FAR = (8, -9, 99, 2**62, -(2**62))


@pytest.mark.parametrize("index", FAR)
@pytest.mark.parametrize("options", [{}, {"qformat": "Q4.11"}, {"qformat": "Q4.11", "isa": None}], ids=str)
@pytest.mark.parametrize("operator", ["Gather", "GatherElements", "GatherND"])
def test_an_index_out_of_range_is_an_error_everywhere(operator, options, index):
    """In float32 and fixed point, with an index that is fed, that is a constant, and where all is constant."""
    indices = i64(0, index).reshape(2, *[1] * (operator == "GatherND"))
    x = np.linspace(0, 1, 8, dtype=np.float32)
    nodes = [("Relu", "x", "r"), (operator, "r i", "y")]
    fed = network(nodes, inputs={"x": [8], "i": (np.int64, list(indices.shape))}, opset=13)
    constant = network(nodes, inputs={"x": [8]}, constants={"i": indices}, opset=13)
    folded = network([(operator, "c i", "k"), ("Add", "x k", "y")], inputs={"x": [2]},
                     constants={"c": x, "i": indices}, opset=13)  # fmt: skip
    for model, feeds in ((fed, {"x": x, "i": indices}), (constant, {"x": x}), (folded, {"x": x[:2]})):
        with pytest.raises(ModelError, match=rf"\({operator}\): an index .*outside of -8..7"):
            qengine.InferenceSession(model, **options).run(None, feeds)


@pytest.mark.parametrize("index", FAR)
def test_a_write_out_of_range_is_an_error(index):
    x = np.zeros(8, np.float32)
    for operator, places in (("ScatterElements", i64(index)), ("Scatter", i64(index)), ("ScatterND", i64(index)[None])):
        refused(ModelError, f"an index is {index}, outside of -8..7", operator, (x, places, x[:1]))
    refused(ModelError, "outside", "ScatterND", (x.reshape(2, 4), i64(0, index)[None], x[:1]), {"reduction": "add"})


X = real(4, 3)


@pytest.mark.parametrize(
    ("error", "reason", "name", "inputs", "attributes", "version"),
    [
        (ModelError, "do not fit data", "GatherElements", (X, i64(0)), {}, 13),
        (ModelError, "do not fit data", "GatherElements", (X, np.zeros((1, 4), np.int64)), {}, 13),
        (ModelError, "axis 2 is out of range", "GatherElements", (X, np.zeros((4, 3), np.int64)), {"axis": 2}, 13),
        (ModelError, "axis 0 is out of range", "GatherElements", (X[0, 0:1].reshape(()), np.array(0)), {}, 13),
        (ModelError, "'x1' is float", "GatherElements", (X, X), {}, 13),
        (ModelError, "batch_dims 2 is not below", "GatherND", (X, i64(0)[None]), {"batch_dims": 2}, 13),
        (ModelError, "batch_dims -1 is not below", "GatherND", (X, i64(0)[None]), {"batch_dims": -1}, 13),
        (ModelError, "differ in their batch axes", "GatherND", (X, i64(0)[None]), {"batch_dims": 1}, 13),
        (ModelError, "name 3 axes", "GatherND", (X, i64(0, 0, 0)[None]), {}, 13),
        (ModelError, "name 0 axes", "GatherND", (X, np.zeros((2, 0), np.int64)), {}, 13),
        (ModelError, "differ in shape", "ScatterElements", (X, np.zeros((1, 3), np.int64), X), {}, 13),
        (ModelError, r"updates .* do not fit; \[2, 3\]", "ScatterND", (X, i64(0, 1)[:, None], X), {}, 13),
        (ModelError, "'mean' is not one of none", "ScatterND", (X, i64(0)[None], X[:1]), {"reduction": "mean"}, 18),
        (UnsupportedError, "'mul' of object", "ScatterND", (np.array(["a"], object), i64(0)[None],
                                                            np.array(["b"], object)), {"reduction": "mul"}, 18),
    ],
)  # fmt: skip
def test_what_is_refused(error, reason, name, inputs, attributes, version):
    refused(error, reason, name, inputs, attributes, version)
