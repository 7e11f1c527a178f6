"""Searches that are ended: what was measured is kept, and nothing is measured twice."""

import json
import math
import signal
import sys
import time
from types import SimpleNamespace

import gated
import numpy as np
import pytest
from children import start
from networks import network, weights

import qengine
from qengine import InferenceSession
from qengine.analysis.search import evaluate, run, search, sensitivity
from qengine.analysis.search.evaluate import BudgetExhausted, ModelEvaluator
from qengine.analysis.search.memory import MemorizedModel, Memory
from qengine.data.datasets import open_dataset
from qengine.errors import SweepError, UnsupportedError
from qengine.model.formats.files import read_formats
from qengine.model.loader import load

MODEL = network(
    [("Gemm", "x w1", "h"), ("Relu", "h", "r"), ("Gemm", "r w2", "y")],
    inputs={"x": ["N", 6]},
    constants={"w1": weights(6, 5, seed=1), "w2": weights(5, 3, seed=3)},
)
X = weights(64, 6, seed=4, scale=1.0)
OPTIONS = {"metric": "sqnr", "least": 20.0, "bits": (3, 4, 6, 8), "cost": "macs"}
WORDS = ("--metric", "sqnr", "--min", "20", "--bits", "3,4,6,8", "--cost", "macs")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(MODEL)
    (tmp_path / "permits").mkdir()
    np.savez("data.npz", x=X)
    return tmp_path


def data(batch=16):
    return open_dataset("data.npz", load(MODEL), batch=batch)


@pytest.fixture
def counted(monkeypatch):
    """Return the list of the formats that are measured, in order."""
    seen, measure = [], ModelEvaluator.in_formats

    def in_formats(model, formats, *more):
        seen.append(json.dumps(formats, sort_keys=True))
        return measure(model, formats, *more)

    monkeypatch.setattr(ModelEvaluator, "in_formats", in_formats)
    return seen


def test_a_search_without_a_file_measures_everything_once(counted):
    found = search(MODEL, data(), **OPTIONS)
    assert found.is_complete
    assert len(counted) == len(set(counted)) == found.runs


def test_a_search_that_was_kept_measures_nothing_again(folder, counted):
    whole = search(MODEL, data(), **OPTIONS)
    counted.clear()
    first = search(MODEL, data(), **OPTIONS, keep=folder / "kept", max_runs=5)
    assert (first.runs, first.is_complete, len(counted)) == (5, False, 5)
    again = search(MODEL, data(), **OPTIONS, keep=folder / "kept", max_runs=5)
    assert (again, len(counted)) == (first, 5)
    rest = search(MODEL, data(), **OPTIONS, keep=folder / "kept")
    assert rest == whole
    assert len(counted) == len(set(counted)) == whole.runs
    # Another goal finds what it has in common.
    search(MODEL, data(), **{**OPTIONS, "least": 12.0}, keep=folder / "kept")
    assert len(counted) == len(set(counted))


@pytest.mark.parametrize(
    "other",
    [
        {"metric": "agreement", "least": 0.5},
        {"rounding": "floor"},
        {"accumulator_bits": 16},
        {"hold_out": 0.25},
        {"batch": 32},
        {"seed": 9},
    ],
)
def test_other_conditions_are_measured_again(folder, counted, other):
    settings, batch, seed = {**OPTIONS, **other}, other.get("batch", 16), other.get("seed")
    search(MODEL, data(), **OPTIONS, keep=folder / "kept", max_runs=3)
    before = len(counted)
    if seed is not None:
        np.savez("data.npz", x=weights(64, 6, seed=seed, scale=1.0))
    settings = {name: value for name, value in settings.items() if name not in ("batch", "seed")}
    search(MODEL, data(batch), **settings, keep=folder / "kept", max_runs=3)
    assert len(counted) - before >= 3


def test_sensitivities_continue_with_the_next_batch(folder, monkeypatch):
    whole = search(MODEL, data(), **OPTIONS)
    add, calls = sensitivity._add, []

    def counting(*arguments):
        calls.append(arguments)
        if len(calls) == stop:
            raise KeyboardInterrupt
        add(*arguments)

    monkeypatch.setattr(sensitivity, "_add", counting)
    of_one_batch = 4 * 4  # tensors that cost anything, and word lengths
    stop = 2 * of_one_batch + 3
    with pytest.raises(KeyboardInterrupt):
        search(MODEL, data(), **OPTIONS, keep=folder / "kept")
    calls.clear()
    stop = -1
    assert search(MODEL, data(), **OPTIONS, keep=folder / "kept") == whole
    assert len(calls) == 2 * of_one_batch


