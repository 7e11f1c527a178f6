"""Commands that are suggested can be pasted: they have what was typed."""

import shlex

import numpy as np
import pytest
from networks import network

from qengine import cli
from qengine.cli.project import origin
from qengine.cli.typed import DATA, FIXED_POINT, follow_up, remember, typed_with, with_typed


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


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["run", "m.onnx", "--data", "my photos", "--json"], "--data 'my photos'"),
        (["run", "--qformat=Q4.3", "--raw", "--bgr", "m.onnx"], "--qformat=Q4.3 --bgr"),
        (["run", "--data", "d", "--fail-under", "top1=1", "m.onnx"], "--data d"),
        (["run", "-o", "out.npz", "m.onnx", "-i", "x=1"], "-i x=1"),
        (["run", "-oout.npz", "m.onnx", "-ix=1"], "-ix=1"),
        (["run", "m.onnx", "--formats", "f.json", "--mean", "0,0,0", "--tensors"], "--formats f.json --mean 0,0,0"),
    ],
)
def test_the_next_command_keeps_the_model_and_the_data(words, options):
    remember(words)
    assert follow_up("inspect", "m.onnx", DATA | FIXED_POINT) == f"qengine inspect m.onnx {options}"
    origin.remember(names=["model"])
    assert follow_up("inspect", "m.onnx", DATA | FIXED_POINT) == f"qengine inspect {options}"
    remember(["run"])
    assert follow_up("inspect", "my m.onnx", added=["-v"]) == "qengine inspect 'my m.onnx' -v"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("m.onnx", "my net.onnx"):
        (tmp_path / name).write_bytes(network([("Relu", "x", "y")], inputs={"x": [1, 8]}))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["run", "digits"], "qengine calibrate digits --bits 8 "),
        (["run", "./my net.onnx"], "qengine calibrate './my net.onnx' --bits 8 "),
        (["export", "c", "m.onnx", "-o", "net"], "qengine calibrate m.onnx --bits 8 "),
        (["targets", "check", "m.onnx", "--target", "cmsis-nn-q7"], "qengine calibrate m.onnx --bits 8 "),
        (["compare", "m.onnx", "x.npz"], "qengine calibrate m.onnx --bits 8 "),
        (["run", "--threads", "1", "m.onnx"], "qengine calibrate m.onnx --bits 8 "),
        (["run", "m.onnx", "--data=a b"], "qengine calibrate m.onnx '--data=a b' --bits 8 "),
        (
            [
                "run",
                "m.onnx",
                "--data",
                "d",
                "--labels=l.csv",
                "--mean",
                "-1,2,3",
                "--std",
                "5",
                "--rgb",
            ],
            "qengine calibrate m.onnx --data d --labels=l.csv --mean -1,2,3 --std 5 --rgb --bits 8 ",
        ),
        (["--no-project", "run", "m.onnx", "--bgr"], "qengine calibrate m.onnx --no-project --bgr --bits 8 "),
    ],
)
def test_a_suggestion_has_what_was_typed(words, command, folder, capsys):
    np.savez(folder / "x.npz", x=np.zeros((1, 8), np.float32))
    assert cli.main([*words, "--qformat", "int8"]) == 2
    assert command in capsys.readouterr().err


def test_a_suggestion_in_a_project_leaves_the_model_to_it(folder, capsys):
    (folder / "other.toml").write_text('model = "m.onnx"\n')
    for words in (["run", "--project", "other.toml"], ["--project", "other.toml", "run"]):
        assert cli.main([*words, "--qformat", "int8"]) == 2
        assert "qengine calibrate --project other.toml --bits 8 " in capsys.readouterr().err


def test_other_texts_stay(folder, capsys):
    assert cli.main(["run", "m.onnx", "--qformat", "int8"]) == 2
    capsys.readouterr()
    for text in ("run needs MODEL", '{"note": "qengine calibrate MODEL"}', "qengine compare PACK|MODEL DUMP", ""):
        assert with_typed(text) == text
    assert with_typed("qengine targets check MODEL --target x") == "qengine targets check m.onnx --target x"
    remember([])
    assert with_typed("qengine calibrate MODEL") == "qengine calibrate MODEL"
