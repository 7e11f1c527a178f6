"""`qengine targets`, --target and --rule: what is printed, as text and as JSON, and every mistake in one line."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from networks import network, weights

from qengine import cli
from qengine.targets import Target, names


def run(capsys, *words):
    status = cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


def shown(capsys, *words):
    status, out, err = run(capsys, *words)
    assert (status, err) == (0, "")
    return json.loads(out) if "--json" in words else out


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.onnx"
    nodes = [("Conv", "x w", "a"), ("Relu", "a", "r"), ("Softmax", "r", "y")]
    path.write_bytes(network(nodes, constants={"w": weights(4, 3, 3, 3)}))
    return path


def test_the_list_names_every_target(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = shown(capsys, "targets").splitlines()
    assert lines[0] == f"{len(names())} targets"
    assert all(len(line) <= 80 for line in lines[:-1])
    for name in names():
        assert any(line.startswith(f"{name} ") for line in lines)
    listed = shown(capsys, "targets", "--json")["targets"]
    assert [one["name"] for one in listed] == list(names())
    assert {one["status"] for one in listed} == {"verified", "unverified"}


@pytest.mark.parametrize("name", names())
def test_one_target(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    target = Target.named(name)
    text = shown(capsys, "targets", name)
    assert all(len(line) <= 80 for line in text.splitlines()[1:])
    head = text.split("\n\n")[0].replace("\n  ", " ")
    assert head.startswith(f"{name}: {target.description}\n{target.status}: ")
    for heading in ("rules", "constraints", "what the rules do not say", "sources"):
        assert f"\n{heading}\n" in text
    record = shown(capsys, "targets", name, "--json")
    assert Target.of_record({key: value for key, value in record.items() if value}) == target


def test_a_file_is_shown_too(capsys, tmp_path):
    (tmp_path / "mine.toml").write_text("extends = 'cmsis-nn-q7'\n[rules.accumulator]\nbits = 24\n")
    assert shown(capsys, "targets", tmp_path / "mine.toml", "--json")["rules"]["accumulator"]["bits"] == 24


def test_a_check_names_what_the_target_does_not_have(capsys, model):
    text = shown(capsys, "targets", "check", model, "--target", "cmsis-nn-q7", "--qformat", "Q4.3")
    assert "not on cmsis-nn-q7" in text
    assert "Softmax" in text
    record = shown(capsys, "targets", "check", model, "--target", "cmsis-nn-q7", "--qformat", "Q4.3", "--json")
    assert not record["is_clean"]
    assert [one["operator"] for one in record["violations"] if one["constraint"] == "operators"] == ["Softmax"]
    assert record["accumulators"][0]["available"] == 32
    clean = shown(capsys, "targets", "check", model, "--target", "onnx", "--qformat", "Q4.3", "--json")
    assert clean["is_clean"]
    assert clean["violations"] == []


def test_a_check_names_accumulators_that_are_too_narrow(capsys, tmp_path, model):
    (tmp_path / "narrow.toml").write_text("[rules.accumulator]\nbits = 12\n")
    text = shown(capsys, "targets", "check", model, "--target", tmp_path / "narrow.toml", "--qformat", "Q4.3")
    assert "'a' (Conv)" in text or "'r' (Conv)" in text
    assert "may leave the accumulator of 12 bits" in text


def test_a_run_tells_its_target_and_what_options_replace(capsys, model):
    np.save(model.parent / "x.npy", weights(1, 3, 6, 5, scale=2.0))
    words = ["run", model, "-i", f"x={model.parent / 'x.npy'}", "--qformat", "Q4.3", "--target", "cmsis-nn-q7"]
    text = shown(capsys, *words, "--rule", "mean.rounding=floor")
    assert text.startswith(f"{model}, Q4.3, target cmsis-nn-q7, half_up, saturate\n")
    assert "note: options replace rules of target cmsis-nn-q7: mean.rounding floor, not trunc\n" in text
    record = shown(capsys, *words, "--rule", "tensors.r.overflow=wrap", "--json")
    assert record["target"] == "cmsis-nn-q7"
    assert record["rules"]["tensors"] == {key: {"overflow": "wrap"} for key in "ar"}
    assert record["rules"]["accumulator"] == {"bits": 32, "rounds_inside": True}
    plain = shown(capsys, *words[:6], "--json")
    assert (plain["target"], plain["rules"]) == (None, {})


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("qengine run digits --target esp32-", ["esp32-p4", "esp32-s3", "esp32-s3-16"]),
        ("qengine sweep digits --targets onnx,tid", ["onnx,tidl"]),
        ("qengine targets c", ["check", "cmsis-nn-q15", "cmsis-nn-q7", "cmsis-nn-q7-m4", "cmsis-nn-s8"]),
    ],
)
def test_a_shell_completes_names(words, found):
    environment = {**os.environ, "_QENGINE_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split()) - 1)
    command = [sys.executable, "-m", "qengine"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert set(found) <= set(done.stdout.split())
    assert done.stderr == ""


MISTAKES = [
    (["targets", "onx"], "no target is named 'onx'; did you mean 'onnx'?"),
    (["targets", "onnx", "tidl"], "one target is shown at a time: leave out 'tidl'"),
    (["targets", "chek", "m.onnx"], "one target is shown at a time: leave out 'm.onnx'; did you mean 'check'?"),
    (["targets", "check"], "give one model: qengine targets check MODEL --target NAME"),
    (["targets", "check", "digits"], "--target is needed: the device that the model is checked against"),
    (["targets", "check", "digits", "--target", "x"], "no target is named 'x'"),
    (["targets", "onnx", "--qformat", "Q4.3"], "options of inputs and fixed point are for `qengine targets check"),
    (["run", "digits", "--target", "onnx"], "--target has no meaning in float32: give a --qformat or --formats"),
    (["run", "digits", "--qformat", "Q4.3", "--target", "cmsis"], "no target is named 'cmsis'"),
    (["run", "digits", "--qformat", "Q4.3", "--target", "no.toml"], "target file no.toml: No such file or directory"),
    (["run", "digits", "--qformat", "Q4.3", "--rule", "floor"], "--rule 'floor' has another form than KEY=VALUE"),
    (["run", "digits", "--qformat", "Q4.3", "--rule", "mean.rounding="], "has another form than KEY=VALUE"),
    (["run", "digits", "--qformat", "Q4.3", "--rule", "mean.round=x"], "--rule: mean.round does not exist; did you"),
    (
        ["run", "digits", "--qformat", "Q4.3", "--rule", "rounding=up"],
        "--rule: rounding is 'up'; did you mean 'half_up'",
    ),
    (
        ["run", "digits", "--qformat", "Q4.3", "--rule", "rounding=floor", "--rule", "rounding=ceil"],
        "--rule rounding is given twice",
    ),
    (
        ["run", "digits", "--qformat", "Q4.3", "--rule", "tensors.nope.rounding=floor"],
        "'nope', and the model has no such tensor",
    ),
    (
        ["run", "digits", "--qformat", "Q4.3", "--target", "cmsis-nn-q7", "--rule", "rounding=half_even"],
        "rules over target cmsis-nn-q7: rounding contradicts other keys: rounds_inside",
    ),
    (["sweep", "digits", "-o", "s", "--targets", "onnx,tidll"], "no target is named 'tidll'; did you mean 'tidl'?"),
    (["sweep", "digits", "-o", "s", "--targets", "cmsis-nn-q7", "--bits", "4"], "the grid is empty"),
    (["calibrate", "digits", "--target", "onx"], "no target is named 'onx'; did you mean 'onnx'?"),
    (["search", "digits", "--target", "onx"], "no target is named 'onx'; did you mean 'onnx'?"),
    (["bench", "--target", "onnx"], "give a model with these options"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_mistakes(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert message in err
    assert err.startswith("qengine: error: ")
    assert err.count("\n") == 1


def test_an_inspection_tells_what_is_not_on_the_target(capsys, model):
    text = shown(capsys, "inspect", model, "--qformat", "UQ4.4", "--target", "cmsis-nn-q7")
    assert "note: not on the target: " in text
    assert re.search(r"\(qengine targets check \S+ --target \S+ lists all\)", " ".join(text.split()))
    record = shown(capsys, "inspect", model, "--qformat", "UQ4.4", "--target", "cmsis-nn-q7", "--json")
    assert record["target"] == "cmsis-nn-q7"
    assert "not on the target" not in shown(capsys, "inspect", model, "--qformat", "Q4.3", "--target", "onnx")