@pytest.mark.parametrize(("seconds", "is_measured"), [(0.5, False), (2.5, False), (3.5, True)])
def test_the_budget_of_time_holds_from_the_beginning(monkeypatch, seconds, is_measured):
    """The clock moves by a second with each batch that sensitivities are measured on."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    for module in (evaluate, run, sensitivity, sys.modules["qengine.analysis.search.memory"]):
        monkeypatch.setattr(module, "time", clock)
    keep = Memory.keep

    def later(memory, what, value):
        now[0] += 1.0
        keep(memory, what, value)

    monkeypatch.setattr(Memory, "keep", later)
    found = search(MODEL, data(), **OPTIONS, seconds=seconds)
    assert (found.runs, found.is_complete) == (1, False)
    assert any(unit.sensitivity for unit in found.units) is is_measured
    assert set(found.best.widths) == {8}


def test_a_measurement_ends_when_the_time_does():
    batches = [SimpleNamespace(feeds={"x": X[:2]}, targets={}, labels=None) for _ in range(3)]
    exact = [{"y": InferenceSession(MODEL).run(None, {"x": X[:2]})[0]}] * 3
    model = ModelEvaluator(
        *(load(MODEL), batches, exact, "y", qengine.Preprocessing(), SimpleNamespace(accumulator=lambda: None)),
        qengine.SessionOptions(),
    )
    with pytest.raises(BudgetExhausted):
        model.in_formats(dict.fromkeys("xhry", "Q3.4"), until=time.monotonic() - 1)


def test_figures_that_are_no_numbers_come_back(folder):
    figures = {"a": math.inf, "b": None, "c": 0.1, "d": -math.inf}
    model = SimpleNamespace(in_formats=lambda formats, _: figures[formats["x"]])
    for _ in range(2):
        with Memory(folder / "kept", "context") as memory:
            known = MemorizedModel(model, memory, "part")
            assert {name: known.in_formats({"x": name}) for name in figures} == figures
        model = None


def test_one_search_at_a_time(folder, monkeypatch):
    monkeypatch.setattr("qengine.analysis.sweep.table._WAIT_SECONDS", 0.01)
    with (
        Memory(folder / "kept", "context"),
        pytest.raises(SweepError, match="kept is in use by another program"),
    ):
        Memory(folder / "kept", "context")
    Memory(folder / "kept", "context").close()


def test_a_damaged_file_is_refused(folder):
    search(MODEL, data(), **OPTIONS, keep=folder / "kept", max_runs=2)
    content = bytearray((folder / "kept").read_bytes())
    place = content.rindex(b'"signal"')
    content[place + 12] ^= 1
    (folder / "kept").write_bytes(content)
    with pytest.raises(SweepError, match=r"kept is damaged \(row \d+ is not as it was written\): move it away"):
        search(MODEL, data(), **OPTIONS, keep=folder / "kept")


def test_registered_operators_are_in_no_key(folder, monkeypatch):
    monkeypatch.setattr("qengine.analysis.search.memory.first_registered", lambda graph: graph.nodes[0])
    with pytest.raises(UnsupportedError, match=r"Gemm.*does not know registered operators"):
        search(MODEL, data(), **OPTIONS, keep=folder / "kept")


def command(folder, *more):
    words = (sys.executable, gated.__file__, folder / "permits", "search", "model.onnx", "--data", "data.npz", *WORDS)
    return start([*words, *more], cwd=folder)


def wait_for(folder, begun, process):
    end = time.monotonic() + 60
    while len(gated.logged(folder / "permits", "begun")) < begun:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, -15, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_ends_a_search_which_continues(folder, number, code, word):
    permits, out = folder / "permits", folder / "formats.json"
    for begun, allowed in ((3, 2), (7, 3)):  # the last of each finds no permit, and is begun again
        gated.allow(permits, allowed)
        process = command(folder, "-o", "formats.json")
        wait_for(folder, begun, process)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == code
        kept = "formats.json.measured keeps what was measured: give the same command to continue"
        assert said.splitlines()[-1] == f"qengine: {word}; {kept}"
        assert not out.exists()
    gated.allow(permits, 500)
    process = command(folder, "-o", "formats.json", "--json")
    told, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    ended = gated.logged(permits, "ended")
    whole = search(MODEL, open_dataset("data.npz", load(MODEL), batch=64), **OPTIONS)
    assert len(ended) == len(set(ended)) == whole.runs == json.loads(told)["runs"]
    assert read_formats(out) == whole.formats
    assert not (folder / "formats.json.measured").exists()


def test_a_killed_search_continues(folder):
    permits = folder / "permits"
    gated.allow(permits, 4)
    process = command(folder, "-o", "formats.json")
    wait_for(folder, 5, process)
    process.kill()
    process.communicate()
    gated.allow(permits, 500)
    process = command(folder, "-o", "formats.json", "--json")
    told, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    ended = gated.logged(permits, "ended")
    assert len(ended) == len(set(ended)) == json.loads(told)["runs"]
