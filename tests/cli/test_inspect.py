"""`qengine inspect` prints what the library finds, and nothing is run."""

import json
import re

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, cli, zoo
from qengine.analysis.inspection import inspect_model

SOFT = network(
    [("Conv", "x w", "c"), ("Relu", "c", "r"), ("Mod", "r half", "y", {"fmod": 1})],
    inputs={"x": ["N", 3, "H", "W"]},
    constants={"w": weights(4, 3, 3, 3), "half": 0.5},
)
KEYS = {
    "model", "name", "opsets", "inputs", "outputs", "operators", "nodes", "tensors", "parameters", "parameter_bytes",
    "macs", "islands", "delegated", "unsupported", "qformat", "weight_qformat", "formats_file", "target", "per_channel",
    "warnings",
}  # fmt: skip


@pytest.fixture
def soft(tmp_path):
    path = tmp_path / "soft.onnx"
    path.write_bytes(SOFT)
    return str(path)


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("inspect ran the model")

    monkeypatch.setattr(InferenceSession, "run", refuse)
    monkeypatch.setattr("qengine.runtime.plan.plan.Plan.trace", refuse)


def printed(capsys, *words):
    assert cli.main(["inspect", *words]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    return found.out


def test_json(capsys, soft):
    told = json.loads(printed(capsys, soft, "--shape", "x=1,3,8,7", "--qformat", "Q3.4", "--json"))
    assert told.keys() == KEYS
    assert (told["model"], told["name"], told["opsets"]) == (soft, "network", {"": 17})
    assert told["macs"] == 6 * 5 * 4 * 27
    assert (told["parameters"], told["parameter_bytes"]) == (109, 436)
    assert told["islands"] == ["node 'the_y' (Mod)"]
    assert (told["delegated"], told["unsupported"]) == ([], [])
    assert (told["qformat"], told["per_channel"], told["formats_file"]) == ("Q3.4", False, None)
    assert told["operators"][0] == {"operator": "Conv", "domain": "", "kind": "integer", "count": 1, "macs": 3240}
    assert told["inputs"] == [
        {"name": "x", "computed_by": "input", "dtype": "float32", "shape": [1, 3, 8, 7], "format": "Q3.4"}
    ]
    assert {one["name"]: one["shape"] for one in told["tensors"]} == {
        "x": [1, 3, 8, 7],
        "w": [4, 3, 3, 3],
        "half": [],
        **{name: [1, 4, 6, 5] for name in "cry"},
    }


def test_strict_warns_of_what_a_run_would_refuse(capsys, soft):
    words = (soft, "--shape", "x=1,3,8,7", "--qformat", "Q3.4", "--strict", "--json")
    warnings = json.loads(printed(capsys, *words))["warnings"]
    assert re.search(r"a run would fail: .*no fixed-point rule.*node 'the_y' \(Mod\)", warnings[0])


def test_json_without_shapes(capsys, soft):
    told = json.loads(printed(capsys, soft, "--json"))
    assert told["macs"] is None
    assert told["inputs"][0]["shape"] == ["N", 3, "H", "W"]
    assert told["per_channel"] is None
    assert told["islands"] == ["node 'the_y' (Mod)"]


def test_formats_per_channel(capsys, soft):
    words = (soft, "--qformat", "Q3.4", "--per-channel", "--json")
    told = {one["name"]: one["format"] for one in json.loads(printed(capsys, *words))["tensors"]}
    assert len(told["w"]) == 4
    assert told["x"] == "Q3.4"
    last_wins = json.loads(printed(capsys, *words, "--per-tensor"))["tensors"]
    assert isinstance(next(one["format"] for one in last_wins if one["name"] == "w"), str)


def test_for_a_person(capsys, soft):
    out = printed(capsys, soft)
    assert re.search(r"soft.onnx, opset 17\n", out)
    assert re.search(r"input +x +float32 +N x 3 x H x W", out)
    assert re.search(r"Conv +1 +\? +integer +computes in integers", out)
    assert re.search(r"Mod +1 +island +computes in float32", out)
    assert "multiply-accumulates  unknown" in out
    assert "give it (--shape x=N,3,H,W" in out
    assert "--strict refuses them: node 'the_y' (Mod)" in out
    assert "computed by" not in out


def test_tensors(capsys, soft):
    out = printed(capsys, soft, "--shape", "x=1,3,8,7", "--qformat", "Q3.4", "--tensors")
    assert re.search(r"c +Conv +integer +float32 +1 x 4 x 6 x 5 +Q3.4 +3,240", out)
    assert re.search(r"y +Mod +island +float32 +1 x 4 x 6 x 5 +Q3.4", out)


def test_bundled_models_are_seen_with_their_samples(capsys):
    srcnn = json.loads(printed(capsys, "srcnn", "--json"))
    assert srcnn["macs"] == 300 * 300 * 20_000
    smaller = json.loads(printed(capsys, "srcnn", "-i", "factor=1,1,1,2", "--json"))
    assert smaller["macs"] == 100 * 200 * 20_000
    one = json.loads(printed(capsys, "digits", "--shape", "image=1,1,28,28", "--json"))
    assert one["macs"] * 1000 == json.loads(printed(capsys, "digits", "--json"))["macs"]
    assert one["macs"] == inspect_model(zoo.bundled("digits.onnx"), shapes={"image": (1, 1, 28, 28)}).macs


def test_unsupported_operators_are_told_and_not_refused(capsys, tmp_path):
    path = tmp_path / "foo.onnx"
    path.write_bytes(network([("Relu", "x", "a"), ("Foo", "a", "y")]))
    assert re.search(r"Foo +1 +unsupported", printed(capsys, str(path)))
    assert json.loads(printed(capsys, str(path), "--json"))["unsupported"] == ["node 'the_y' (Foo)"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "inspect needs MODEL, an .onnx file"),
        (["nothing"], "no file 'nothing', and no bundled model of that name"),
        (["digits", "--shape", "image"], "--shape 'image' is not NAME=N,N,...; the inputs are 'image'"),
        (["digits", "--shape", "image=1,1,28,x"], "is not a list of lengths such as image=1,3,224,224"),
        (["digits", "--shape", "image=1,1,28,-1"], "is not a list of lengths"),
        (["digits", "--shape", "x=1"], "the model has no input 'x'; its inputs are 'image'"),
        (["digits", "--shape", "image=1,2,28,28"], r"needs shape \[N, 1, 28, 28\], not \[1, 2, 28, 28\]"),
        (["digits", "--shape", "image=1,1,28,28", "--shape", "image=2,1,28,28"], "--shape gives 'image' twice"),
        (["srcnn", "-i", "factor=1,1,2,2", "--shape", "factor=4"], "-i and --shape both give 'factor'"),
        (["digits", "--qformat", "Q4,3"], "did you mean Q4.3"),
        (["digits", "--weight-qformat", "Q0.7"], "--weight-qformat has no meaning in float32"),
        (["digits", "--shape", "image=1,1,28,28", "--max-elements", "100"], "more than 100 elements"),
    ],
)
def test_errors(capsys, words, reason):
    assert cli.main(["inspect", *words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert re.fullmatch(r"qengine: error: .*\n", found.err)
    assert re.search(reason, found.err)


@pytest.mark.parametrize("content", [b"", b"no model at all", SOFT[:60]])
def test_a_damaged_file(capsys, tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    assert cli.main(["inspect", str(tmp_path / "m.onnx")]) == 2
    assert re.fullmatch(r"qengine: error: .*(empty|not an ONNX model).*\n", capsys.readouterr().err)


def test_an_input_file_gives_its_shape(capsys, soft, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 8, 7), np.float32))
    assert json.loads(printed(capsys, soft, "-i", f"x={tmp_path / 'x.npy'}", "--json"))["macs"] == 2 * 3240
