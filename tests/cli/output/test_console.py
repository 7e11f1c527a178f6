"""The table for people: what stands in it, and that no name can break it."""

import io
import re

import numpy as np
import pytest
from networks import network

from qengine import cli
from qengine.cli.output import console


def shown(capsys, *words):
    assert cli.main(["run", *map(str, words)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def test_fixed_point(capsys):
    options = ["--qformat=Q3.4", "--rounding=floor", "--accumulator-bits=20", "--per-channel"]
    text = shown(capsys, "digits", *options)
    assert text.splitlines()[0] == "digits, Q3.4, floor, saturate, 20-bit accumulator, weights per channel"
    rows = [line.split() for line in text.splitlines()]
    assert ["logits", "Gemm", "Q3.4"] in [row[:3] for row in rows]
    assert "top-1 agreement with float32:" in text
    assert re.search(r"top-1 accuracy on 1,000 items: float32 9\d\.\d\d%, Q3\.4 9\d\.\d\d%", text)


def test_float32(capsys):
    text = shown(capsys, "srcnn")
    assert text.splitlines()[0] == "srcnn, float32"
    assert "1 x 3 x 300 x 300" in text
    assert re.search(r"PSNR against the original, dB: without the network \d+\.\d\d, float32 \d+\.\d\d\n", text)


def test_islands_and_notes(capsys, tmp_path):
    x = tmp_path / "x.npy"
    np.save(x, np.ones((1, 3, 6, 5), np.float32))
    (tmp_path / "m.onnx").write_bytes(
        network([("Mul", "x k", "m"), ("Softmax", "m", "y")], constants={"k": np.float32([3])})
    )
    text = shown(capsys, tmp_path / "m.onnx", "-i", f"x={x}", "--qformat", "Q2.5", "--weight-qformat", "Q0.7")
    assert "Softmax (float32)" in text
    assert "note: computed in float32, without a fixed-point rule: node 'the_y' (Softmax)" in text
    assert "note: 1 of 1 elements of constant 'k' saturate in Q0.7" in text


def test_names_from_a_file_are_text(capsys, tmp_path):
    (tmp_path / "m.onnx").write_bytes(network([("Relu", "x", "\x1b[2J[red]")], outputs=["\x1b[2J[red]"]))
    np.save(tmp_path / "x.npy", np.ones((1, 3, 6, 5), np.float32))
    text = shown(capsys, tmp_path / "m.onnx", "-i", f"x={tmp_path / 'x.npy'}", "--qformat", "Q2.5")
    assert "\x1b" not in text
    assert "\\x1b[2J[red]" in text


@pytest.mark.parametrize(("columns", "widest"), [("80", 80), ("60", 80), (None, 200)])
def test_width(capsys, monkeypatch, columns, widest):
    """A narrow terminal gets 80 columns, a pipe what it takes."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    text = shown(capsys, "srcnn", "--qformat", "Q4.3")
    table = text.split("\n\n")[0].splitlines()[1:]
    assert max(map(len, table)) <= widest


def test_status_is_for_terminals(monkeypatch, capsys):
    with console.status("running", quiet=False):
        pass
    assert capsys.readouterr().err == ""
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with console.status("running", quiet=False):
        pass
    assert "running" in stream.getvalue()
