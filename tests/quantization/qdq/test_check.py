"""The check of what is written: a model that differs from its session is refused, by the first tensor that differs."""

import numpy as np
import onnx
import pytest
from networks import network, weights
from onnx import numpy_helper

import qengine
from qengine import cli
from qengine.errors import UnsupportedError
from qengine.quantization.qdq import check, quantized_model, recipe
from qengine.quantization.qdq.check import check_written
from qengine.runtime.options import SessionOptions

MODEL = network(
    [("Conv", "x w", "c"), ("Sigmoid", "c", "s"), ("Conv", "s v", "y")],
    constants={"w": weights(2, 3, 1, 1), "v": weights(2, 2, 1, 1, seed=8)},
)
X = np.random.default_rng(0).standard_normal((1, 3, 6, 5)).astype(np.float32)


def changed(model, name):
    """Return a model with other numbers in an initializer."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    (found,) = (one for one in other.graph.initializer if one.name == name)
    found.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(found) // 2, name))
    return other


@pytest.mark.parametrize(("name", "first"), [("w_quantized", "c"), ("v_quantized", "y")])
@pytest.mark.parametrize("data", [[{"x": X}], None], ids=["data", "made up"])
def test_other_codes_are_refused(name, first, data):
    session = qengine.InferenceSession(MODEL, qformat="Q3.4")
    model = quantized_model(session)
    assert check_written(session, model, data).startswith("read back: the same codes on ")
    with pytest.raises(UnsupportedError, match=f"other codes than the session, first in '{first}', and is not kept"):
        check_written(session, changed(model, name), data)


def test_what_cannot_be_read_back_is_refused():
    session = qengine.InferenceSession(MODEL, qformat="Q3.4")
    model = quantized_model(session)
    model.graph.node[0].op_type = "NoSuch"
    with pytest.raises(UnsupportedError, match=r"cannot be read back, and is not kept: .*NoSuch"):
        check_written(session, model, [{"x": X}])
    scaled = changed(quantized_model(session), "v_quantized")
    (scale,) = (one for one in scaled.graph.initializer if one.name == "x_scale")
    scale.CopyFrom(numpy_helper.from_array(np.float32(0.3), "x_scale"))
    with pytest.raises(UnsupportedError, match="not in fixed point"):
        check_written(session, scaled, [{"x": X}])


def test_what_is_read_back_runs_within_the_limits_of_the_session(monkeypatch):
    limits = {"max_iterations": 20_000, "max_memory": "1G", "max_elements": 90, "isa": "reference", "threads": 1}
    session = qengine.InferenceSession(MODEL, qformat="Q3.4", **limits)
    made = []
    monkeypatch.setattr(
        check, "InferenceSession", lambda *given: made.append(qengine.InferenceSession(*given)) or made[0]
    )
    assert check_written(session, quantized_model(session), [{"x": X}]).startswith("read back")
    assert made[0].options == SessionOptions(**limits)


def test_what_cannot_be_checked_is_reported():
    noise = network([("RandomNormalLike", "x", "n"), ("Add", "x n", "y")])
    found = qengine.quantize_model(noise, [{"x": X}])
    assert found.check == "not checked: the model gives other numbers in each run"
    reshaped = network([("Reshape", "x s", "y")], inputs={"x": [6], "s": (np.int64, [2])})
    found = qengine.quantize_model(reshaped, formats={"x": "Q3.4"})
    assert found.check.startswith("not checked: node 'the_y' (Reshape)")


def test_the_command_leaves_no_file_that_differs(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "quantized_model", lambda *given: changed(quantized_model(*given), "v_quantized"))
    (tmp_path / "m.onnx").write_bytes(MODEL)
    np.save(tmp_path / "x.npy", X)
    words = ["quantize", str(tmp_path / "m.onnx"), "--qformat", "Q3.4", "-o", str(tmp_path / "q.onnx")]
    assert cli.main(words) == 2
    assert "first in 'y', and is not kept" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if "q.onnx" in path.name] == []
    monkeypatch.undo()
    assert cli.main(words) == 0
    assert "read back: the same codes on a sample that was made up" in capsys.readouterr().out
    assert (tmp_path / "q.onnx").exists()
