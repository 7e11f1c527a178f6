"""`qengine inspect --data` prints what `qengine.analysis.blame` finds, and saves it."""

import csv
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, cli
from qengine.analysis.blame import blame

MODEL = network(
    [("Gemm", "x w1 b1", "h"), ("Relu", "h", "r"), ("Gemm", "r w2", "y")],
    inputs={"x": ["N", 6]},
    constants={"w1": weights(6, 5, seed=1), "b1": weights(5, seed=2), "w2": weights(5, 3, seed=3)},
)
FORMATS = {"x": "Q2.5", "w1": ["Q1.6", "Q1.6", "Q0.7", "Q1.6", "Q1.6"], "r": "Q6.1", "w2": "Q1.6", "y": "Q3.4"}
X = weights(12, 6, seed=4)
KEYS = {
    "model", "data", "samples", "runs", "digest", "qformat", "weight_qformat", "formats_file", "rounding", "overflow",
    "accumulator_bits", "per_channel", "strict", "islands", "outputs", "sqnr_db", "rounded_db", "sum_db",
    "constants_db", "activations_db", "tensors", "groups", "verdict", "written", "preprocessing", "notes",
    "target", "rules",
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(MODEL)
    np.savez(tmp_path / "data.npz", x=X)
    (tmp_path / "formats.json").write_text(json.dumps(FORMATS))
    return tmp_path


WORDS = ["model.onnx", "--data", "data.npz", "--formats", "formats.json"]


def printed(capsys, *words):
    assert cli.main(["inspect", *words]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    return found.out


def failed(capsys, *words):
    assert cli.main(["inspect", *words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    return found.err.removeprefix("qengine: error: ").strip()


def expected(**options):
    return blame(InferenceSession(MODEL, formats=FORMATS, **options), [{"x": X}])


def test_json(capsys):
    told = json.loads(printed(capsys, *WORDS, "--json", "--batch", "12"))
    found = expected()
    assert told.keys() == KEYS
    assert (told["model"], told["data"], told["samples"], told["runs"]) == ("model.onnx", "data.npz", 12, 1)
    assert (told["formats_file"], told["qformat"], told["outputs"]) == ("formats.json", None, ["y"])
    assert told["sqnr_db"] == pytest.approx(found.sqnr_db)
    assert told["constants_db"] == pytest.approx(found.constants_db)
    assert told["activations_db"] == pytest.approx(found.activations_db)
    assert told["rounded_db"] == pytest.approx(found.rounded_db)
    assert told["sum_db"] == pytest.approx(found.sum_db)
    assert (told["groups"], told["verdict"]) == ([], list(found.verdict))
    assert [one["name"] for one in told["tensors"]] == [one.name for one in found.tensors]
    for one, other in zip(told["tensors"], found.tensors, strict=True):
        assert one["format"] == FORMATS[other.name]
        assert one["noise"]["y"] == pytest.approx(other.noise["y"])
        assert one["sqnr_db"] == pytest.approx(other.sqnr_db)
        assert one["all_but_db"] == pytest.approx(other.all_but_db)
        assert one["gain_db"] == pytest.approx(other.gain_db)
        assert one["saturated"] == other.saturated
    worst = told["tensors"][0]
    assert worst["name"] == "r"
    assert worst["shares"] == ["h"]
    assert worst["suggestion"]["format"] == str(found.tensors[0].suggestion.format)
    assert worst["suggestion"]["text"].endswith("fewer integer bits")


def test_batches_and_limits(capsys):
    at_once = json.loads(printed(capsys, *WORDS, "--json"))
    assert (at_once["samples"], at_once["runs"]) == (12, 1)
    alone = json.loads(printed(capsys, *WORDS, "--json", "--batch", "1"))
    assert (alone["samples"], alone["runs"]) == (12, 12)
    assert alone["sqnr_db"] == pytest.approx(expected().sqnr_db, abs=1e-3)
    few = json.loads(printed(capsys, *WORDS, "--json", "--batch", "2", "--limit", "4"))
    assert (few["samples"], few["runs"]) == (4, 2)


def test_options_of_fixed_point(capsys):
    told = json.loads(printed(capsys, *WORDS, "--json", "--rounding", "floor", "--batch", "12", "--fetch", "r"))
    assert told["rounding"] == "floor"
    assert told["outputs"] == ["r"]
    found = blame(InferenceSession(MODEL, formats=FORMATS, rounding="floor"), [{"x": X}], outputs=["r"])
    assert told["sqnr_db"] == pytest.approx(found.sqnr_db)


def test_the_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    lines = printed(capsys, *WORDS, "--batch", "12", "--group", "weights=^w").splitlines()
    found = blame(InferenceSession(MODEL, formats=FORMATS), [{"x": X}], groups="weights=^w")
    assert lines[0].startswith("model.onnx, formats.json, 12 samples of data.npz")
    rows = [line.split() for line in lines[3 : 3 + len(found.tensors)]]
    assert [row[0] for row in rows] == [one.name for one in found.tensors]
    r, (weights_of_all,) = found["r"], found.groups
    figures = [f"{r.output_db:.1f}", f"{r.all_but_db:.1f}", f"{r.gain_db:+.1f}", f"{r.own_db:.1f}", f"{r.sqnr_db:.1f}"]
    assert rows[0][:8] == ["r", "Q6.1", f"{r.share:.1%}", *figures]
    group = next(line.split() for line in lines if line.startswith("weights "))
    assert group[1:3] == ["2", f"{weights_of_all.output_db:.1f}"]
    assert group[3:] == [f"{weights_of_all.all_but_db:.1f}", f"{weights_of_all.gain_db:+.1f}"]
    hint = r.suggestion
    assert f"try r: {hint.format}, {hint.text} (+{hint.gain_db:.1f} dB there)" in lines
    assert f"SQNR of y against float32, dB: {found.sqnr_db:.2f}" in lines
    apart = f"constants {found.constants_db:.2f}, inputs and activations {found.activations_db:.2f}"
    assert f"with tensors rounded in float32, dB: all {found.rounded_db:.2f}, {apart}" in lines
    assert [f"verdict: {sentence}" for sentence in found.verdict] == [one for one in lines if one.startswith("verdict")]


def test_the_command_for_better_formats_can_be_pasted(capsys):
    lines = printed(capsys, *WORDS, "--rounding", "floor").splitlines()
    (line,) = (one for one in lines if "--suggested" in one)
    before, after = (json.loads(printed(capsys, *shlex.split(one)[2:], "--json")) for one in line.split(" && "))
    assert before["written"] == ["better.json"]
    assert after["rounding"] == "floor"
    assert after["sqnr_db"] > before["sqnr_db"] + 3
    better = json.loads(Path("better.json").read_text())
    assert better["r"] == before["tensors"][0]["suggestion"]["format"]
    hints = {one["name"]: one["suggestion"] for one in before["tensors"]}
    assert all(better[name] == (hint["format"] if hint else FORMATS[name]) for name, hint in hints.items())
    assert not any("--suggested" in one for one in printed(capsys, *WORDS, "--suggested", "b.json").splitlines())


def test_groups_of_blocks(capsys):
    words = ("digits", "--data", "digits", "--limit", "3", "--qformat", "Q3.4", "--json", "--group", "auto")
    told = json.loads(printed(capsys, *words, "--group", r"(block\d)\."))
    found = {one["name"]: one["tensors"] for one in told["groups"]}
    assert "block1.relu1" in found["block1"]
    listed = [name for name, tensors in found.items() if name not in ("block1", "block2", "block3") for _ in tensors]
    assert len(listed) > 10


def test_csv(capsys, folder):
    told = json.loads(printed(capsys, *WORDS, "--csv", "noise.csv", "--json", "--batch", "12"))
    assert told["written"] == ["noise.csv"]
    with (folder / "noise.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [one["name"] for one in told["tensors"]]
    by_name = {row["name"]: row for row in rows}
    assert json.loads(by_name["w1"]["format"]) == FORMATS["w1"]
    assert float(by_name["r"]["output_db"]) == pytest.approx(expected()["r"].output_db)
    assert by_name["r"]["suggested_format"] == told["tensors"][0]["suggestion"]["format"]
    assert by_name["w1"]["suggestion"] == ""
    assert by_name["r"]["suggested_gain_db"] == str(told["tensors"][0]["suggestion"]["gain_db"])


def test_plots(capsys, folder):
    out = printed(capsys, *WORDS, "--plot", "w1", "-o", "w1.png")
    assert "wrote w1.png" in out
    assert (folder / "w1.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads(printed(capsys, *WORDS, "--plot", "all", "-o", "plots", "--json"))
    names = sorted(file.name for file in (folder / "plots").iterdir())
    assert names == [
        "000_overview.png",
        "001_r.png",
        *(f"{i:03}_{one['name']}.png" for i, one in enumerate(told["tensors"][1:], 2)),
    ]
    assert told["written"] == [f"plots/{name}" for name in names]
    assert "wrote 3 more files" in printed(capsys, *WORDS, "--plot", "all", "-o", "plots")


def test_a_bundled_set_of_a_bundled_model(capsys):
    told = json.loads(printed(capsys, "digits", "--data", "digits", "--limit", "3", "--qformat", "Q3.4", "--json"))
    assert told["samples"] == 3
    assert {one["name"] for one in told["tensors"]} >= {"image", "logits", "classifier.weight"}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ["model.onnx", "--data", "data.npz"],
            "--data measures the noise of fixed point: give a --qformat",
        ),
        (["model.onnx", "--data", "no.npz", "--qformat", "Q3.4"], "there is no data 'no.npz'"),
        ([*WORDS, "--tensors"], "--tensors has no meaning with --data"),
        ([*WORDS, "--shape", "x=1,6"], "--shape has no meaning with --data"),
        ([*WORDS, "--plot", "r"], "overview a FILE.png"),
        ([*WORDS, "-o", "r.png"], "-o needs --plot"),
        ([*WORDS, "--plot", "q", "-o", "r.png"], "no tensor in fixed point is named 'q'"),
        ([*WORDS, "--plot", "r", "-o", "r.jpg"], "a plot is a .png, .svg, .pdf file, not r.jpg"),
        ([*WORDS, "--plot", "all", "-o", "data.npz"], "--plot all needs a folder, and data.npz is a file"),
        ([*WORDS, "--csv", "no/noise.csv"], "cannot write no/noise.csv: there is no folder no"),
        ([*WORDS, "--group", "^q"], "--group ^q matches no tensor that the run rounds, such as 'x', 'w1', 'r'"),
        ([*WORDS, "--group", "("], "in the regular expression"),
        (["model.onnx", "--group", "auto"], "--group has no meaning without --data: nothing is run"),
        (["model.onnx", "--csv", "a.csv"], "--csv has no meaning without --data: nothing is run"),
        (["model.onnx", "--rounding", "floor"], "--rounding has no meaning without --data: nothing is run"),
        *(
            (["model.onnx", *words], f"{words[0]} has no meaning without --data: nothing is run")
            for words in (["--limit", "3"], ["--labels", "l.npy"], ["--std", "2"], ["--resize", "8"], ["--crop", "8"])
        ),
        (["model.onnx", "-o", "a.png"], "-o has no meaning without --data: nothing is run"),
    ],
)
def test_errors(capsys, words, error):
    assert error in failed(capsys, *words)


def test_nothing_is_written_when_a_run_fails(capsys, folder):
    np.savez(folder / "data.npz", x=np.full((2, 6), np.nan, np.float32))
    assert "NaN" in failed(capsys, *WORDS, "--csv", "noise.csv")
    assert not (folder / "noise.csv").exists()
