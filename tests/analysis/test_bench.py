"""Measurements of speed: what adds up, what is compared with what, and what is warned about."""

from dataclasses import replace

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine.analysis.bench import Report, Row, Timing
from qengine.analysis.bench import model as bench_model
from qengine.analysis.machine_state import MachineState, machine_state
from qengine.errors import OptionError
from qengine.kernels.isa import VARIABLE, available
from qengine.kernels.peak import PeakLoop

SMALL = network(
    [("Conv", "x w", "c", {"pads": [1] * 4}), ("Relu", "c", "y")],
    inputs={"x": [1, 3, 12, 10]},
    constants={"w": weights(20, 3, 3, 3)},
)
IDLE = MachineState("a CPU", 4, 0.1, 0, 3000.0, 3000.0, "performance")


@pytest.fixture(autouse=True)
def native(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_and_overhead_are_one_run(threads):
    report = qengine.bench(SMALL, seconds=0.1, qformat="Q2.5", threads=threads)
    assert report.threads == threads
    total = sum(row.ms for row in report.rows) + report.overhead_ms
    assert total == pytest.approx(report.one_thread.best_ms)
    if threads == 1:
        assert report.run == report.one_thread
    assert report.machine.cpu


def test_no_kernel_is_above_its_peak_without_a_reason():
    report = qengine.bench(SMALL, seconds=0.1, threads=1)
    for row in report.rows:
        share = row.percent_of_peak
        assert share is None or share <= 100 or "above the peak" in row.note
        assert share is None or share == pytest.approx(100 * row.gmacs / report.peaks[row.kind])


class FakeLoop:
    """A peak of 10 GMAC/s that is found at the second measurement."""

    def __init__(self, kind, isa):
        self.kind = kind
        self.turns = []

    def rate(self, seconds, turns=8):
        self.turns.append(turns)
        return 5e9 if len(self.turns) == 1 else 10e9


def row(gmacs, note=""):
    return Row("t", "Conv", "dot", note, 1.0, gmacs, None, "s8")


def test_the_best_of_several_peaks_counts(monkeypatch):
    monkeypatch.setattr(bench_model, "PeakLoop", FakeLoop)
    peaks = bench_model._Peaks(["s8"], None)
    assert peaks.gmacs == {"s8": 5.0}
    assert not peaks.hold([row(8.0)])
    peaks.insist()
    assert peaks.gmacs == {"s8": 10.0}
    assert peaks.hold([row(8.0)])
    assert [one.percent_of_peak for one in peaks.shares([row(8.0), row(10.0)])] == [80.0, 100.0]


def test_a_share_above_the_peak_has_a_reason(monkeypatch):
    monkeypatch.setattr(bench_model, "PeakLoop", FakeLoop)
    (found,) = bench_model._Peaks(["s8"], None).shares([row(8.0, "32-bit sums")])
    assert found.percent_of_peak == 160.0
    assert found.note.startswith("32-bit sums; above the peak: ")


def test_the_peak_is_measured_again_between_kernels_and_not_all_the_time(monkeypatch):
    monkeypatch.setattr(bench_model, "PeakLoop", FakeLoop)
    peaks = bench_model._Peaks(["s8"], None)
    peaks.measure()
    assert len(peaks._loops["s8"].turns) == 1
    peaks._next = 0.0
    peaks.measure()
    assert len(peaks._loops["s8"].turns) == 2


@pytest.mark.parametrize("kind", ["s8", "s16", "f32"])
def test_a_peak_is_a_rate(kind):
    assert 1e6 < PeakLoop(kind, available()[0]).rate(0.002, turns=2) < 1e14


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        ({}, []),
        ({"load": None, "clock": None, "highest_clock": None, "governor": None}, []),
        ({"load": 3.0, "running": 5}, ["the machine is busy: a load of 3.0 on 4 cores, 5 other processes run now"]),
        ({"load": 0.9, "cores": 1}, ["the machine is busy: a load of 0.9 on 1 core;"]),
        ({"clock": 1500.0}, ["the clock is at 1500 of 3000 MHz"]),
        ({"clock": None, "governor": "powersave"}, ["the clock is kept low (powersave)"]),
    ],
)
def test_what_makes_times_long_is_warned_about(changes, warnings):
    found = replace(IDLE, **changes).warnings
    assert len(found) == len(warnings)
    assert all(text.startswith(start) for text, start in zip(found, warnings, strict=True))


def test_runs_that_differ_are_warned_about():
    assert bench_model._unsteady({"qengine": Timing(1.0, 1.2)}) == ()
    (text,) = bench_model._unsteady({"qengine": Timing(1.0, 1.2), "other": Timing(1.0, 2.5)})
    assert text.startswith("runs differ: the median takes 2.5 times the best")


def test_this_machine_has_a_state():
    state = machine_state()
    assert state.cpu
    assert state.cores >= 1
    assert all(isinstance(text, str) for text in state.warnings)


def test_a_model_is_named_in_several_ways():
    path = qengine.zoo.find("digits").path
    session = qengine.InferenceSession(path, qformat="Q3.4", threads=1)
    for model, keywords in ((path, {"qformat": "Q3.4", "threads": 1}), (session, {})):
        report = qengine.bench(model, {"image": np.zeros((1, 1, 28, 28), np.float32)}, seconds=0.05, **keywords)
        assert isinstance(report, Report)
        assert {row.tensor for row in report.rows} >= {"relu", "logits"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"qformat": "Q3.4"}, "a session has options of its own"),
        ({"vs": ["onnxruntim"]}, "did you mean 'onnxruntime'"),
        ({"vs": ["onnxruntime"]}, "give its path"),
    ],
)
def test_mistakes(words, reason):
    with pytest.raises(OptionError, match=reason):
        qengine.bench(qengine.InferenceSession(SMALL, threads=1), seconds=0.05, **words)
