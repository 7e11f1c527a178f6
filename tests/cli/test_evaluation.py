"""`qengine run --data` shows and saves what `qengine.evaluate` finds, and --fail-under decides the exit status."""

import json

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine import InferenceSession, cli, zoo
from qengine.results import plain

DIGITS = zoo.ENTRIES["digits"]


def shown(capsys, *words, status=0):
    assert cli.main(["run", *map(str, words)]) == status
    return capsys.readouterr()


def printed(capsys, *words):
    found = shown(capsys, *words, "--json")
    assert found.err == ""
    assert found.out.isascii()
    return json.loads(found.out, parse_constant=pytest.fail)


def refused(capsys, *words):
    assert cli.main(["run", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("options", [{}, {"qformat": "Q2.2"}])
def test_json_is_the_result_of_evaluate(capsys, options):
    typed = [word for name, value in options.items() for word in (f"--{name}", value)]
    found = printed(capsys, "digits", "--data", "digits", "--limit", "30", *typed)
    wanted = qengine.evaluate("digits", limit=30, **options)
    record = plain(wanted.record())
    for name in ("samples", "task", "evaluated_output", "tensors", "worst", "flips", "confusion", "formats", "notes"):
        assert found[name] == record[name]
    assert found["metrics"]["top1"]["float32"] == wanted.float32["top1"]
    assert found["metrics"]["top1"]["fixed"] == wanted.fixed["top1"]
    assert (found["model"], found["data"]) == ("digits", "digits")
    assert found["arithmetic"] == ("fixed" if options else "float32")
    assert found["rounding"] == ("half_even" if options else None)
    assert found["preprocessing"] == {"scale": [1 / 255]}


def test_tables_have_both_arithmetics(capsys):
    text = shown(capsys, "digits", "--data", "digits", "--limit", "100", "--qformat", "Q2.2").out
    wanted = qengine.evaluate("digits", limit=100, qformat="Q2.2")
    lines = text.splitlines()
    (top1,) = [line.split() for line in lines if line.startswith("Top-1 accuracy")]
    points = 100 * (wanted.fixed["top1"] - wanted.float32["top1"])
    assert top1[2:] == ["labels", "99.00%", f"{wanted.fixed['top1']:.2%}", f"{points:+.2f}", "points"]
    assert any(line.startswith("logits") and "Gemm" in line for line in lines)
    assert "100 samples of digits" in lines[0]
    assert f"{wanted.flips} samples change class: sample " in text


def test_images_have_the_lowest_sqnr(capsys):
    text = shown(capsys, "srcnn", "--data", "srcnn", "--limit", "2", "--qformat", "Q2.6").out
    assert "PSNR, dB" in text
    assert "lowest SQNR: sample " in text


def test_outputs_of_all_samples_are_saved(capsys, tmp_path):
    common = ("digits", "--data", "digits", "--limit", "30", "--batch", "7", "--qformat", "Q2.2")
    feeds = {"image": DIGITS.sample().feeds["image"][:30]}
    session = InferenceSession(DIGITS.path, qformat="Q2.2")
    found = printed(capsys, *common, "-o", tmp_path / "o.npz")
    assert found["written"] == [str(tmp_path / "o.npz")]
    with np.load(tmp_path / "o.npz") as saved:
        np.testing.assert_array_equal(saved["logits"], session.run(None, feeds)[0])
    found = printed(capsys, *common, "--raw", "--fetch", "relu", "-o", tmp_path / "r.npy")
    assert found["written"] == [str(tmp_path / "r.npy"), str(tmp_path / "r.formats.json")]
    np.testing.assert_array_equal(np.load(tmp_path / "r.npy"), session.run(["relu"], feeds, raw=True)[0])
    assert json.loads((tmp_path / "r.formats.json").read_text()) == {"relu": "Q2.2"}


def test_outputs_of_different_shapes_are_not_saved(capsys, tmp_path):
    model = tmp_path / "m.onnx"
    model.write_bytes(network([("Neg", "x", "y")], inputs={"x": ["N", "W"]}))
    (tmp_path / "set").mkdir()
    for i, width in enumerate((3, 4)):
        np.save(tmp_path / "set" / f"{i}.npy", weights(1, width))
    error = refused(capsys, model, "--data", tmp_path / "set", "-o", tmp_path / "o.npz")
    assert "'y' is not the same shape for all samples, but [1, 3] and [1, 4]" in error
    assert not (tmp_path / "o.npz").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "digits", "-o", "o.png"], "outputs of all samples are saved as .npz"),
        (["--data", "digits", "-o", "none/o.npz"], "no folder"),
        (["--data", "digits", "--raw", "-o", "o.npz"], "--raw saves the codes"),
        (["--data", "digits", "--qformat", "Q4.3", "--raw"], "give a file with -o"),
        (["--data", "digits", "--expected", "3"], "--expected belongs to the input of a single run"),
        (["--fail-under", "speed=3"], "no metric is named 'speed'"),
        (["--fail-under", "top1"], "METRIC=VALUE"),
        (["--fail-under", "psnr=30"], "no figure of psnr"),
        (["--data", "digits", "--fail-under", "psnr=30"], "psnr needs an output of images"),
        (["--data", "digits", "--fail-under", "agreement=1"], "no figure of agreement"),
    ],
)
def test_options_without_a_meaning_are_refused(capsys, words, message):
    assert message in refused(capsys, "digits", *words)


@pytest.mark.parametrize(
    ("thresholds", "status"),
    [
        (["top1=0.9"], 0),
        (["top1=-10%", "agreement=90%", "sqnr=5dB"], 0),
        (["top1=-0.5%"], 1),
        (["top1=0.9", "sqnr=30"], 1),
    ],
)
def test_fail_under_with_data(capsys, thresholds, status):
    words = [word for one in thresholds for word in ("--fail-under", one)]
    found = shown(capsys, "digits", "--data", "digits", "--limit", "100", "--qformat", "Q2.2", *words, status=status)
    assert found.out.startswith("digits, Q2.2")
    last = [line for line in found.err.splitlines() if "--fail-under" in line]
    assert len(last) == status
    if status:
        assert f"(--fail-under {thresholds[-1]})" in last[0]
        assert "asked for" in last[0]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["digits", "--qformat", "Q3.4", "--fail-under", "top1=-1%"], 0),
        (["digits", "--qformat", "Q3.4", "--fail-under", "top1=1"], 1),
        (["digits", "--fail-under", "top1=0.9"], 0),
        (["srcnn", "--qformat", "Q1.6", "--fail-under", "psnr=50dB"], 1),
    ],
)
def test_fail_under_of_a_single_run(capsys, words, status):
    shown(capsys, *words, status=status)


def test_json_of_a_run_that_fails_is_whole(capsys):
    words = ("digits", "--data", "digits", "--limit", "10", "--fail-under", "top1=1", "--qformat", "Q2.2", "--json")
    status = cli.main(["run", *words])
    found = capsys.readouterr()
    assert status == (json.loads(found.out)["metrics"]["top1"]["fixed"] < 1)
