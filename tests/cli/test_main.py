"""The command as a process sees it: one line of error, exit status, nothing but the answer on standard output."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from children import start
from networks import network

import qengine
from qengine import cli, zoo
from qengine.errors import QEngineError

DIGITS = str(zoo.bundled("digits.onnx"))


def refused(capsys, *words):
    """Return the one line that the command fails with."""
    assert cli.main([str(word) for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("qengine: error: ")
    assert printed.err.endswith("\n")
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["run"], "run needs MODEL, an .onnx file"),
        (["rum", "srcnn"], "no command is named 'rum'; did you mean 'run'"),
        (["run", "srcnn", "digits"], "run takes one MODEL, and 'digits' is left over"),
        (["run", "srcnn", "--qformt", "Q4.3"], "run has no option --qformt; did you mean --qformat"),
        (["run", "srcnn", "--threads", "two"], "--threads must be a whole number, 1 to 1,024, not 'two'"),
        (["run", "no-such-model"], "no file 'no-such-model', and no bundled model of that name; bundled are srcnn"),
        (["run", "srcnn", "--qformat", "Q4,3"], "'Q4,3' is not a fixed-point format.*did you mean Q4.3"),
        (["run", "srcnn", "--qformat", "Q40.3"], "Q40.3 has 44 bits"),
        (["run", "srcnn", "--qformat", ""], "'' is not a fixed-point format"),
        (
            ["run", "srcnn", "--qformat", "Q4.3", "--rounding", "up"],
            "named 'up'; did you mean 'half_up'",
        ),
        (["run", "srcnn", "--qformat", "Q4.3", "--overflow", "clip"], "no overflow is named 'clip'"),
        (
            ["run", "srcnn", "--qformat", "Q4.3", "--accumulator-bits", "1"],
            "--accumulator-bits must be a whole number, 2 to 64, not '1'",
        ),
        (["run", "srcnn", "--qformat", "Q4.3", "--weight-qformat", "Q0.7", "--per-channel"], "leave out one"),
        (["run", "srcnn", "--rounding", "floor"], "--rounding has no meaning in float32: give a --qformat"),
        (["run", "srcnn", "--strict"], "--strict has no meaning in float32"),
        (["run", "srcnn", "--raw", "-o", "a.npy"], "--raw saves the codes of a run in fixed point"),
        (["run", "srcnn", "--qformat", "Q4.3", "--raw"], "give a file with -o"),
        (["run", "srcnn", "--isa", "sse9"], "no isa is named 'sse9'; here there are .*reference"),
        (["run", "srcnn", "--max-memory", "1M"], r"needs .* of memory at once, more than 1.0 MiB; .*--max-memory"),
        (["run", "srcnn", "--max-memory", "lots"], "max_memory must be a number of bytes such as .*512M or 2G"),
        (["run", "srcnn", "--max-iterations", "0"], "--max-iterations must be a whole number, 1 or more, not '0'"),
        (["calibrate", "digits", "--max-memory", "1K"], "more than 1.0 KiB; raise the limit"),
        (["run", "srcnn", "--threads", "0"], "--threads must be a whole number, 1 to 1,024, not '0'"),
        (["run", "srcnn", "-o", "out.jpg"], "would change the pixels; use .png"),
        (["run", "srcnn", "-o", "no/folder/out.png"], "there is no folder no/folder"),
        (["run", "digits", "-o", "out.png"], "no output is one image"),
        (["run", "srcnn", "--fetch", "upscale"], "no tensor 'upscale'; did you mean 'upscaled'"),
        (["run", "srcnn", "-i", "factor"], "-i 'factor' is not NAME=VALUE; the inputs are 'input', 'factor'"),
        (["run", "srcnn", "-i", "scale=1,1,2,2"], "no input 'scale'; its inputs are 'input', 'factor'"),
        (["run", "srcnn", "-i", "factor=1,1,2,2", "-i", "factor=1,1,3,3"], "-i gives 'factor' twice"),
        (["run", "srcnn", "-i", "factor=1,1,2"], r"input 'factor' needs shape \[4\], not \[3\]"),
        (["run", "srcnn", "-i", "factor=1,1,x,2"], "input 'factor': '1,1,x,2' is neither a .npy"),
        (["run", "srcnn", "-i", "factor=1,1,0,2"], "Resize.*scales .*positive, finite"),
        (["run", "srcnn", "-i", "factor=1,1,-1,2"], "Resize.*scales .*positive, finite"),
        (["run", "srcnn", "-i", "factor=1,1,nan,2"], "Resize.*scales .*positive, finite"),
        (["run", "srcnn", "-i", "factor=1,1,1e9,1e9"], "more than 1,073,741,824 elements.*--max-elements"),
        (["run", "srcnn", "-i", "input=no.png"], "input 'input': there is no file no.png"),
        (["run", "srcnn", "--scale", "1/0"], "--scale '1/0' is not a number such as 1/255"),
        (["run", "srcnn", "--mean", "grey"], "--mean 'grey' is not a number"),
        (["run", "srcnn", "--max-elements", "1000"], "more than 1,000"),
        (["run", "srcnn", "--formats", "no.json"], "formats file no.json: No such file"),
        (["run", "srcnn", "--expected", "no.png"], "--expected: there is no file no.png"),
        (["run", DIGITS], "no feed for input 'image'"),
    ],
)
def test_bad_words(capsys, tmp_path, monkeypatch, words, reason):
    monkeypatch.chdir(tmp_path)
    assert re.search(reason, refused(capsys, *words))
    assert not os.listdir(tmp_path)


def test_a_failed_run_leaves_the_old_file(capsys, tmp_path):
    out = tmp_path / "out.png"
    out.write_bytes(b"old")
    refused(capsys, "run", "srcnn", "-i", "factor=1,1,0,1", "-o", out)
    assert out.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.png"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"no model at all", "is not an ONNX model"),
        (network([("Relu", "x", "y")])[:40], "is not an ONNX model"),
        (
            network([("Relu", "x", "a"), ("Foo", "a", "b"), ("Bar", "b", "c"), ("Foo", "c", "y")]),
            r"operators not supported: Bar-17, Foo-17 \(x2\)",
        ),
    ],
)
def test_bad_models(capsys, tmp_path, content, reason):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    error = refused(capsys, "run", path)
    assert re.search(reason, error)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((1, 3, 6, 5)), "needs dtype float32, not float64"),
        (np.zeros((1, 3, 6), np.float32), r"needs 4 axes \[1, 3, 6, 5\], not 3"),
        (np.zeros((1, 3, 6, 6), np.float32), r"needs shape \[1, 3, 6, 5\], not \[1, 3, 6, 6\]"),
        (np.full((1, 3, 6, 5), np.nan, np.float32), "'x' holds NaN: fixed point has no code for it"),
    ],
)
def test_bad_tensors(capsys, tmp_path, array, reason):
    (tmp_path / "m.onnx").write_bytes(network([("Relu", "x", "y")]))
    np.save(tmp_path / "x.npy", array)
    error = refused(capsys, "run", tmp_path / "m.onnx", "-i", f"x={tmp_path / 'x.npy'}", "--qformat", "Q4.3")
    assert re.search(reason, error)


def test_bad_names_in_a_formats_file(capsys, tmp_path):
    formats = tmp_path / "formats.json"
    formats.write_text('{"relu": "Q4.3", "stam": "Q4.3"}')
    assert "'stam'" in refused(capsys, "run", "digits", "--qformat", "Q4.3", "--formats", formats)


def test_names_cannot_command_the_terminal(capsys, tmp_path):
    (tmp_path / "m.onnx").write_bytes(network([("Relu", "x", "y")]))
    error = refused(capsys, "run", tmp_path / "m.onnx", "-i", "a\x1b[31m\nb=1")
    assert "\\x1b" in error


def test_interrupted(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("qengine.cli.session.InferenceSession", stop)
    assert cli.main(["run", "srcnn"]) == 130
    assert capsys.readouterr().out == ""


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("qengine.cli.session.InferenceSession", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["run", "srcnn"])


def test_help_and_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"qengine {qengine.__version__}\n"
    for words in ([], ["--help"], ["-h"]):
        assert cli.main(words) == 0
        assert "run" in capsys.readouterr().out
    assert cli.main(["run", "--help"]) == 0
    shown = capsys.readouterr().out
    for option in ("--qformat", "--weight-qformat", "--formats", "--rounding", "--overflow", "--accumulator-bits"):
        assert option in shown
    for option in ("--per-channel", "--per-tensor", "--strict", "--isa", "--threads", "--json", "--input", "--out"):
        assert option in shown


def test_as_a_module_outside_of_the_checkout(tmp_path):
    words = [sys.executable, "-m", "qengine", "run", "srcnn", "-i", "factor=1,1,1,2", "-o", "out.npy", "--json"]
    found = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stderr == ""
    assert json.loads(found.stdout)["outputs"][0]["shape"] == [1, 3, 100, 200]
    assert np.load(tmp_path / "out.npy").shape == (1, 3, 100, 200)


def test_a_reader_that_has_gone_is_no_error(tmp_path):
    command = f"{sys.executable} -m qengine run digits --json | head -c 1"
    found = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, cwd=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (0, "{", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is Linux's")  # noqa: PTH110
def test_a_full_disk_is_an_error_of_one_line(tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        words = [sys.executable, "-m", "qengine", "run", "digits"]
        found = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert found.returncode == 2
    assert re.fullmatch(r"qengine: error: cannot write to standard output: No space left.*\n", found.stderr)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is Linux's")  # noqa: PTH110
def test_an_error_that_cannot_be_told_is_still_an_error(tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        words = [sys.executable, "-m", "qengine", "run", "nothing"]
        found = subprocess.run(words, stdout=subprocess.PIPE, stderr=full, text=True, cwd=tmp_path)
    assert (found.returncode, found.stdout) == (2, "")


def test_an_interrupt_from_outside(tmp_path):
    """A run is stopped by SIGINT in the middle, quietly, and leaves nothing."""
    code = """
