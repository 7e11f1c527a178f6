"""`qengine calibrate` writes a formats file that `qengine run` takes, and tells what it saw."""

import json

import numpy as np
import pytest
from networks import network, weights
from PIL import Image

import qengine
from qengine import cli, zoo
from qengine.data.datasets import open_dataset
from qengine.model.formats.files import read_formats
from qengine.model.loader import load

MODEL = network(
    [("Relu", "x", "r"), ("Conv", "r w", "c"), ("Slice", "c starts ends axes", "y")],
    inputs={"x": ["N", 3, "H", "W"]},
    constants={
        "w": weights(4, 3, 1, 1),
        **{"starts": np.int64([2]), "ends": np.int64([9]), "axes": np.int64([2])},
    },
)
KEYS = {
    "model", "data", "samples", "runs", "digest", "bits", "weight_bits", "activation_bits", "method", "percentile",
    "headroom", "per_channel", "unsigned", "tie_joins", "output_bits", "target", "formats", "tensors", "written",
    "notes",
    "preprocessing",
}  # fmt: skip


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL)
    return str(path)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        pixels = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        pixels[:3] //= 9
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return str(folder)


def told(capsys, *words):
    assert cli.main(["calibrate", *words]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    return found.out


def failed(capsys, *words):
    assert cli.main(["calibrate", *words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    return found.err


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("cmsis-nn-q7", "mse, target"),
        ("nnom", "mse, Conv per channel, target"),
        ("onnx", "mse, per channel, unsigned, target"),
    ],
)
def test_the_first_line_says_what_the_target_allows(capsys, target, words):
    assert f"{words} {target}, 10 samples" in told(capsys, "digits", "--limit", "10", "--target", target)


def test_a_formats_file_that_run_takes(capsys, tmp_path):
    out = tmp_path / "formats.json"
    text = told(capsys, "digits", "--limit", "40", "--batch", "20", "-o", str(out))
    assert text.startswith("digits, 8 bits, mse, per channel, unsigned, 40 samples of digits\n")
    assert f"wrote {out}" in text
    digits = zoo.find("digits")
    data = open_dataset("digits", load(digits.path), limit=40, batch=20)
    assert read_formats(out) == qengine.calibrate(digits.path, data).formats
    assert cli.main(["run", "digits", "--formats", str(out), "--json"]) == 0
    ran = json.loads(capsys.readouterr().out)
    assert ran["formats"].items() >= read_formats(out).items()
    assert ran["metrics"]["agreement"]["against_float32"] > 0.98


def test_json(capsys, model, photos, tmp_path):
    out = str(tmp_path / "f.json")
    words = ["--scale", "1/255", "--per-channel", "--unsigned", "--weight-bits", "6", "--headroom", "1.5", "-o", out]
    found = json.loads(told(capsys, model, "--data", photos, *words, "--json"))
    assert found.keys() == KEYS
    assert (found["model"], found["data"], found["samples"], found["runs"]) == (model, photos, 5, 5)
    assert (found["bits"], found["weight_bits"], found["activation_bits"]) == (8, 6, 8)
    assert (found["method"], found["percentile"], found["headroom"]) == ("mse", None, 1.5)
    assert found["formats"]["x"] == "UQ1.7"
    assert len(found["formats"]["w"]) == 4
    assert [one["name"] for one in found["tensors"]] == ["x", "r", "w", "c", "y"]
    assert found["written"] == [out]
    assert found["notes"] == ["input 'x' is unsigned, as it was never negative: what is negative becomes 0"]
    assert read_formats(tmp_path / "f.json") == found["formats"]
    percentile = json.loads(told(capsys, model, "--data", photos, "--method", "percentile", "--json"))
    assert percentile["percentile"] == 99.99


def test_the_table_has_ranges_formats_and_costs(capsys, model, photos):
    text = told(capsys, model, "--data", photos, "--bits", "6", "--method", "max", "--signed")
    rows = {line.split()[0]: line.split() for line in text.splitlines()[3:8]}
    assert rows["x"][:5] == ["x", "input", "0", "254", "Q9.-4"]  # 254 / 8 would round to 32
    assert rows["w"][1:4] == ["weights", "of", "the_c"]
    assert "smallest SQNR of a tensor alone" in text
    assert "note:" not in text


def test_an_input_that_is_the_same_in_all(capsys, tmp_path):
    srcnn = zoo.find("srcnn")
    pictures = tmp_path / "pictures.npz"
    np.savez(pictures, x=np.random.default_rng(1).integers(0, 256, (3, 3, 8, 8), dtype=np.uint8))
    found = json.loads(told(capsys, "srcnn", "--data", str(pictures), "-i", "factor=1,1,2,2", "--json"))
    graph = load(srcnn.path)
    data = open_dataset(
        str(pictures), graph, fixed={"factor": np.float32([1, 1, 2, 2])}, preprocessing=srcnn.preprocessing
    )
    assert found["formats"] == qengine.calibrate(srcnn.path, data).formats
    assert found["digest"] == data.digest


def test_progress_is_shown_on_a_terminal_alone(capsys, monkeypatch, model, photos):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for words in ((), ("--json",)):
        assert cli.main(["calibrate", model, "--data", photos, *words]) == 0
        shown = capsys.readouterr()
        assert "of 5 samples" in shown.err
        assert "calibrating" in shown.err
        assert "calibrating" not in shown.out
    assert cli.main(["calibrate", model, "--data", photos, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--data is needed"),
        (["--data", "nowhere"], "there is no data 'nowhere'"),
        (["--data", "digits"], "['images'] has 3 axes; input 'x' needs 4"),
        (["--data", "PHOTOS", "--percentile", "99"], "--percentile needs --method percentile"),
        (["--data", "PHOTOS", "--method", "kl"], "no method is named 'kl'"),
        (["--data", "PHOTOS", "--bits", "17"], "--bits must be a whole number, 2 to 16"),
        (["--data", "PHOTOS", "-i", "z=1"], "no input 'z'"),
        (["--data", "PHOTOS", "-o", "/nowhere/f.json"], "there is no folder /nowhere"),
        (["--data-free", "--data", "PHOTOS"], "--data-free takes no data: leave out --data"),
        (["--data-free", "--limit", "3"], "--data-free takes no data: leave out --limit"),
        (["--data-free", "-i", "x=1"], "--data-free takes no data: leave out --input"),
        (["--data", "PHOTOS", "--scale", "none"], "--scale 'none' is not a number"),
    ],
)
def test_errors_are_one_line(capsys, model, photos, words, message):
    assert message in failed(capsys, model, *[word.replace("PHOTOS", photos) for word in words])


def test_nothing_is_written_where_it_fails(capsys, model, photos, tmp_path):
    (tmp_path / "photos" / "3.png").write_bytes(b"damaged")
    out = tmp_path / "f.json"
    assert "3.png is not an image" in failed(capsys, model, "--data", photos, "-o", str(out))
    assert not out.exists()


@pytest.mark.parametrize(("given", "bits"), [("auto", 8), ("12", 12)])
def test_the_word_length_of_the_outputs(capsys, model, photos, given, bits):
    out = json.loads(told(capsys, model, "--data", photos, "--output-bits", given, "--json"))
    assert out["output_bits"] == (given if given == "auto" else bits)
    last = out["tensors"][-1]
    assert qengine.QFormat.parse(last["format"]).bits == bits


@pytest.mark.parametrize("given", ["wide", "1", "17", "8.5", "-8"])
def test_word_lengths_of_outputs_that_are_none(capsys, model, photos, given):
    error = failed(capsys, model, "--data", photos, f"--output-bits={given}")
    assert f"--output-bits is auto or a word length of 2 to 16, not '{given}'" in error
