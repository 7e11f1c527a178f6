"""The commands in benchmarks/: wrong arguments are one line, and differences of outputs are not hidden."""

from __future__ import annotations

import sys

import model_files
import numpy as np
import pytest
import ratios

from qengine.analysis.bench import timing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "x"], "argument --threads: invalid list of numbers of threads value: 'x'"),
        (["--threads", "1,0"], "argument --threads: invalid list of numbers of threads value: '1,0'"),
        (["resnet"], "no model is named resnet"),
        (["--models", "empty"], "there is no .onnx file in empty"),
        (["--models", "."], "onnxruntime is not installed: pip install -e '.[bench]'"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "model.onnx").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ratios, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["ratios.py", *arguments])
    with pytest.raises(SystemExit):
        ratios.main()
    assert capsys.readouterr().err.splitlines()[-1] == f"ratios.py: error: {message}"


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        ([1.0, 4.0], [1.0, 5.0], 0.2),
        ([np.nan, np.inf, 1.0], [np.nan, np.inf, 1.0], 0),
        ([np.nan, 1.0], [0.0, 1.0], np.inf),
        ([np.inf, 1.0], [-np.inf, 1.0], np.inf),
        ([[1.0]], [1.0], np.inf),
    ],
)
def test_difference_of_outputs(ours, theirs, difference):
    assert model_files._largest_difference([np.float32(ours)], [np.float32(theirs)]) == pytest.approx(difference)


def test_turns_are_timed_by_the_clock_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(timing, "_PAUSE", 0)
    seconds = iter(range(100))
    found = timing.interleaved({"a": int, "b": int}, 0, least=2, clock=lambda: next(seconds) ** 2)
    assert found == {"a": timing.Timing(1000, 5000), "b": timing.Timing(5000, 9000)}
