import numpy as np
import onnx
import pytest
from networks import network, onnxruntime_session, run_onnxruntime, weights

import qengine
from qengine import InferenceSession, threads
from qengine.errors import FormatError, OptionError, UnsupportedError

X = weights(1, 3, 6, 5, seed=1, scale=2.0)
SMALL = network(
    [("Conv", "x W", "c"), ("Relu", "c", "y")],
    inputs={"x": ["N", 3, "H", "W"]},
    constants={"W": weights(4, 3, 3, 3)},
)
TYPES = [np.float32, np.float64, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.uint16, bool]


# --- what a model says of itself


@pytest.mark.parametrize("dtype", TYPES)
def test_types_and_shapes_are_those_of_onnxruntime(dtype):
    model = network(
        [("Identity", "x", "y"), ("Shape", "x", "s"), ("Identity", "x", "z")],
        inputs={"x": (dtype, ["N", None, 3]), "other": (dtype, [])},
        outputs=["y", "s", "z"],
        values={"y": (dtype, ["N", None, 3]), "s": (np.int64, [3]), "z": (dtype, ["N", 7, 3])},
    )
    ours, theirs = InferenceSession(model), onnxruntime_session(model)
    for found, wanted in (
        (ours.get_inputs(), theirs.get_inputs()),
        (ours.get_outputs(), theirs.get_outputs()),
        (ours.get_overridable_initializers(), theirs.get_overridable_initializers()),
    ):
        assert [(a.name, a.shape, a.type) for a in found] == [(a.name, a.shape, a.type) for a in wanted]


def test_initializers_that_are_inputs_too():
    model = network(
        [("Conv", "x W", "y")],
        inputs={"x": ["N", 3, 6, 5]},
        constants={"W": weights(4, 3, 3, 3)},
        overridable=["W"],
    )
    ours, theirs = InferenceSession(model), onnxruntime_session(model)
    assert [a.name for a in ours.get_inputs()] == ["x"]
    (found,), (wanted,) = ours.get_overridable_initializers(), theirs.get_overridable_initializers()
    assert (found.name, found.shape, found.type) == (wanted.name, wanted.shape, wanted.type)


def test_a_rank_that_is_open():
    model = network([("Relu", "x", "y")], inputs={"x": (np.float32, None)})
    s = InferenceSession(model)
    assert s.get_inputs()[0].shape is None
    for shape in ((), (3,), (1, 2, 3)):
        (y,) = s.run(None, {"x": -np.ones(shape, np.float32)})
        np.testing.assert_array_equal(y, np.zeros(shape, np.float32), strict=True)


# --- what is run


def test_models_come_as_path_bytes_or_message(tmp_path):
    path = tmp_path / "small.onnx"
    path.write_bytes(SMALL)
    wanted = run_onnxruntime(SMALL, {"x": X})[0]
    for model in (path, str(path), SMALL, onnx.load_from_string(SMALL)):
        np.testing.assert_allclose(InferenceSession(model).run(None, {"x": X})[0], wanted, atol=1e-5)


@pytest.mark.parametrize("names", [None, [], ["y"], ("y",)])
def test_outputs_by_default(names):
    (y,) = InferenceSession(SMALL).run(names, {"x": X})
    np.testing.assert_allclose(y, run_onnxruntime(SMALL, {"x": X})[0], atol=1e-5)


def test_outputs_in_the_order_of_the_names_and_as_often():
    s = InferenceSession(SMALL)
    y, c, y2, x, y3 = s.run(["y", "c", "y", "x", "y"], {"x": X})
    np.testing.assert_array_equal(np.maximum(c, 0), y)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y2, y)
    assert not np.shares_memory(y, y2)
    assert not np.shares_memory(y2, y3)


def test_a_tensor_that_the_model_does_not_have():
    with pytest.raises(OptionError, match=r"^the model has no tensor 'conv_out'$"):
        InferenceSession(SMALL).run(["y", "conv_out"], {"x": X})
    model = network([("Relu", "x", "relu1"), ("Relu", "relu1", "y")])
    with pytest.raises(OptionError, match=r"^the model has no tensor 'relu_1'; did you mean 'relu1'"):
        InferenceSession(model).run(["relu_1"], {"x": X})
    for names in ([3], 3, [["y"]], {"y"}):
        with pytest.raises(OptionError, match=r"^output_names is a list of names, or None, not "):
            InferenceSession(model).run(names, {"x": X})
    with pytest.raises(OptionError, match=r"output_names is a list of names: give \['y'\]"):
        InferenceSession(SMALL).run("y", {"x": X})


