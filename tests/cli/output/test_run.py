"""Output of `qengine run`: every key of the JSON object is always present, and no name can break the table."""

import json
import re
from dataclasses import fields

import numpy as np
import pytest
from networks import network

from qengine import cli
from qengine.cli.options import FixedPointOptions
from qengine.cli.output import run as record

X = np.ones((1, 3, 6, 5), np.float32)
KEYS = {"formats": "formats_file", "rule": "rules"}  # of options that have another one
OPTIONS = {KEYS.get(field.name, field.name) for field in fields(FixedPointOptions)}
DOCUMENTED = {
    *("model", "arithmetic", "inputs", "outputs", "written", "evaluated_output", "metrics", "tensors", "formats"),
    *("islands", "preprocessing", "notes", "advice"),
}


def printed(capsys, *words):
    assert cli.main(["run", *map(str, words), "--json"]) == 0
    text = capsys.readouterr().out
    assert text.isascii()

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def model(tmp_path, *nodes):
    path = tmp_path / "modèle.onnx"
    path.write_bytes(network(nodes))
    np.save(tmp_path / "x.npy", X)
    return [path, "-i", f"x={tmp_path / 'x.npy'}"]


@pytest.mark.parametrize("options", [[], ["--qformat", "Q2.5"]])
def test_keys(capsys, tmp_path, options):
    found = printed(capsys, *model(tmp_path, ("Relu", "x", "y")), *options)
    assert set(found) == OPTIONS | DOCUMENTED
    assert not [key for key in DOCUMENTED if not re.search(rf"^(\w+, )*{key}\b", record.__doc__, re.MULTILINE)]
    assert found["inputs"] == [{"name": "x", "shape": [1, 3, 6, 5], "dtype": "float32"}]
    assert (found["rounding"], found["strict"]) == (("half_even", False) if options else (None, None))


def test_infinities_and_nan(capsys, tmp_path):
    words = model(tmp_path, ("Sub", "x x", "zero"), ("Div", "zero zero", "nan"), ("Log", "zero", "y"))
    found = printed(capsys, *words, "--fetch", "y", "--fetch", "nan")
    assert [(o["nonfinite"], o["min"], o["max"]) for o in found["outputs"]] == [(90, None, None)] * 2
    exact = printed(capsys, *words, "--qformat", "Q2.5", "--fetch", "zero")
    assert exact["outputs"][0]["sqnr_db"] == "inf"


def test_names_in_any_script(capsys, tmp_path):
    found = printed(capsys, *model(tmp_path, ("Relu", "x", "y")), "--qformat", "Q2.5")
    assert found["model"].endswith("modèle.onnx")


# --- tables


def shown(capsys, *words):
    assert cli.main(["run", "--quiet", *map(str, words)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def test_fixed_point(capsys):
    options = ["--qformat=Q3.4", "--rounding=floor", "--accumulator-bits=20", "--per-channel"]
    text = shown(capsys, "digits", *options)
    assert text.splitlines()[0] == "digits, Q3.4, floor, saturate, 20-bit accumulator, weights per channel"
    rows = [line.split() for line in text.splitlines()]
    assert ["logits", "Gemm", "Q3.4"] in [row[:3] for row in rows]
    assert "Top-1 agreement with float32: " in text
    assert re.search(r"Top-1 accuracy on 1,000 samples: float32 9\d\.\d\d%, Q3\.4 9\d\.\d\d%", text)


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
    text = shown(
        capsys,
        tmp_path / "m.onnx",
        "-i",
        f"x={x}",
        "--qformat",
        "Q2.5",
        "--weight-qformat",
        "Q0.7",
        "--islands",
        "softmax",
    )
    assert "Softmax (float32)" in text
    assert "softmax in float32" in text
    assert "note: computed in float32, without a fixed-point rule: node 'the_y' (Softmax)" in text
    assert "note: 1 of 1 elements of constant 'k' saturate in Q0.7" in text


def test_names_from_a_file_are_text(capsys, tmp_path):
    (tmp_path / "m.onnx").write_bytes(network([("Relu", "x", "\x1b[2J[red]")], outputs=["\x1b[2J[red]"]))
    np.save(tmp_path / "x.npy", np.ones((1, 3, 6, 5), np.float32))
    text = shown(capsys, tmp_path / "m.onnx", "-i", f"x={tmp_path / 'x.npy'}", "--qformat", "Q2.5")
    assert "\x1b" not in text
    assert "\\x1b[2J[red]" in text


def test_a_format_without_error_is_exact(capsys, tmp_path):
    words = model(tmp_path, ("Mul", "x x", "y"))
    np.save(tmp_path / "x.npy", 3 * X)
    assert cli.main(["run", *map(str, words), "--qformat", "Q3.4"]) == 0
    assert re.search(r"try --qformat \S+ \(SQNR exact instead of [0-9.]+\)", capsys.readouterr().out)