import signal, sys
from qengine.cli import main
from qengine.runtime.plan.plan import Plan
trace = Plan.trace
def stopped(*arguments):
    for i, computed in enumerate(trace(*arguments)):
        yield computed
        if i == 3:
            print(flush=True)
            signal.pause()
Plan.trace = stopped
sys.exit(main(["run", "srcnn", "--qformat", "Q4.3", "-o", "out.png"]))
"""
    process = start([sys.executable, "-c", code], cwd=tmp_path)
    try:
        assert process.stdout.readline() == "\n"
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out, error) == (130, "", "")
    assert not os.listdir(tmp_path)


def test_the_errors_of_the_library_are_the_errors_of_the_command(capsys):
    with pytest.raises(QEngineError) as raised:
        qengine.InferenceSession(DIGITS, qformat="Q99.9")
    assert refused(capsys, "run", "digits", "--qformat", "Q99.9") == f"qengine: error: {raised.value}\n"


@pytest.mark.parametrize("module", ["numpy", "typer", "onnx"])
def test_interrupted_while_modules_are_imported(module, tmp_path):
    code = f"""
import os, signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from qengine.cli import main
sys.exit(main(["run", "digits"]))
"""
    process = start([sys.executable, "-c", code], cwd=tmp_path)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error) == (130, "", "")
