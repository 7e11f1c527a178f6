"""`qengine report` writes a page, tells its summary, and fails where a figure is too low."""

import json

import pytest
from html_report.models import classifier

from qengine import cli


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classifier().written(tmp_path)
    return ["report", "model.onnx", "--data", "data.npz", "--quick", "--curve", "none"]


def test_the_summary_is_printed_and_the_page_written(files, tmp_path, capsys):
    assert cli.main(files) == 0
    printed = capsys.readouterr().out
    assert "model.onnx: 8 bits" in printed
    assert "next step:" in printed
    assert "wrote report.html" in printed
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_json_has_the_numbers(files, capsys):
    assert cli.main([*files, "--json", "-o", "r.html", "--targets", "onnx,esp32-s3", "--bits", "6"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == "r.html"
    assert found["accuracy"]["fixed"]["bits"] == 6
    assert [one["label"] for one in found["accuracy"]["targets"]] == ["onnx", "esp32-s3"]
    assert {one["section"] for one in found["commands"]} >= {"model", "report", "formats", "accuracy", "tensors"}


@pytest.mark.parametrize(
    ("threshold", "status", "message"),
    [("sqnr=1dB", 0, ""), ("sqnr=200dB", 1, "less than the 200.00 dB asked for"), ("top1=2", 2, "top1 cannot be")],
)
def test_figures_that_are_too_low_fail(threshold, status, message, files, capsys):
    assert cli.main([*files, "--fail-under", threshold]) == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bits", "8", "--qformat", "Q4.3"], "bits choose formats"),
        (["--targets", "tidll"], "did you mean 'tidl'"),
        (["--curve", "1-4"], "--curve"),
        (["--metric", "psnr"], "psnr needs"),
        (["--data", "missing.npz"], "missing.npz"),
        (["-o", "model.onnx"], "model.onnx"),
    ],
)
def test_errors_are_one_line(words, message, files, capsys):
    asked = [one for one in files if words[0] != "--data" or one not in ("--data", "data.npz")]
    if words[0] == "--curve":
        asked = asked[:-2]
    assert cli.main([*asked, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_commands_of_the_page_run(files, capsys):
    assert cli.main([*files, "--json", "--limit", "4", "--bits", "6"]) == 0
    commands = json.loads(capsys.readouterr().out)["commands"]
    order = sorted(commands, key=lambda one: one["section"] != "formats")
    assert len(order) >= 5
    for one in order:
        words = one["text"].split()
        assert words[0] == "qengine"
        assert cli.main(words[1:]) == 0, one["text"]
