"""`qengine quantize` writes what `run` reads."""

import json
import re

import numpy as np
import onnx
import pytest
from networks import network

import qengine
from qengine import cli, zoo

MODEL = network([("Conv", "x w", "y")], constants={"w": np.ones((2, 3, 1, 1), np.float32)})


@pytest.mark.parametrize(("bits", "opset"), [(8, 17), (16, 21)])
def test_digits(capsys, tmp_path, bits, opset):
    out = tmp_path / "q.onnx"
    words = ["quantize", "digits", "--limit", "50", "--bits", str(bits), "--per-channel", "-o", str(out)]
    assert cli.main([*words, "--recipe", "fold+bias", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["written"] == [str(out)]
    assert {entry["correction"] for entry in found["corrections"]} == {"fold", "bias"}
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == opset
    session = qengine.InferenceSession(out, strict=True)
    assert {form.bits for form in session.formats.values()} == {bits}
    sample = zoo.find("digits").sample()
    (logits,) = session.run(None, sample.feeds)
    assert np.mean(logits.argmax(1) == sample.labels) > 0.97


def test_formats_that_are_given(capsys, tmp_path):
    formats = tmp_path / "f.json"
    assert cli.main(["calibrate", "digits", "--limit", "20", "-o", str(formats)]) == 0
    out = tmp_path / "q.onnx"
    assert cli.main(["quantize", "digits", "--limit", "20", "--formats", str(formats), "-o", str(out)]) == 0
    assert re.search(r"fold +1 +0", capsys.readouterr().out)
    asked = qengine.InferenceSession(zoo.find("digits").path, formats=formats)
    back = qengine.InferenceSession(out)
    feeds = zoo.find("digits").sample().feeds
    np.testing.assert_array_equal(back.run(None, feeds)[0], asked.run(None, feeds)[0], strict=True)


@pytest.mark.parametrize(("bits", "opset"), [(8, 17), (16, 21)])
def test_formats_that_are_given_need_no_data_and_no_newer_opset(capsys, tmp_path, bits, opset):
    (tmp_path / "f.json").write_text(json.dumps({"x": f"Q3.{bits - 4}", "y": f"Q4.{bits - 5}"}))
    (tmp_path / "m.onnx").write_bytes(MODEL)
    out = tmp_path / "q.onnx"
    assert cli.main(["quantize", str(tmp_path / "m.onnx"), "--formats", str(tmp_path / "f.json"), "-o", str(out)]) == 0
    assert capsys.readouterr().out.count(f"opset {opset}, ") == 1
    assert onnx.load(out).opset_import[0].version == opset
    assert str(qengine.InferenceSession(out).formats["y"]) == f"Q4.{bits - 5}"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["digits", "--bits", "6"], "a quantized model stores activations in 8 or 16 bits, not 6"),
        (["digits", "--recipe", "magic"], "named 'magic'; there are none, best, or steps with +: fold, "),
        (["digits", "--recipe", "fold+"], "named ''; there are"),
        (["digits", "--formats", "FORMATS", "--bits", "4"], "leave out options that choose them, such as --bits"),
        (["MODEL", "--formats", "FORMATS", "--recipe", "round"], "--data is needed"),
        (["MODEL"], "--data is needed"),
        (["digits", "--recipe", "bias+analytic"], "give one of them"),
        (["digits", "--percentile", "99"], "--percentile needs --method percentile"),
    ],
)
def test_errors(capsys, tmp_path, words, reason):
    (tmp_path / "f.json").write_text('{"x": "Q3.4", "y": "Q3.4"}')
    (tmp_path / "m.onnx").write_bytes(MODEL)
    places = {"FORMATS": str(tmp_path / "f.json"), "MODEL": str(tmp_path / "m.onnx")}
    words = [places.get(word, word) for word in words]
    assert cli.main(["quantize", *words, "--limit", "4", "-o", str(tmp_path / "q.onnx")]) == 2
    found = capsys.readouterr()
    assert re.fullmatch(r"qengine: error: .*\n", found.err)
    assert reason in found.err
    assert not (tmp_path / "q.onnx").exists()


