"""Whole networks on native kernels, with steps of the reference between them, give the codes of the reference."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from covering import covering
from networks import network, weights
from random_graphs import OPERATORS
from runtime.native.native import ISAS, assert_same, both, kernels
from test_random_graphs import differences, solved

from qengine import InferenceSession, zoo
from qengine.data.golden import read_golden
from qengine.errors import FeedError, OptionError
from qengine.kernels import isa as isas

GOLDEN = Path(__file__).parents[2] / "golden"
INDEX = json.loads((GOLDEN / "index.json").read_text())


@pytest.mark.parametrize(
    ("golden", "word", "isa"),
    covering(
        [name for name in INDEX if name.startswith("tiny")],
        [{}, {"qformat": "Q2.5"}, {"qformat": "Q3.12", "per_channel": True}],
        ISAS,
    ),
)
def test_golden_models(golden, word, isa):
    feeds, _ = read_golden(GOLDEN / golden)
    got, want, ran = both(str(GOLDEN / INDEX[golden]), feeds, isa, 2, **word)
    assert_same(got, want)
    assert any(not kernel.startswith("reference") for kernel in ran), ran


@pytest.mark.parametrize("isa", ISAS)
def test_the_digits(isa):
    entry = zoo.find("digits")
    feeds = {"image": np.random.default_rng(0).random((20, 1, 28, 28), dtype=np.float32)}
    name = InferenceSession(str(entry.path)).get_inputs()[0].name
    got, want, ran = both(str(entry.path), {name: feeds["image"]}, isa, 2, qformat="Q3.4")
    assert_same(got, want)
    assert sum(kernel.startswith("dot") for kernel in ran) >= 2


# The best instruction set runs every tenth graph, and the others every fortieth, six graphs to a test.
STARTS = [
    (isa, start, every)
    for isa, every in [(isa, 10 if isa == ISAS[0] else 40) for isa in ISAS]
    for start in range(3, 20 * len(OPERATORS), 6 * every)
]


@pytest.mark.parametrize(("isa", "start", "every"), STARTS)
def test_random_graphs(isa, start, every, monkeypatch):
    """Codes equal an oracle in exact Python integers, without the reference between."""
    monkeypatch.setenv(isas.VARIABLE, isa)
    wrong = []
    for seed in range(start, min(start + 6 * every, 20 * len(OPERATORS)), every):
        case, expected = solved(seed)
        if found := differences(case, expected):
            wrong.append(f"seed {seed}: {' > '.join(case.trail)}\n  {case.options} {case.formats}\n  {found[0]}")
    assert not wrong, "\n".join(wrong)


MIXED = network(
    [
        ("Conv", "x w", "c", {"pads": [1] * 4}),
        ("Transpose", "c", "t", {"perm": [0, 1, 3, 2]}),
        ("Mod", "t k", "s", {"fmod": 1}),
        ("Conv", "s v", "d"),
        ("Reshape", "d shape", "y"),
    ],
    inputs={"x": [2, 3, 6, 7]},
    constants={"w": weights(18, 3, 3, 3), "v": weights(5, 18, 1, 1), "shape": np.array([2, -1]), "k": 0.75},
)


@pytest.mark.parametrize("word", [{}, {"qformat": "Q2.5"}])
def test_steps_of_the_reference_between(word):
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 3, 6, 7)).astype(np.float32)}
    got, want, ran = both(MIXED, feeds, ISAS[0], names=["c", "t", "s", "d", "y", "x"], **word)
    assert_same(got, want)
    assert sum(kernel.startswith("dot") for kernel in ran) == 2
    assert [kernel for kernel in ran if kernel.startswith("reference")]


def test_outputs_are_the_callers_own():
    session = InferenceSession(MIXED, isa=ISAS[0], qformat="Q2.5")
    x = np.ones((2, 3, 6, 7), np.float32)
    first = session.run(["c", "y"], {"x": x})
    kept = [array.copy() for array in first]
    second = session.run(["c", "y"], {"x": -x})
    for before, array, other in zip(kept, first, second, strict=True):
        np.testing.assert_array_equal(array, before)
        assert not np.shares_memory(array, other)
        array[:] = 7  # is writable


def test_a_transposed_view_is_fed():
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 3, 7, 6)).astype(np.float32).swapaxes(2, 3)}
    got, want, _ = both(MIXED, feeds, ISAS[0], qformat="Q2.5")
    assert_same(got, want)


def test_nan_is_refused_and_the_next_run_is_right():
    session = InferenceSession(MIXED, isa=ISAS[0], qformat="Q2.5")
    x = np.ones((2, 3, 6, 7), np.float32)
    expected = session.run(None, {"x": x})[0]
    bad = x.copy()
    bad[1, 2, 3, 4] = np.nan
    with pytest.raises(FeedError, match="input 'x' holds NaN"):
        session.run(None, {"x": bad})
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_one_session_in_many_threads(threads):
    session = InferenceSession(MIXED, isa=ISAS[0], threads=threads, qformat="Q2.5")
    feeds = [{"x": np.random.default_rng(i).normal(size=(2, 3, 6, 7)).astype(np.float32)} for i in range(40)]
    expected = [InferenceSession(MIXED, isa="reference", qformat="Q2.5").run(None, f)[0] for f in feeds]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda f: session.run(None, f)[0], feeds))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_best_is_chosen(monkeypatch):
    monkeypatch.delenv(isas.VARIABLE)
    session = InferenceSession(MIXED, qformat="Q2.5")
    feeds = {"x": np.zeros((2, 3, 6, 7), np.float32)}
    assert session.executor(session.plan(session.check_feeds(feeds))).isa.name == ISAS[0]
    assert kernels(session, feeds)


@pytest.mark.parametrize("isa", ISAS)
def test_one_is_forced_by_the_environment(isa, monkeypatch):
    monkeypatch.setenv(isas.VARIABLE, isa)
    session = InferenceSession(MIXED, qformat="Q2.5")
    plan = session.plan(session.check_feeds({"x": np.zeros((2, 3, 6, 7), np.float32)}))
    assert session.executor(plan).isa.name == isa


def test_what_the_cpu_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(isas, "available", lambda: (isas.GENERIC,))
    with pytest.raises(OptionError, match="this CPU has no avx512vnni; here there are generic, reference"):
        InferenceSession(MIXED, isa="avx512vnni")


def test_steady_runs_allocate_nothing_large(monkeypatch):
    import tracemalloc

    monkeypatch.undo()  # the guards around outputs are memory too
    session = InferenceSession(str(zoo.find("srcnn").path), isa=ISAS[0], threads=1, qformat="Q0.7")
    feeds = {"input": np.zeros((1, 3, 100, 100), np.float32), "factor": np.float32([1, 1, 3, 3])}
    session.run(None, feeds)
    tracemalloc.start()
    session.run(None, feeds)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    output = 3 * 300 * 300 * 4
    assert peak < output + 100_000


@pytest.mark.parametrize("name", ["a", "z"], ids=["before", "after"])
def test_the_reference_reads_an_input_and_its_transposition(name):
    """Whichever name comes first in the order of names."""
    nodes = [("Transpose", "x", name, {"perm": [0, 2, 1]}), ("MatMul", f"x {name}", "y")]
    model = network(nodes, inputs={"x": [2, 5, 5]}, outputs=["y"])
    feeds = {"x": np.random.default_rng(0).normal(0, 1, (2, 5, 5)).astype(np.float32)}
    got, want, _ = both(model, feeds, ISAS[0], qformat="Q2.13")
    assert_same(got, want)
