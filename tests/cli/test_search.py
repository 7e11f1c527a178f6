"""`qengine search` prints and writes what the library finds."""

import json

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, cli
from qengine.analysis.search import search
from qengine.cli.output.console import decibels
from qengine.data.datasets import open_dataset
from qengine.metrics.decibels import ratio_in_decibels
from qengine.model.formats.files import read_formats
from qengine.model.loader import load

MODEL = network(
    [("Gemm", "x w1 b1", "h"), ("Relu", "h", "r"), ("Gemm", "r w2", "y")],
    inputs={"x": ["N", 6]},
    constants={"w1": weights(6, 5, seed=1), "b1": weights(5, seed=2), "w2": weights(5, 3, seed=3)},
)
X = weights(64, 6, seed=4, scale=1.0)
KEYS = {
    "model", "data", "samples", "digest", "metric", "cost", "evaluated_output", "reference",
    "reference_of", "least", "held_out",
    "best", "formats", "units",
    "uniform", "front", "runs", "is_complete", "written", "preprocessing", "notes",
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(MODEL)
    (y,) = InferenceSession(MODEL).run(None, {"x": X})
    np.savez(tmp_path / "data.npz", x=X, labels=y.argmax(axis=1))
    return tmp_path


WORDS = ["model.onnx", "--data", "data.npz", "--cost", "macs"]


def printed(capsys, *words):
    assert cli.main(["search", *words]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    return found.out


def expected(**options):
    graph = load(MODEL)
    dataset = open_dataset("data.npz", graph, batch=64)
    return search(graph, dataset, cost="macs", **options)


def test_json(capsys, folder):
    told = json.loads(printed(capsys, *WORDS, "--max-drop", "3%", "-o", "formats.json", "--json"))
    found = expected(max_drop="3%")
    assert told.keys() == KEYS
    assert (told["metric"], told["cost"], told["samples"], told["evaluated_output"]) == (
        "top1",
        "bit-operations",
        64,
        "y",
    )
    assert (told["reference"], told["reference_of"], told["least"]) == (1.0, "float32", 0.97)
    assert told["held_out"] is None
    assert told["best"]["cost"] == found.best.cost
    assert told["best"]["bits"] == {unit.name: unit.bits for unit in found.units}
    assert told["formats"] == found.formats == read_formats(folder / "formats.json")
    assert told["front"][0]["cost"] == found.front[0].cost
    assert told["uniform"].keys() == {"2", "3", "4", "5", "6", "7", "8", "16"}
    assert told["written"] == ["formats.json"]
    assert told["units"][0]["sensitivity"]["2"] > told["units"][0]["sensitivity"]["8"] > 0
    # What is written is what `qengine run --formats` takes.
    np.save(folder / "x.npy", X)
    (y,) = InferenceSession(MODEL).run(None, {"x": X})
    np.save(folder / "labels.npy", y.argmax(axis=1))
    words = ["run", "model.onnx", "-i", "x=x.npy", "--expected", "labels.npy", "--formats", "formats.json", "--json"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["top1"]["against_target"] == told["best"]["value"] >= 0.97


def test_the_tables(capsys):
    words = ["--metric", "sqnr", "--min", "20", "--bits", "3-8"]
    lines = [line.rstrip() for line in printed(capsys, *WORDS, *words).splitlines()]
    found = expected(metric="sqnr", least=20.0, bits=range(3, 9))
    assert lines[0] == "model.onnx, least bit operations, sqnr at least 20.00 dB in y, 64 samples of data.npz"
    rows = [line.split() for line in lines[3 : 3 + len(found.units)]]
    assert [row[0] for row in rows] == [unit.name for unit in found.units]
    for unit, row in zip(found.units, rows, strict=True):
        alone = decibels(ratio_in_decibels(unit.sensitivity[unit.bits])) if unit.sensitivity else ""
        assert " ".join(row[1:]) == f"{unit.role or unit.kind} {unit.bits} {unit.format} {alone}".rstrip()
    assert any(line.endswith("the best") and f"{found.best.cost:,.0f} bit operations" in line for line in lines)
    assert any("8 bits for all" in line for line in lines)
    assert f"{found.runs} assignments of word lengths were measured" in lines
    # Float32 itself has no noise: what is told is what it is compared with.
    assert any(line.startswith("sqnr: the longest words ") for line in lines)


def test_what_is_exact_has_no_unit(capsys, folder):
    np.savez(folder / "zeros.npz", x=np.zeros((4, 6), np.float32))
    (folder / "model.onnx").write_bytes(network([("Relu", "x", "y")], inputs={"x": ["N", 6]}))
    told = printed(capsys, "model.onnx", "--data", "zeros.npz", "--cost", "activations", "--metric", "sqnr")
    assert "sqnr: the longest words exact, found exact at 3 bytes" in told.splitlines()
    assert "exact dB" not in told


def test_held_out(capsys, folder):
    words = [*WORDS, "--hold-out", "0.25", "--max-drop", "3%", "-o", "formats.json"]
    told = json.loads(printed(capsys, *words, "--json"))
    held, found = told["held_out"], expected(max_drop="3%", hold_out=0.25)
    assert held == vars(found.held_out)
    assert told["samples"] == 64
    # Every fourth sample was held out; the formats give the very figures on both parts.
    session, (exact,) = (
        InferenceSession(MODEL, formats=folder / "formats.json"),
        InferenceSession(MODEL).run(None, {"x": X}),
    )
    same = session.run(None, {"x": X})[0].argmax(axis=1) == exact.argmax(axis=1)
    assert (held["samples"], held["value"]) == (16, same[3::4].mean())
    assert told["best"]["value"] == np.delete(same, slice(3, None, 4)).mean()
    lines = printed(capsys, *words).splitlines()
    assert "model.onnx, least bit operations, top1 at least 97.00% in y, 48 samples of data.npz" in lines
    there = f"float32 100.00%, found {held['value']:.2%}, asked for 97.00%"
    assert f"on 16 samples that were held out: {there}" in lines


def test_other_widths_and_limits(capsys):
    words = [*WORDS, "--activation-bits", "8", "--weight-bits", "4,6", "--max-drop", "10", "--max-runs", "2", "--json"]
    told = json.loads(printed(capsys, *words))
    assert set(told["best"]["bits"].values()) <= {4, 6, 8}
    assert told["runs"] == 2
    assert not told["is_complete"]
    assert json.loads(printed(capsys, *WORDS, "--seconds", "0", "--json"))["runs"] == 1


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["model.onnx"], "--data is needed: the samples that the model is evaluated on"),
        ([*WORDS, "--max-drop", "1", "--min", "0.9"], "--max-drop and --min both say what is good enough"),
        (
            [*WORDS, "--max-drop", "much"],
            "a drop is a number such as 1% (a percentage point), 0.5dB or 0.01, not 'much'",
        ),
        ([WORDS[0], "--data", "no", "--max-drop", "much"], "a drop is a number such as 1%"),
        ([*WORDS, "--metric", "top1", "--max-drop", "1dB"], "a drop of top1 is a number such as 1% (a percentage"),
        ([*WORDS[:-2], "--cost", "area"], "no cost is named 'area'; there are weights, activations, bit-operations"),
        ([*WORDS, "--metric", "f1"], "no metric is named 'f1'"),
        ([*WORDS, "--bits", "8-4"], "--bits 8-4 runs backwards: give 4-8"),
        ([*WORDS, "--bits", "1-4"], "--bits 1-4: numbers of bits are 2 to 16"),
        ([*WORDS, "-o", "no/formats.json"], "cannot write no/formats.json: there is no folder no"),
        ([*WORDS, "--hold-out", "1"], "the share of the samples that is held out is between 0 and 1, such as 0.2"),
        ([*WORDS, "--hold-out", "0.01"], "none of 64 samples is held out with a share of 0.01"),
        ([*WORDS, "--metric", "sqnr", "--min", "200"], "even with the longest words sqnr is"),
    ],
)
def test_errors(capsys, words, error):
    assert cli.main(["search", *words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert error in found.err
    assert found.err.count("\n") == 1
