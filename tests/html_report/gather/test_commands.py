"""Command lines as people type them: relative paths as they were, short fractions, and quotes where they are needed."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from html_report.models import classifier
from networks import network
from PIL import Image

import qengine
from qengine import cli

QUICK = {"quick": True, "curve": [4], "targets": []}


def commands(*arguments, **keywords):
    facts = qengine.report(*arguments, **{**QUICK, **keywords}).facts
    return {one.section: one.text for one in facts.commands}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return classifier().written(tmp_path)


def test_absolute_paths_lose_their_folders(files):
    found = commands(*files, limit=4)
    assert found["formats"] == "qengine calibrate model.onnx --data data.npz --limit 4 --batch 4 -o formats.json"
    assert found["curve"] == "qengine sweep model.onnx --data data.npz --limit 4 --bits 4 -o results"
    assert "--limit 4 --curve 4 --targets none --quick" in found["report"].replace(
        "--targets none --curve 4", "--curve 4 --targets none"
    )


def test_the_formats_are_those_of_their_command(files):
    options = {**QUICK, "curve": [], "limit": 4}
    written = qengine.report(*files, **options)
    words = [one.text for one in written.facts.commands]
    made = next(i for i, text in enumerate(words) if text.startswith("qengine calibrate"))
    assert not any("formats.json" in text for text in words[:made])
    batch = int(words[made].split(" --batch ")[1].split()[0])
    assert batch > 1
    formats = qengine.calibrate(files[0], files[1], limit=4, batch=batch).formats
    again = qengine.report(*files, formats=formats, **options)
    assert {t.name: t.format for t in written.facts.tensors} == {t.name: t.format for t in again.facts.tensors}


def test_given_formats_and_rules_are_repeated(files):
    found = commands("model.onnx", "data.npz", qformat="Q3.4", rounding="floor", accumulator_bits=20)
    assert found["memory"] == (
        "qengine export c model.onnx --qformat Q3.4 --rounding floor --accumulator-bits 20 -o network"
    )
    assert "formats" not in found
    assert " --qformat Q3.4 --rounding floor " in found["tensors"]


@pytest.mark.parametrize(
    ("keywords", "command"),
    [
        ({"bits": 12}, "qengine quantize model.onnx --data data.npz --bits 12 --as qonnx -o quantized.onnx"),
        ({"qformat": "Q7.8"}, "qengine quantize model.onnx --data data.npz --qformat Q7.8 -o quantized.onnx"),
        (
            {"qformat": "Q7.8", "rounding": "floor"},
            "qengine export c model.onnx --qformat Q7.8 --rounding floor -o network",
        ),
    ],
)
def test_the_next_step_can_be_pasted(keywords, command, files):
    facts = qengine.report("model.onnx", "data.npz", **QUICK, **keywords).facts
    assert f"({command})" in facts.next_step
    assert cli.main(shlex.split(command)[1:]) == 0


@pytest.mark.parametrize(
    ("shown", "words"),
    [({}, "-i factor=1,0.25"), ({"inputs_shown": ["factor=f.npy"]}, "-i factor=f.npy")],
)
def test_fixed_inputs_are_repeated(shown, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nodes = [("Relu", "x", "r"), ("Mul", "r factor", "y")]
    Path("m.onnx").write_bytes(network(nodes, inputs={"x": ["N", 2], "factor": [2]}))
    np.savez("d.npz", x=np.random.default_rng(0).random((8, 2), np.float32))
    np.save("f.npy", np.float32([1, 0.25]))
    found = commands("m.onnx", "d.npz", inputs={"factor": np.float32([1, 0.25])}, **shown)
    assert f"--data d.npz {words} " in found["formats"]
    assert cli.main(shlex.split(found["formats"])[1:]) == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scale": 1 / 255}, "--scale 1/255"),
        ({"scale": 0.0171, "mean": 123.5}, "--scale 0.0171 --mean 123.5"),
        ({"scale": 2.0, "bgr": True}, "--scale 2 --bgr"),
        ({"scale": 1 / 255, "resize": 8, "crop": (8, 8)}, "--scale 1/255 --resize 8 --crop 8,8"),
    ],
)
def test_preprocessing_is_repeated(given, words, files, tmp_path):
    folder = tmp_path / "two words"
    folder.mkdir()
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    found = commands("model.onnx", "two words", preprocessing=qengine.Preprocessing.of(**given))
    assert f" --data 'two words' {words} " in found["formats"]
    assert shlex.split(found["formats"])[:4] == ["qengine", "calibrate", "model.onnx", "--data"]
