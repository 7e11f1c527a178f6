"""`qengine export vectors` writes a pack, and shows what its vectors reach and detect."""

import json

import numpy as np
import pytest
from vector_nets import mixed

from qengine import Pack, cli


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(mixed())
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(4, 3, 6, 5)).astype(np.float32))
    return str(path)


def export(*words):
    return cli.main(["export", "vectors", *map(str, words)])


def test_a_pack_and_its_tables(model, tmp_path, capsys):
    out = tmp_path / "pack"
    data = ["--data", tmp_path / "data.npz", "--limit", 2]
    words = [model, "--qformat", "Q2.5", *data, "-o", out, "--as", "hex", "--edges", 2]
    assert export(*words, "--lanes", 2, "--element-order", "nhwc", "--target", "cmsis-nn-q7") == 0
    printed = capsys.readouterr().out
    assert "2 samples, 2 edge vectors" in printed
    assert "mutation score: " in printed
    assert f"wrote {out}" in printed
    pack = Pack.read(out)
    assert pack.samples == ("s0", "s1", "e0", "e1")
    assert pack.manifest["target"] == "cmsis-nn-q7"
    assert pack.manifest["files"] == {"kinds": ["npy", "hex"], "layout": "nhwc", "lanes": 2, "first_lane": "low"}
    assert "axis0 axis2 axis3 axis1" in (out / "t/s0/r.hex").read_text().splitlines()[0]
    assert pack.operators["the_y"]["rules"]["rounding"] == "half_up"


def test_json(model, tmp_path, capsys):
    out = tmp_path / "pack"
    words = [model, "--qformat", "Q2.5", "-i", f"x={tmp_path / 'x.npy'}", "-o", out, "--no-operator-vectors"]
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 6, 5), np.float32))
    assert export(*words, "--edges", 1, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record) == {
        "model",
        "out",
        "samples",
        "tensors",
        "operators",
        "mutation_score",
        "preprocessing",
        "notes",
    }
    assert {one["name"] for one in record["operators"]} == {"the_c", "the_a", "the_p", "the_f", "the_y"}
    assert not any(one["vectors"] for one in record["operators"])
    assert record["mutation_score"]["faults"] >= record["mutation_score"]["detected_by_data"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "vectors are codes of a run in fixed point"),
        (["--qformat", "Q2.5"], "--data is needed"),
        (["--qformat", "Q2.5", "--as", "vhdl"], "no files of the kind 'vhdl'"),
        (["--qformat", "Q2.5", "--element-order", "chw"], "element order 'chw' is not"),
    ],
)
def test_what_is_refused(model, tmp_path, capsys, words, message):
    assert export(model, *words, "-o", tmp_path / "pack") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "pack").exists()


def test_a_folder_of_something_else_is_refused_first(model, tmp_path, capsys):
    assert export(model, "--qformat", "Q2.5", "-o", tmp_path) == 2
    assert "the folder holds something else" in capsys.readouterr().err
    assert export(model, "--qformat", "Q2.5", "-o", tmp_path / "a" / "b") == 2
    assert "there is no folder" in capsys.readouterr().err


def test_help(capsys):
    assert cli.main(["export", "--help"]) == 0
    assert "vectors" in capsys.readouterr().out
    assert cli.main(["export", "vectors", "--help"]) == 0
    assert "--element-order" in capsys.readouterr().out
    assert cli.main(["export", "nothing"]) == 2
