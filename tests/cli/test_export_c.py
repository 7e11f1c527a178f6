"""`qengine export c` writes C, shows what it takes, and refuses in one line what it cannot write."""

import json

import numpy as np
import pytest
from deploy.c.running import needs_gcc
from deploy.c.small_nets import classifier, functions

from qengine import CProject, cli


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "small.onnx"
    path.write_bytes(classifier())
    return str(path)


def export(*words):
    return cli.main(["export", "c", *map(str, words)])


def test_a_folder_and_its_table(model, tmp_path, capsys):
    out = tmp_path / "net"
    np.save(tmp_path / "x.npy", np.ones((1, 2, 6, 6), np.float32))
    words = ["--qformat", "Q3.4", "--target", "cmsis-nn-q7", "-i", f"net_image={tmp_path / 'x.npy'}", "--ram", "64K"]
    assert export(model, *words, "-o", out, "--name", "kws", "--check", 2) == 0
    printed = capsys.readouterr().out
    assert "5 operators in C" in " ".join(printed.split())
    assert "nothing can be below" in printed
    assert "(estimates)" in printed
    assert "note: input 'net_image' takes" not in printed
    assert f"wrote {out}\nfiles: CMakeLists.txt, " in printed
    table = printed.split("\n\n")[0].splitlines()
    assert len(table) >= 8
    assert max(map(len, table)) <= 80
    project = CProject.read(out)
    assert project.manifest["target"] == "cmsis-nn-q7"
    assert project.manifest["check"]["known_answer"] == "data"
    assert project.manifest["command"] == (
        "qengine export c small.onnx --name kws --check 2 --ram 64K --qformat Q3.4 --target cmsis-nn-q7 "
        "-i net_image=x.npy"
    )
    assert str(tmp_path) not in "".join(path.read_text() for path in out.iterdir())


@needs_gcc
def test_json(model, tmp_path, capsys):
    out = tmp_path / "net"
    assert export(model, "--qformat", "Q3.4", "-o", out, "--verify", "--one-file", "--drop-softmax", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record) == {
        "model",
        "out",
        "name",
        "files",
        "memory",
        "flash",
        "macs",
        "instructions",
        "operators",
        "compiled",
        "verified",
        "notes",
        "preprocessing",
    }
    assert record["verified"]["equal"]
    assert record["verified"]["tensors"] == 5
    assert record["macs"] == sum(one["macs"] for one in record["operators"]) == 4 * 36 * 18 + 36 * 5
    assert "net_weights.c" not in record["files"]
    assert any("Softmax 'soft' is left out" in note for note in record["notes"])


@needs_gcc
def test_a_difference_ends_with_1(model, tmp_path, capsys, monkeypatch):
    from qengine.deploy.c import golden

    def run(self, codes, *, real=golden.Golden.run):
        return {name: array ^ (name == "logits") for name, array in real(self, codes).items()}

    monkeypatch.setattr(golden.Golden, "run", run)
    assert export(model, "--qformat", "Q3.4", "-o", tmp_path / "net", "--verify") == 1
    assert "'logits' (Gemm fc) differs on zeros: 5 of 5 codes" in capsys.readouterr().out.replace("\n", " ")


def test_shapes_and_bundled_models(tmp_path, capsys):
    path = tmp_path / "f.onnx"
    path.write_bytes(functions(shape=("N", 3, "L")))
    assert export(path, "--qformat", "Q3.4", "-o", tmp_path / "net", "--shape", "x=2,3,7") == 0
    assert CProject.read(tmp_path / "net").tensors["y"]["shape"] == [2, 7, 3]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "C computes codes of a run in fixed point"),
        (["--qformat", "Q3.4", "--name", "a-b"], "name 'a-b' is not an identifier of C"),
        (["--qformat", "Q3.4", "--ram", "50"], "the arena needs"),
        (["--qformat", "Q3.4", "--ram", "lots"], "ram must be a number of bytes"),
        (["--qformat", "Q3.4", "--shape", "image=1"], "no input 'image'"),
        (["--qformat", "Q3.4", "--shape", "net_image=1,2,7,7"], "has shape N,2,6,6"),
        (["--qformat", "Q3.4", "--data", "missing.npz"], "missing.npz"),
        (["--islands", "softmax", "--qformat", "Q3.4"], "C cannot compute this model: Softmax 'soft'"),
    ],
)
def test_what_is_refused(model, tmp_path, capsys, words, message):
    assert export(model, *words, "-o", tmp_path / "net") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "net").exists()


def test_a_folder_of_something_else_is_refused_first(model, tmp_path, capsys):
    assert export(model, "--qformat", "Q3.4", "-o", tmp_path) == 2
    assert "the folder holds something else" in capsys.readouterr().err


def test_help(capsys):
    assert cli.main(["export", "--help"]) == 0
    assert "Write a network as C99" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert cli.main(["export", "c", "--help"]) == 0
    assert "--drop-softmax" in capsys.readouterr().out