@pytest.mark.parametrize("command", ["calibrate", "search", "quantize"])
def test_the_model_itself_is_not_replaced(capsys, tmp_path, command):
    model, link, data = tmp_path / "m.onnx", tmp_path / "link.onnx", tmp_path / "d.npz"
    model.write_bytes(MODEL)
    link.hardlink_to(model)
    np.savez(data, x=np.ones((2, 3, 4, 4), np.float32))
    for out in (model, link):
        assert cli.main([command, str(model), "--data", str(data), "-o", str(out)]) == 2
        assert f"cannot write {out}: it is the model itself" in capsys.readouterr().err
    assert model.read_bytes() == MODEL


@pytest.mark.parametrize("recipe", ["fold", "round", "bias"])
@pytest.mark.parametrize(("limit", "reason"), [("max-memory", "of memory at once"), ("max-elements", "elements")])
def test_limits_of_its_runs(capsys, tmp_path, recipe, limit, reason):
    """What an error of a run names can be given to the command."""
    out = tmp_path / "q.onnx"
    words = ["quantize", "digits", "--limit", "2", "--batch", "1", "--recipe", recipe, "-o", str(out)]
    assert cli.main([*words, f"--{limit}", "1000"]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert f"(--{limit}" in error
    assert not out.exists()
    assert cli.main([*words, f"--{limit}", "1G" if limit == "max-memory" else "1000000"]) == 0


def test_iterations_of_a_loop(monkeypatch, tmp_path):
    """Corrections, the check and the observation run as many iterations as the options allow."""
    found = []
    run = qengine.InferenceSession.run

    def noted(session, *given, **options):
        found.append((session.options.max_iterations, session.options.threads))
        return run(session, *given, **options)

    monkeypatch.setattr(qengine.InferenceSession, "run", noted)
    words = ["quantize", "digits", "--limit", "2", "--recipe", "best", "-o", str(tmp_path / "q.onnx")]
    assert cli.main([*words, "--max-iterations", "77", "--threads", "1"]) == 0
    assert set(found) == {(77, 1)}


def test_a_qonnx_model_is_written_with_the_roundings_of_the_options(tmp_path, capsys):
    out = tmp_path / "q.onnx"
    words = ["quantize", "digits", "--bits", "4", "--as", "qonnx", "--rounding", "floor", "-o", str(out)]
    assert cli.main([*words, "--rule", "mean.rounding=trunc"]) == 0
    assert "read back: the same codes on one sample" in capsys.readouterr().out
    session = qengine.InferenceSession(out)
    modes = {str(one.rounding) for one in session.rules.tensors.values()}
    assert modes == {"floor", "trunc"}
    assert cli.main([*words[:6], "--rounding", "half_up", "-o", str(out)]) == 2
    assert "half_up, for which QONNX has no name" in capsys.readouterr().err
    assert cli.main([*words[:5], "finn", "-o", str(out)]) == 2
    assert "writes is 'finn'; there are qdq, qonnx (--as" in capsys.readouterr().err


def test_rules_go_with_formats_that_are_given(tmp_path, capsys):
    (tmp_path / "f.json").write_text('{"x": "Q3.4", "y": "Q4.3"}')
    (tmp_path / "m.onnx").write_bytes(MODEL)
    (tmp_path / "t.toml").write_text('name = "t"\n[rules]\nrounding = "floor"\n')
    out, data = tmp_path / "q.onnx", tmp_path / "d.npz"
    words = ["quantize", str(tmp_path / "m.onnx"), "--formats", str(tmp_path / "f.json"), "-o", str(out)]
    for given in (["--target", str(tmp_path / "t.toml")], ["--rounding", "floor"], ["--rule", "rounding=floor"]):
        assert cli.main([*words, "--as", "qonnx", *given]) == 0
        assert {str(one.rounding) for one in qengine.InferenceSession(out).rules.tensors.values()} == {"floor"}
        assert cli.main([*words, *given]) == 2
        assert re.search("nothing for rounding; one of QONNX .--as qonnx", capsys.readouterr().err)
    # Where formats are chosen, those within a target say something of it; a rule alone does not.
    np.savez(data, x=np.ones((1, 3, 6, 5), np.float32))
    chosen = [*words[:2], *words[4:], "--data", str(data)]
    assert cli.main([*chosen, "--target", str(tmp_path / "t.toml")]) == 0
    assert "its rules are not in the file" in capsys.readouterr().out
    assert cli.main([*chosen, "--overflow", "wrap"]) == 2
    assert "nothing for overflow" in capsys.readouterr().err
