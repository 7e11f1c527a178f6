"""Every option that names a file to read refuses a named pipe and a device in one line, and does not wait for them."""

import os

import pytest
from onnx import TensorProto, helper, save

from qengine.cli import main


@pytest.fixture
def model(tmp_path):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 2, 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "m.onnx")
    return str(tmp_path / "m.onnx")


_OPTIONS = {
    "model": ["run", "{pipe}", "-i", "x=1,2,3,4"],
    "npy": ["run", "{model}", "-i", "x={pipe}.npy"],
    "npz": ["run", "{model}", "-i", "x={pipe}.npz"],
    "pb": ["run", "{model}", "-i", "x={pipe}.pb"],
    "image": ["run", "{model}", "-i", "x={pipe}.png"],
    "expected": ["run", "{model}", "-i", "x=1,2,3,4", "--expected", "{pipe}.npy"],
    "formats": ["run", "{model}", "-i", "x=1,2,3,4", "--formats", "{pipe}"],
    "operators": ["run", "{model}", "-i", "x=1,2,3,4", "--operators", "{pipe}"],
    "data": ["calibrate", "{model}", "--data", "{pipe}.npz"],
    "folder": ["calibrate", "{model}", "--data", "{folder}"],
}


@pytest.mark.parametrize("arguments", _OPTIONS.values(), ids=_OPTIONS)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_in_place_of_a_file(tmp_path, capsys, model, arguments, kind):
    (tmp_path / "set").mkdir()
    for name in ("p", "p.npy", "p.npz", "p.pb", "p.png", "set/p.npy"):
        if kind == "pipe":
            os.mkfifo(tmp_path / name)
        else:
            (tmp_path / name).symlink_to("/dev/zero")
    words = [text.format(pipe=tmp_path / "p", model=model, folder=tmp_path / "set") for text in arguments]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert kind in error or "regular file" in error, error