def test_raw_codes():
    s = InferenceSession(SMALL, qformat="Q4.3")
    (codes,) = s.run(None, {"x": X}, raw=True)
    (y,) = s.run(None, {"x": X})
    assert codes.dtype == np.int8
    assert y.dtype == np.float32
    np.testing.assert_array_equal(qengine.dequantize(codes, "Q4.3"), y)
    (y,) = InferenceSession(SMALL).run(None, {"x": X}, raw=True)
    assert y.dtype == np.float32


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_threads_change_no_bit(threads):
    model = network(
        [("Conv", "x W", "y", {"pads": [1, 1, 1, 1]})],
        inputs={"x": [1, 16, 40, 40]},
        constants={"W": weights(16, 16, 3, 3)},
    )
    feeds = {"x": weights(1, 16, 40, 40, seed=2)}
    (wanted,) = InferenceSession(model, qformat="Q3.12").run(None, feeds, raw=True)
    (found,) = InferenceSession(model, qformat="Q3.12", threads=threads).run(None, feeds, raw=True)
    np.testing.assert_array_equal(found, wanted)
    (real,) = InferenceSession(model, threads=threads).run(None, feeds)
    np.testing.assert_allclose(real, run_onnxruntime(model, feeds)[0], atol=1e-4)


def test_the_limit_of_threads_lasts_for_the_run_only():
    s = InferenceSession(SMALL, threads=1)

    def blas():
        return [pool["num_threads"] for pool in threads.BLAS._pools.info() if pool["user_api"] == "blas"]

    s.run(None, {"x": X})
    before = blas()
    with s.limited():
        assert set(blas()) <= {1}
    assert blas() == before
    # Runs that overlap, as threads have them: the limit goes with the last of them.
    first, second = s.limited(), s.limited()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(blas()) <= {1}
    second.__exit__(None, None, None)
    assert blas() == before


# --- options


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threads": 0}, OptionError, "^threads must be a whole number, 1 to 1024, not 0"),
        ({"threads": 10**20}, OptionError, "^threads must be a whole number, 1 to 1024"),
        ({"isa": ""}, OptionError, "^no isa is named ''"),
        ({"formats": {5: "Q4.3"}}, FormatError, "^formats are given by the names of tensors, not by 5"),
        ({"threads": 1.5}, OptionError, "^threads must be a whole number"),
        ({"max_elements": 0}, OptionError, "^max_elements must be a whole number, 1 or more"),
        ({"qformat": "Q4.3", "accumulator_bits": 1}, OptionError, r"^accumulator_bits .* 2 to 64, not 1"),
        ({"qformat": "Q4.3", "accumulator_bits": 65}, OptionError, r"2 to 64, not 65"),
        ({"qformat": "Q4.3", "accumulator_bits": "16"}, OptionError, r"2 to 64, not '16'"),
        ({"qformat": "Q4.3", "rounding": "up"}, FormatError, "no rounding is named 'up'; did you mean 'half_up'"),
        ({"qformat": "Q4.3", "overflow": "clamp"}, FormatError, "no overflow is named 'clamp'"),
        ({"qformat": "4.3"}, FormatError, r"did you mean Q4\.3"),
        ({"qformat": 8}, OptionError, "^qformat must be a format such as Q4.3, not 8"),
        ({"qformat": "Q4.3", "weight_qformat": 8}, OptionError, "^weight_qformat must be a format"),
        ({"formats": ["Q4.3"]}, OptionError, "^formats must be a mapping of tensor names or a path, not list"),
        (
            {"weight_qformat": "Q0.7"},
            OptionError,
            "weight_qformat has no meaning in float32: give a",
        ),
        ({"per_channel": True}, OptionError, "per_channel has no meaning in float32"),
        ({"strict": True}, OptionError, "strict has no meaning in float32"),
        ({"accumulator_bits": 16}, OptionError, "accumulator_bits has no meaning in float32"),
        ({"rounding": "floor"}, OptionError, "rounding has no meaning in float32"),
        ({"overflow": "wrap"}, OptionError, "overflow has no meaning in float32"),
        ({"isa": "avx9000"}, OptionError, "^no isa is named 'avx9000'; here there are .*generic, reference"),
        ({"formats": {}}, FormatError, "^no format for 'x', 'c', 'y'"),
    ],
)
def test_options_that_have_no_meaning(options, error, message):
    with pytest.raises(error, match=message):
        InferenceSession(SMALL, **options)


