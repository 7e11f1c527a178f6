"""What a session is fed, and what comes of it."""

import numpy as np
import onnx
import pytest
from networks import network, run_onnxruntime, weights

from qengine import InferenceSession
from qengine.errors import FeedError

X = weights(1, 3, 6, 5, seed=1, scale=2.0)
SMALL = network(
    [("Conv", "x W", "c"), ("Relu", "c", "y")],
    inputs={"x": ["N", 3, "H", "W"]},
    constants={"W": weights(4, 3, 3, 3)},
)


# --- overridden initializers


def test_an_override_is_used_for_one_run():
    model = network(
        [("Conv", "x W", "y")],
        inputs={"x": ["N", 3, 6, 5]},
        constants={"W": weights(4, 3, 3, 3)},
        overridable=["W"],
    )
    s = InferenceSession(model)
    other = weights(4, 3, 3, 3, seed=9)
    for feeds in ({"x": X}, {"x": X, "W": other}, {"x": X}, {"W": other, "x": X}):
        np.testing.assert_allclose(s.run(None, feeds)[0], run_onnxruntime(model, feeds)[0], atol=1e-5)
    kept = other.copy()
    (wanted,) = s.run(None, {"x": X, "W": other})
    other[...] = 100  # the session must not have kept the caller's array
    np.testing.assert_array_equal(s.run(None, {"x": X, "W": kept})[0], wanted)
    np.testing.assert_array_equal(s.run(None, {"x": 2 * X, "W": kept})[0], 2 * wanted)


def test_an_override_in_fixed_point_has_its_own_format():
    model = network([("MatMul", "x W", "y")], inputs={"x": [1, 3]}, constants={"W": weights(3, 4)}, overridable=["W"])
    s = InferenceSession(model, qformat="Q4.11")
    large = weights(3, 4, seed=9) * 20
    x = np.float32([[0.25, 0.125, 0.0625]])
    np.testing.assert_allclose(s.run(None, {"x": x, "W": large})[0], x @ large, atol=5e-3)
    np.testing.assert_allclose(s.run(None, {"x": x})[0], x @ weights(3, 4), atol=1e-3)
    assert s.formats["W"].fraction_bits > 12


def test_an_override_of_another_length():
    model = network(
        [("Concat", "x k", "y", {"axis": 0})], inputs={"x": [2]}, constants={"k": [1.0, 2.0]}, overridable=["k"]
    )
    proto = onnx.load_from_string(model)
    proto.graph.input[1].type.tensor_type.shape.dim[0].dim_param = "K"
    s = InferenceSession(proto.SerializeToString())
    assert s.get_overridable_initializers()[0].shape == ["K"]
    feeds = {"x": np.zeros(2, np.float32), "k": np.ones(5, np.float32)}
    assert s.run(None, feeds)[0].tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert s.run(None, {"x": feeds["x"]})[0].tolist() == [0, 0, 1, 2]


def test_an_override_that_decides_a_shape():
    model = network(
        [("Reshape", "x shape", "y")], inputs={"x": [6]}, constants={"shape": [2, 3]}, overridable=["shape"]
    )
    s = InferenceSession(model, qformat="Q4.3")
    x = np.arange(6, dtype=np.float32)
    assert s.run(None, {"x": x})[0].shape == (2, 3)
    assert s.run(None, {"x": x, "shape": np.array([3, 2])})[0].shape == (3, 2)
    assert s.run(None, {"x": x})[0].shape == (2, 3)


def test_an_override_of_the_wrong_kind():
    model = network([("Add", "x k", "y")], constants={"k": [1.0] * 5}, overridable=["k"])
    s = InferenceSession(model)
    with pytest.raises(FeedError, match=r"^input 'k' needs dtype float32, not float64"):
        s.run(None, {"x": X, "k": np.ones(5)})
    with pytest.raises(FeedError, match=r"^input 'k' needs shape \[5\], not \[4\]"):
        s.run(None, {"x": X, "k": np.ones(4, np.float32)})


