"""Hints about paths that lead nowhere, and about models of other tools."""

import pytest

from qengine.near_files import missing_file, models_in, other_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my models").mkdir()
    for name in ("my models/net.onnx", "my models/other net.onnx", "formats.json", "photo.png"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("my models/nte.onnx", "; did you mean 'my models/net.onnx'?"),
        ("my model/net.onnx", "; did you mean 'my models/net.onnx'?"),
        ("my models/net", "; did you mean 'my models/net.onnx'?"),
        ("my models\\net.onnx", "; did you mean 'my models/net.onnx'?"),
        ("format.json", "; did you mean formats.json?"),
        ("formats.jsn", "; did you mean formats.json?"),
        ("'formats.json'", ": its quotes or blanks are part of the name; give formats.json"),
        ('"formats.json"', ": its quotes or blanks are part of the name; give formats.json"),
        (" formats.json", ": its quotes or blanks are part of the name; give formats.json"),
        ("*.jpg", ": no file matches the pattern"),
        ("srcn", "; did you mean srcnn?"),
        ("quite another name", ""),
        ("no/such/folder/net.onnx", ""),
        ("", ""),
        ("x" * 5000, ""),
        ("a\0b", ""),
    ],
)
def test_what_may_be_meant(path, hint, folder):
    assert missing_file(path, ["srcnn", "digits"]) == hint


def test_a_tilde_that_no_shell_expanded(folder):
    assert missing_file("~/formats.json") == f": the shell did not expand ~; give {folder / 'formats.json'}"


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("a.pt", "torch.onnx.export"),
        ("a.PTH", "torch.onnx.export"),
        ("a.safetensors", "torch.onnx.export"),
        ("a b.h5", "tf2onnx.convert --keras 'a b.h5'"),
        ("a.keras", "tf2onnx.convert --keras a.keras"),
        ("a.tflite", "tf2onnx.convert --tflite a.tflite"),
        ("a.pb", "--graphdef a.pb"),
        ("a.pkl", "skl2onnx.to_onnx"),
    ],
)
def test_models_of_other_tools(path, part):
    assert part in other_model(path)
    assert other_model(path).startswith("qengine reads ONNX; write it with ")


@pytest.mark.parametrize("path", ["a.onnx", "a", "", "pt"])
def test_other_paths(path):
    assert other_model(path) == ""


def test_models_in_a_folder(folder):
    assert models_in(folder / "my models").startswith(f"; it has '{folder}/my models/net.onnx', ")
    assert models_in(folder) == ""
    for i in range(3):
        (folder / f"{i}.onnx").write_bytes(b"")
    (folder / "3.ONNX").write_bytes(b"")
    assert models_in(folder).endswith(" and others")
