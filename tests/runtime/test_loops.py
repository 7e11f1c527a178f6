"""Loops and scans: iterations without planning, and without Python, are those of the reference."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
from networks import weights
from onnx import TensorProto, helper, numpy_helper
from runtime.native.native import ISAS

from qengine import InferenceSession
from qengine.errors import ModelError, UnsupportedError
from qengine.runtime.native import native_loop
from qengine.runtime.sections import SectionedPlan

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
X = weights(1, 4, seed=1)


def value(name, kind=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def graph(nodes, inputs, outputs):
    return helper.make_graph(
        [node(*one[:3], **(one[3] if len(one) > 3 else {})) for one in nodes], "body", inputs, outputs
    )


def model(nodes, inputs, outputs, constants=()):
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()]
    whole = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info(n) for n in outputs], held)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


CONSTANTS = {
    **{"yes": np.array(True), "one": np.int64(1), "zero": np.int64(0), "half": np.float32(0.5), "seven": np.int64(7)},
    **{"axis": np.array([0]), "start": np.float32([[0.25, -0.5, 1, 2]])},
}


def loop(nodes, states, outputs, names="n yes", count=1, scans=0, inputs=()):
    """A loop over states {name: (kind, shape, value outside)}, whose body has the outputs "go ..."."""
    body = graph(
        nodes,
        [
            value("i", INT64, []),
            value("c", BOOL, []),
            *(value(n, kind, shape) for n, (kind, shape, _) in states.items()),
        ],
        [value(name, BOOL if k == 0 else 0, None) for k, name in enumerate(outputs.split())],
    )
    results = [f"y{k}" for k in range(count + scans)]
    outer = helper.make_node(
        "Loop", [*("" if n == "-" else n for n in names.split()), *(s for *_, s in states.values())], results, body=body
    )
    return model([outer], [value("x", FLOAT, [1, 4]), value("n", INT64, []), *inputs], results, CONSTANTS)


S = {"s": (FLOAT, [1, 4], "x")}
STEP = [("Mul", "s half", "m"), ("Add", "m x", "t")]

LOOPS = {
    "a condition that passes through": loop([*STEP, ("Identity", "c", "go")], S, "go t"),
    "a constant condition": loop(STEP, S, "yes t"),
    "scan outputs": loop([*STEP, ("Identity", "c", "go"), ("Identity", "t", "u")], S, "go t u m t", scans=3),
    "a counter that ends the loop": loop(
        [*STEP, ("Add", "k one", "k2"), ("Less", "k2 seven", "go")],
        {"k": (INT64, [], "zero"), **S}, "go k2 t t", "- yes", 2, 1,
    ),
    "a limit and a condition": loop(
        [*STEP, ("Less", "i seven", "go"), ("Cast", "i", "f", {"to": 1}), ("Mul", "t f", "u")], S, "go u u i", scans=2
    ),
    "states that change places": loop(
        [("Add", "a b", "sum")], {"a": (FLOAT, [1, 4], "x"), "b": (FLOAT, [1, 4], "start")},
        "yes b sum a", count=2, scans=1,
    ),
    "a state that stays, and one that becomes constant": loop(
        STEP, {**S, "p": (FLOAT, [1, 4], "start"), "q": (FLOAT, [1, 4], "x")}, "yes t p start p q", count=3, scans=2
    ),
    "the number as a state": loop(
        [*STEP, ("Identity", "i", "j")], {**S, "k": (INT64, [], "zero")}, "yes t j k", count=2, scans=1
    ),
    "a state of the condition": loop(STEP, {**S, "k": (BOOL, [], "yes")}, "yes t c c", count=2, scans=1),
}  # fmt: skip


def session_of(built, **options):
    """A session on native kernels, if nothing else is asked for."""
    return InferenceSession(built, **{"isa": ISAS[0], **options})


@pytest.fixture
def repeated(monkeypatch):
    """The numbers of iterations that machine code ran at once, in all loops."""
    found = []
    run = native_loop.NativeLoop.run

    def counted(self, values, first, limit, count, what):
        progress = run(self, values, first, limit, count, what)
        found.append(progress.count - first)
        return progress

    monkeypatch.setattr(native_loop.NativeLoop, "run", counted)
    return found


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", LOOPS)
def test_native_loops_in_float32(name, threads, repeated):
    feeds = {"x": X, "n": np.array(40)}
    native, reference = session_of(LOOPS[name], threads=threads), session_of(LOOPS[name], isa="reference")
    wanted = reference.run(None, feeds)
    assert not repeated
    for _ in range(2):
        for a, b in zip(native.run(None, feeds), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, strict=True)
    assert sum(repeated) > 6, repeated


@pytest.mark.parametrize("name", LOOPS)
def test_codes_pass_through_native_loops(name, repeated):
    feeds = {"x": X, "n": np.array(9)}
    native = session_of(LOOPS[name], qformat="Q3.4")
    reference = session_of(LOOPS[name], qformat="Q3.4", isa="reference")
    for _ in range(2):
        for a, b in zip(native.run(None, feeds, raw=True), reference.run(None, feeds, raw=True), strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


def test_a_body_in_fixed_point_is_repeated_by_machine_code(repeated):
    feeds = {"x": X, "n": np.array(9)}
    session = session_of(LOOPS["scan outputs"], qformat="Q3.4")
    session.run(None, feeds)
    assert repeated == [8]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_any_number_of_iterations(count, repeated):
    session = session_of(LOOPS["scan outputs"])
    for _ in range(2):
        got = session.run(None, {"x": X, "n": np.array(count)})
        state = X
        for k in range(count):
            state = state * np.float32(0.5) + X
            np.testing.assert_allclose(got[1][k], state, rtol=1e-6)
        np.testing.assert_allclose(got[0], state, rtol=1e-6)
        assert got[1].shape == (count, 1, 4) or not count


def test_rows_that_nobody_knows_the_number_of(repeated, monkeypatch):
    monkeypatch.setattr(native_loop, "_ROWS", 3)
    monkeypatch.setattr(native_loop, "_FIRST_ITERATIONS", 2)
    name = "a counter that ends the loop"
    got = session_of(LOOPS[name]).run(None, {"x": X, "n": np.array(0)})
    wanted = session_of(LOOPS[name], isa="reference").run(None, {"x": X, "n": np.array(0)})
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert repeated == [6]


def scan(axes, directions, out_axes, out_directions):
    body = graph(
        [("Mul", "s half", "m"), ("Add", "m a", "u"), ("Add", "u b", "t")],
        [value("s", FLOAT, [2, 3]), value("a", FLOAT, [2, 3]), value("b", FLOAT, [3])],
        [value("t"), value("t"), value("a")],
    )
    attributes = {"scan_input_axes": axes, "scan_input_directions": directions}
    attributes |= {"scan_output_axes": out_axes, "scan_output_directions": out_directions}
    outer = helper.make_node("Scan", ["s0", "p", "q"], ["y0", "y1", "y2"], body=body, num_scan_inputs=2, **attributes)
    shapes = {"s0": [2, 3], "p": np.insert([2, 3], axes[0], 7).tolist(), "q": np.insert([3], axes[1], 7).tolist()}
    inputs = [value(name, FLOAT, shape) for name, shape in shapes.items()]
    feeds = {name: weights(*shape, seed=k) for k, (name, shape) in enumerate(shapes.items())}
    return model([outer], inputs, ["y0", "y1", "y2"], CONSTANTS), feeds


@pytest.mark.parametrize("axes", [(0, 0, 0, 0), (2, 1, 1, 2), (1, 0, 1, 1)])
@pytest.mark.parametrize("directions", [(0, 0, 0, 0), (1, 0, 0, 1), (0, 1, 1, 0)])
def test_scans(axes, directions, repeated):
    built, feeds = scan(axes[:2], directions[:2], axes[2:], directions[2:])
    session, wanted = session_of(built), session_of(built, isa="reference").run(None, feeds)
    for _ in range(2):
        for a, b in zip(session.run(None, feeds), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, strict=True)
    assert repeated == [6, 7]


def growing():
    return loop([("Concat", "s x", "t", {"axis": 1})], {"s": (FLOAT, [1, "L"], "x")}, "yes t")


def test_shapes_that_grow_are_planned_once_each(monkeypatch):
    session, feeds, planned = session_of(growing()), {"x": X, "n": np.array(5)}, []
    run = SectionedPlan.run
    monkeypatch.setattr(SectionedPlan, "run", lambda self, *given: planned.append(self) or run(self, *given))
    np.testing.assert_array_equal(session.run(None, feeds)[0], np.tile(X, (1, 6)))
    assert len(planned) == 6
    np.testing.assert_array_equal(session.run(None, feeds)[0], np.tile(X, (1, 6)))
    assert len(planned) == 7  # the graph around the loop


def test_numbers_that_decide_shapes_are_planned_once_each(monkeypatch):
    """A slice between the number of the iteration and the next one: another plan in each, kept for the next run."""
    body = [("Unsqueeze", "i axis", "a"), ("Add", "a one", "b"), ("Slice", "rows a b axis", "r"), ("Add", "s r", "t")]
    built = loop(body, S, "yes t t", scans=1, inputs=[value("rows", FLOAT, [5, 4])])
    session, planned, rows = session_of(built), [], weights(5, 4, seed=9)
    run = SectionedPlan.run
    monkeypatch.setattr(SectionedPlan, "run", lambda self, *given: planned.append(self) or run(self, *given))
    for count in (6, 7, 8):  # the graph around the loop, and in the first run five times the body
        last, kept = session.run(None, {"x": X, "n": np.array(5), "rows": rows})
        np.testing.assert_allclose(last, X + rows.sum(0), rtol=1e-5)
        np.testing.assert_allclose(kept[:, 0], X + rows.cumsum(0), rtol=1e-5)
        rows = rows[::-1].copy()
        assert len(planned) == count


def test_elements_around_a_loop_that_decide_shapes():
    """A run with other elements is another plan, though its arrays are the same."""
    body = [("Expand", "half shape", "e"), ("ReduceSum", "e", "r"), ("Add", "s r", "t")]
    built = loop(body, S, "yes t", inputs=[value("shape", INT64, [1])])
    session, shape = session_of(built), np.array([3])
    for length in (3, 5, 2):
        shape[0] = length
        (y,) = session.run(None, {"x": X, "n": np.array(4), "shape": shape})
        np.testing.assert_allclose(y, X + 4 * 0.5 * length, rtol=1e-6)


def picking():
    return loop([("Gather", "x i", "g", {"axis": 1}), ("Add", "s g", "t")], S, "yes t t", scans=1)


def test_an_index_out_of_range_in_a_native_loop(repeated):
    session = session_of(picking())
    for count in (4, 2):
        session.run(None, {"x": X, "n": np.array(count)})
    messages = []
    for one in (session, session_of(picking(), isa="reference")):
        with pytest.raises(ModelError) as caught:
            one.run(None, {"x": X, "n": np.array(9)})
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_the_limit_on_iterations(repeated):
    session = session_of(LOOPS["scan outputs"], max_iterations=50)
    for _ in range(2):
        assert session.run(None, {"x": X, "n": np.array(50)})[1].shape == (50, 1, 4)
        with pytest.raises(UnsupportedError, match="more than 50 iterations"):
            session.run(None, {"x": X, "n": np.array(51)})
    assert repeated


def test_the_limit_on_memory():
    session = session_of(LOOPS["scan outputs"], max_memory="1M")
    session.run(None, {"x": X, "n": np.array(100)})
    with pytest.raises(UnsupportedError, match="of memory at once"):
        session.run(None, {"x": X, "n": np.array(100_000)})


def test_a_loop_in_a_loop():
    inner = graph(
        STEP,
        [value("i2", INT64, []), value("c2", BOOL, []), value("s", FLOAT, [1, 4])],
        [value("yes", BOOL), value("t")],
    )
    nodes = [helper.make_node("Loop", ["seven", "yes", "o"], ["p"], body=inner)]
    body = helper.make_graph(
        nodes,
        "outer",
        [value("i", INT64, []), value("c", BOOL, []), value("o", FLOAT, [1, 4])],
        [value("yes", BOOL), value("p")],
    )
    outer = helper.make_node("Loop", ["n", "yes", "x"], ["y"], body=body)
    built = model([outer], [value("x", FLOAT, [1, 4]), value("n", INT64, [])], ["y"], CONSTANTS)
    feeds = {"x": X, "n": np.array(3)}
    session = session_of(built, max_iterations=24)
    wanted = session_of(built, isa="reference").run(None, feeds)[0]
    np.testing.assert_allclose(session.run(None, feeds)[0], wanted, rtol=1e-5)
    with pytest.raises(UnsupportedError, match="more than 24 iterations"):
        session.run(None, {"x": X, "n": np.array(4)})


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_ends_a_long_loop(threads):
    session = session_of(LOOPS["a constant condition"], max_iterations=10**12, threads=threads)
    wanted = session.run(None, {"x": X, "n": np.array(100)})[0]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    began = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt):
            session.run(None, {"x": X, "n": np.array(10**11)})
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.perf_counter() - began < 30  # the loop would take hours
    np.testing.assert_array_equal(session.run(None, {"x": X, "n": np.array(100)})[0], wanted)