# --- other element types


@pytest.mark.parametrize("options", [{}, {"qformat": "Q4.11"}])
def test_a_model_of_doubles(options):
    w = weights(4, 3).astype(np.float64)
    model = network(
        [("MatMul", "x W", "m"), ("Add", "m b", "a"), ("Sigmoid", "a", "y")],
        inputs={"x": (np.float64, [2, 4])},
        constants={"W": w, "b": weights(3).astype(np.float64)},
    )
    x = weights(2, 4, seed=2).astype(np.float64)
    (y,) = InferenceSession(model, **options).run(None, {"x": x})
    wanted = 1 / (1 + np.exp(-(x @ w + weights(3))))
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, wanted, atol=2e-3 if options else 1e-14)


@pytest.mark.parametrize("options", [{}, {"qformat": "Q4.11"}])
def test_a_model_of_halves(options):
    def build(dtype):
        return network(
            [
                ("Conv", "x W b", "c"),
                ("BatchNormalization", "c g h m v", "n"),
                ("Relu", "n", "r"),
                ("GlobalAveragePool", "r", "p"),
                ("Flatten", "p", "f"),
                ("Softmax", "f", "y"),
            ],
            inputs={"x": (dtype, ["N", 3, 6, 5])},
            constants={
                "W": weights(4, 3, 3, 3).astype(dtype),
                **{name: weights(4, seed=i).astype(dtype) for i, name in enumerate("bghm")},
                "v": np.ones(4, dtype),
            },
            outputs=["y", "r"],
        )

    y, r = InferenceSession(build(np.float16), **options).run(None, {"x": X.astype(np.float16)})
    assert y.dtype == r.dtype == np.float16
    wanted = InferenceSession(build(np.float32)).run(None, {"x": X.astype(np.float16).astype(np.float32)})
    np.testing.assert_allclose(y, wanted[0], atol=1e-2)
    np.testing.assert_allclose(r, wanted[1], atol=2e-2)


def test_statistics_wider_than_the_halves_they_normalize():
    parameters = {name: weights(3, seed=i) ** 2 + 0.5 for i, name in enumerate("ghmv")}
    model = network(
        [("BatchNormalization", "x g h m v", "y")],
        inputs={"x": (np.float16, [1, 3, 6, 5])},
        constants=parameters,
    )
    x = X.astype(np.float16)
    (y,) = InferenceSession(model).run(None, {"x": x})
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, run_onnxruntime(model, {"x": x})[0], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("options", [{}, {"qformat": "UQ0.8"}])
def test_an_image_of_bytes(options):
    model = network(
        [("Cast", "x", "real", {"to": 1}), ("Div", "real most", "y")],
        inputs={"x": (np.uint8, [1, 3, "H", "W"])},
        constants={"most": 255.0},
    )
    x = np.random.default_rng(0).integers(0, 256, (1, 3, 4, 5)).astype(np.uint8)
    formats = {"formats": {"real": "UQ8.0"}} if options else {}
    s = InferenceSession(model, **options, **formats)
    np.testing.assert_allclose(s.run(None, {"x": x})[0], x / 255, atol=1 / 256 if options else 1e-7)
    assert "x" not in s.formats
    with pytest.raises(FeedError, match=r"^input 'x' needs dtype uint8, not float32"):
        s.run(None, {"x": x.astype(np.float32)})


# --- feeds