def test_the_kernels_may_be_forced(monkeypatch):
    InferenceSession(SMALL, isa="reference")
    monkeypatch.setenv("QENGINE_ISA", "reference")
    InferenceSession(SMALL)
    monkeypatch.setenv("QENGINE_ISA", "avx9000")
    with pytest.raises(OptionError, match=r"^no isa is named 'avx9000'"):
        InferenceSession(SMALL)
    InferenceSession(SMALL, isa="reference")  # what is given counts more
    monkeypatch.setenv("QENGINE_ISA", "")
    InferenceSession(SMALL)


def test_formats_may_be_objects():
    form = qengine.QFormat(4, 3)
    (wanted,) = InferenceSession(SMALL, qformat="Q4.3").run(None, {"x": X}, raw=True)
    (found,) = InferenceSession(SMALL, qformat=form, rounding=qengine.Rounding.HALF_EVEN).run(None, {"x": X}, raw=True)
    np.testing.assert_array_equal(found, wanted)


def test_an_accumulator_that_wraps():
    model = network([("MatMul", "x W", "y")], inputs={"x": [1, 4]}, constants={"W": np.ones((4, 1), np.float32)})
    s = InferenceSession(model, qformat="Q7.0", weight_qformat="Q7.0", accumulator_bits=6)
    assert s.run(None, {"x": np.float32([[10, 10, 10, 10]])})[0].tolist() == [[-24]]
    assert InferenceSession(model, qformat="Q7.0").run(None, {"x": np.float32([[10] * 4])})[0].tolist() == [[40]]


def test_operators_that_do_not_exist_are_refused_at_once():
    model = network([("NoSuch", "x", "y")])
    with pytest.raises(UnsupportedError, match="NoSuch"):
        InferenceSession(model)


def test_constants_are_answered_as_the_run_reads_them():
    """The codes of weights are what a simulation of the hardware needs, with the BatchNormalization that went in."""
    w, scale = weights(4, 3, 3, 3), np.float32([1, 2, 0.5, -4])
    model = network(
        [("Conv", "x W b", "c"), ("BatchNormalization", "c scale zero zero one", "y", {"epsilon": 0.0})],
        constants={"W": w, "b": [1.0] * 4, "scale": scale, "zero": [0.0] * 4, "one": [1.0] * 4},
    )
    folded = w * scale[:, None, None, None]
    s = InferenceSession(model, qformat="Q3.4", per_channel=True)
    codes, b = s.run(["W", "b"], {"x": X}, raw=True)
    (real,) = s.run(["W"], {"x": X})
    for channel, form in enumerate(s.formats["W"].formats):
        np.testing.assert_array_equal(codes[channel], qengine.quantize(folded[channel], form), strict=True)
        np.testing.assert_array_equal(real[channel], qengine.dequantize(codes[channel], form), strict=True)
    assert b.tolist() == [1.0] * 4  # a bias has no format
    (plain,) = InferenceSession(model).run(["W"], {"x": X})
    np.testing.assert_array_equal(plain, w)


def test_a_constant_that_became_several_is_answered_as_the_model_has_it():
    model = network(
        [("Gemm", "x B", "a", {"alpha": 0.5}), ("Gemm", "x B", "b", {"alpha": 0.25}), ("Add", "a b", "y")],
        inputs={"x": [1, 2]},
        constants={"B": [[1.0], [3.0]]},
    )
    (found,) = InferenceSession(model, qformat="Q3.4").run(["B"], {"x": np.ones((1, 2), np.float32)}, raw=True)
    assert found.tolist() == [[1.0], [3.0]]
