"""Commands that are suggested are the ones that were typed, with another value."""

import shlex

import numpy as np
import pytest
from networks import network

from qengine import cli
from qengine.cli.typed import remember, typed_with


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "m.onnx", "--qformat", "Q4.3"], "qengine run m.onnx --qformat Q0.7"),
        (["run", "m.onnx", "--qformat=Q4.3", "-o", "x.png"], "qengine run m.onnx --qformat=Q0.7 -o x.png"),
        (["run", "my model.onnx"], "qengine run 'my model.onnx' --qformat Q0.7"),
    ],
)
def test_one_value_is_replaced(words, expected):
    remember(words)
    assert typed_with("--qformat", "Q0.7") == expected


def test_the_command_that_is_suggested_runs(tmp_path, monkeypatch, capsys):
    """With its quotes, and on one line in a narrow terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    folder = tmp_path / "a folder with a name that is long, and a quote's"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(network([("Relu", "x", "y")], inputs={"x": [1, 8]}))
    np.save(folder / "x.npy", np.linspace(-0.4, 0.4, 8, dtype=np.float32)[None])
    words = ["run", str(folder / "m.onnx"), "-i", f"x={folder / 'x.npy'}", "--qformat", "Q7.0"]
    assert cli.main(words) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  qengine ")]
    command = shlex.split(line)
    assert command[:-1] == ["qengine", *words[:-1]]
    assert cli.main(command[1:]) == 0