FEED_ERRORS = {
    "missing": ({}, r"^no feed for input 'x' \(float32 \[N, 3, H, W\]\)$"),
    "unknown": ({"x": X, "z": X}, r"^the model has no input 'z'; its inputs are 'x'$"),
    "dtype": ({"x": X.astype(np.float64)}, r"^input 'x' needs dtype float32, not float64: convert it with "),
    "integers": ({"x": X.astype(np.int64)}, r"^input 'x' needs dtype float32, not int64: convert it with "),
    "rank": ({"x": X[0]}, r"^input 'x' needs 4 axes \[N, 3, H, W\], not 3: \[3, 6, 5\]$"),
    "a number": ({"x": 1.0}, r"^input 'x' needs 4 axes .* not 0: \[\]$"),
    "shape": ({"x": X[:, :2]}, r"^input 'x' needs shape \[N, 3, H, W\], not \[1, 2, 6, 5\]$"),
    "text": ({"x": "zero"}, r"^input 'x' needs dtype float32, not "),
    "none": ({"x": None}, r"^input 'x' needs dtype float32, not object$"),
    "ragged": ({"x": [[1.0], [1.0, 2.0]]}, r"^input 'x' needs an array of float32, not list$"),
    "objects": ({"x": X.astype(object)}, r"^input 'x' needs dtype float32, not object$"),
    "complex": ({"x": X.astype(np.complex64)}, r"^input 'x' needs dtype float32, not complex64$"),
    "no mapping": (X, r"^feeds must be a mapping of input names to arrays, not ndarray$"),
    "a list": ([X], r"^feeds must be a mapping of input names to arrays, not list$"),
}


@pytest.mark.parametrize("kind", FEED_ERRORS)
def test_feeds_that_do_not_fit(kind):
    feeds, message = FEED_ERRORS[kind]
    with pytest.raises(FeedError, match=message):
        InferenceSession(SMALL).run(None, feeds)


def test_every_missing_feed_is_named():
    model = network([("Add", "a b", "y")], inputs={"a": [1], "b": [1]})
    with pytest.raises(FeedError, match=r"^no feed for input 'a' \(float32 \[1\]\), 'b' \(float32 \[1\]\)$"):
        InferenceSession(model).run(None, {})


def test_feeds_that_fit():
    s = InferenceSession(SMALL)
    (wanted,) = s.run(None, {"x": X})
    strided = np.asfortranarray(np.repeat(X, 2, axis=3))[..., ::2]
    read_only = X.copy()
    read_only.flags.writeable = False
    for feed in (X.tolist(), tuple(X.tolist()), X.astype(X.dtype.newbyteorder()), strided, read_only):
        np.testing.assert_array_equal(s.run(None, {"x": feed})[0], wanted)


@pytest.mark.parametrize(
    ("dtype", "feed", "wanted"),
    [
        (np.float32, 2, 2.0),
        (np.float32, True, 1.0),
        (np.float64, 0.1, 0.1),
        (np.int64, 7, 7),
        (np.uint8, 255, 255),
        (bool, True, True),
        (np.float32, np.float32(0.5), 0.5),
        (np.int32, np.array(3, ">i4"), 3),
    ],
)
def test_feeds_without_an_axis(dtype, feed, wanted):
    model = network([("Identity", "x", "y")], inputs={"x": (dtype, [])})
    (y,) = InferenceSession(model).run(None, {"x": feed})
    np.testing.assert_array_equal(y, np.array(wanted, dtype), strict=True)


@pytest.mark.parametrize(
    ("dtype", "feed"),
    [
        (np.int64, [1.5]),
        (np.int64, [1.0]),
        (np.uint8, [256]),
        (np.uint8, [-1]),
        (bool, [1]),
        (np.int64, [2**70]),
        (np.float32, ["1"]),
        (np.float32, [1j]),
        (np.float32, [None]),
    ],
)
def test_lists_that_would_lose_something(dtype, feed):
    model = network([("Identity", "x", "y")], inputs={"x": (dtype, [1])})
    with pytest.raises(FeedError, match=r"^input 'x' needs "):
        InferenceSession(model).run(None, {"x": feed})


def test_an_empty_list():
    model = network([("Identity", "x", "y")], inputs={"x": (np.int64, ["N"])})
    (y,) = InferenceSession(model).run(None, {"x": []})
    np.testing.assert_array_equal(y, np.zeros(0, np.int64), strict=True)
