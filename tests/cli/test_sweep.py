"""`qengine sweep` as it is typed."""

import csv
import json

import numpy as np
import pytest
from networks import network

from qengine import cli
from qengine.analysis.sweep import columns
from qengine.analysis.sweep.store import Store
from qengine.quantization.correction import moments, weights


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A model in model.onnx and data without labels in set.npz, in the folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    model = network(
        [("Gemm", "x w", "y")], inputs={"x": ["N", 4]}, constants={"w": rng.normal(size=(4, 3)).astype(np.float32)}
    )
    (tmp_path / "model.onnx").write_bytes(model)
    np.savez("set.npz", x=rng.normal(size=(10, 4)).astype(np.float32))
    return tmp_path


def called(capsys, *words):
    status = cli.main(["sweep", "model.onnx", "--data", "set.npz", "-o", "out", *words])
    return status, *capsys.readouterr()


def test_json(files, capsys):
    status, out, err = called(capsys, "--bits", "4,6-7", "--per-channel", "both", "--rounding", "floor,trunc", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert set(found) == {
        "model",
        "data",
        "samples",
        "task",
        "evaluated_output",
        "computed",
        "seconds",
        "rows",
        "differences",
        "written",
        "notes",
        "preprocessing",
    }
    assert set(found["seconds"]) == {"before", "inference", "rest", "compiling"}
    assert (found["model"], found["data"], found["samples"]) == ("model.onnx", "set.npz", 10)
    assert (found["task"], found["evaluated_output"], found["computed"], found["notes"]) == ("classes", "y", 13, [])
    assert [row["activation_bits"] for row in found["rows"]] == [None] + [4] * 4 + [6] * 4 + [7] * 4
    assert all(tuple(row) == columns() for row in found["rows"])
    assert (found["rows"][0]["sqnr_db"], found["rows"][0]["agreement"], found["rows"][0]["top1"]) == ("inf", 1.0, None)
    plots = [f"{name}{suffix}" for name in ("accuracy", "pareto") for suffix in (".png", ".svg", ".pdf")]
    names = ["results.sqlite", "results.csv", *plots]
    assert found["written"] == [f"out/{name}" for name in names]
    assert all((files / "out" / name).stat().st_size for name in names)
    with (files / "out" / "results.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    assert tuple(records[0]) == columns()
    assert [record["codes"] for record in records] == [row["codes"] for row in found["rows"]]
    assert (records[1]["per_channel"], records[1]["rounding"], records[0]["sqnr_db"]) == ("0", "floor", "inf")
    assert float(records[5]["sqnr_db"]) == found["rows"][5]["sqnr_db"]
    with Store(files / "out" / "results.sqlite") as store:
        assert set(store.rows()) == {row["key"] for row in found["rows"]}


def test_for_a_person(files, capsys):
    (files / "bad.json").write_text('{"nothing": "Q4.3"}')
    words = ("--weight-bits", "4,5", "--activation-bits", "6", "--accumulator-bits", "12,all", "--formats", "bad.json")
    words += ("--per-channel", "off")
    status, out, err = called(capsys, *words, "--qformat", "Q3.4")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "model.onnx, 10 samples of set.npz, output y"
    assert lines[2].split() == ["formats", "bits", "float32", "dB", "kiB", "s", "inference"]
    assert lines[3].split()[:3] == ["float32", "100.00%", "exact"]
    assert [line.split()[:5] for line in lines[4:6]] == [["6", "bits,", "weights", "4", w] for w in ("12", "all")]
    assert [line.split()[:2] for line in lines[8:10]] == [["Q3.4", "12"], ["Q3.4", "all"]]
    assert lines[10].split() == ["bad.json", "12", "failed"]
    for sums in ("12", "all"):
        assert sum(line.startswith(f"failed: bad.json, {sums}: formats name 'nothing'") for line in lines) == 1
    end = lines.index("wrote out/results.sqlite")
    assert "s of other work in points" in lines[end - 1]
    assert lines[end + 1 : end + 3] == ["wrote out/results.csv", "wrote out/accuracy.png"]
    status, out, _ = called(capsys, *words, "--qformat", "Q3.4")
    assert "9 of 9 points were in the folder already" in out


def test_what_was_varied_is_of_fixed_point(files, capsys):
    words = ("--bits", "4", "--per-channel", "both", "--rounding", "floor,trunc", "--recipe", "none,best")
    _, out, _ = called(capsys, *words)
    header, exact, *rows = out.splitlines()[2:12]
    assert header.split()[:4] == ["formats", "weights", "rounding", "recipe"]
    assert exact.split()[:2] == ["float32", "100.00%"]
    assert rows[0].split()[:6] == ["4", "bits", "per", "tensor", "floor", "none"]
    assert rows[3].split()[:6] == ["4", "bits", "per", "tensor", "trunc", "best"]
    assert rows[7].split()[:6] == ["4", "bits", "per", "channel", "trunc", "best"]


def test_without_matplotlib_there_are_rows(files, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    status, out, _ = called(capsys, "--bits", "4", "--json")
    assert status == 0
    assert json.loads(out)["notes"] == ["plots need matplotlib: pip install 'qengine[plot]'"]
    assert len(json.loads(out)["written"]) == 2


def test_outputs_in_which_nothing_can_be_measured(files, capsys):
    (files / "model.onnx").write_bytes(
        network([("Greater", "x zero", "y")], inputs={"x": ["N", 4]}, constants={"zero": np.float32(0)})
    )
    status, out, _ = called(capsys, "--bits", "4", "--json")
    assert (status, json.loads(out)["task"]) == (0, "other")
    assert json.loads(out)["notes"] == [
        "the outputs are neither real numbers nor classes: rows have digests of codes, and no figures"
    ]


def test_a_bundled_model_brings_its_data(tmp_path, capsys):
    assert cli.main(["sweep", "digits", "--bits", "8", "--limit", "40", "-o", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["data"], found["samples"]) == ("digits", 40)
    assert found["rows"][1]["top1"] > 0.9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--bits", "x"), "--bits 'x' is not a list of whole numbers and ranges"),
        (("--bits", "8-4"), "--bits 8-4 runs backwards: give 4-8"),
        (("--bits", "4,,5"), "--bits '4,,5' has an empty item"),
        (("--bits", "1"), "--bits 1: numbers of bits are 2 to 16"),
        (("--per-channel", "yes"), "--per-channel is one of off, on, both"),
        (("--cost", "money"), "no cost is named 'money'; there are weights, activations, bit-operations"),
        (("--metric", "f1"), "no metric is named 'f1'; there are top1, agreement, psnr, ssim, sqnr"),
        (("--rounding", "up"), "no rounding is named 'up'"),
        (("--accumulator-bits", "none"), "--accumulator-bits 'none' is not a list of whole numbers"),
        (("--scheduler", "nowhere://x"), "the Dask cluster nowhere://x does not answer"),
    ],
)
def test_errors(files, capsys, words, message):
    status, out, err = called(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith("qengine: error: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("top1", "top1 needs labels, and the data has none"),
        ("psnr", "psnr needs an output of images, and there is none"),
    ],
)
def test_a_metric_that_the_data_does_not_have_is_refused_before_the_first_point(files, capsys, metric, message):
    status, out, err = called(capsys, "--bits", "4", "--metric", metric)
    assert (status, out) == (2, "")
    assert message in err
    with Store(files / "out" / "results.sqlite") as store:
        assert store.rows() == {}


def test_a_link_to_itself_is_no_data(files, capsys):
    (files / "set.npz").unlink()
    (files / "set.npz").symlink_to("set.npz")
    status, out, err = called(capsys, "--bits", "4")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "there is no data" in err


def test_limits_hold_for_corrections(monkeypatch, tmp_path):
    found = set()
    run = moments.observe_moments

    def noted(session, *given, **options):
        found.add(session.options.max_iterations)
        return run(session, *given, **options)

    monkeypatch.setattr(weights, "observe_moments", noted)
    words = ["sweep", "digits", "--limit", "2", "--bits", "6", "--recipe", "fold+round", "--jobs", "1"]
    assert cli.main([*words, "--max-iterations", "77", "-o", str(tmp_path / "s")]) == 0
    assert found == {77}
