"""The JSON object: every key is always there, and everything in it is JSON."""

import json
import re

import numpy as np
import pytest
from networks import network

from qengine import cli
from qengine.cli.output import run as record

X = np.ones((1, 3, 6, 5), np.float32)
KEYS = {
    *("model", "arithmetic", "qformat", "weight_qformat", "formats_file", "rounding", "overflow", "accumulator_bits"),
    *("per_channel", "strict", "inputs", "outputs", "written", "image_psnr_db", "top1", "tensors", "formats"),
    *("islands", "notes", "advice"),
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
    assert set(found) == KEYS
    assert not [key for key in KEYS if not re.search(rf"^(\w+, )*{key}\b", record.__doc__, re.MULTILINE)]
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
