"""What the points of a sweep share changes no row: each is what a session made for it alone gives."""

import hashlib
import json
import time

import numpy as np
import pytest
from networks import network

import qengine
from qengine.analysis.sweep import Grid
from qengine.data import zoo
from qengine.kernels import build
from qengine.kernels.isa import available
from qengine.quantization.calibration import CalibrationOptions, choose_formats, observe
from qengine.quantization.correction import correct
from qengine.runtime.options import SessionOptions

from .conftest import classifier_bytes

BEST = available()[0].name


def digest_of(outputs):
    """Return the digest of codes that a row has."""
    found = hashlib.sha256()
    for name, codes in outputs:
        found.update(f"{name} {codes.dtype.str} {codes.shape} ".encode() + np.ascontiguousarray(codes).tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("isa", [BEST, "reference"])
def test_each_point_is_a_session_made_alone(classifier, tmp_path, isa):
    model, data = classifier
    grid = Grid(
        bits=[2, 5, 8, 13, 16],
        per_channel=[False, True],
        methods=["mse", "max"],
        roundings=["half_even", "trunc"],
        accumulator_bits=[None, 12],
    )
    rows = qengine.sweep(model, tmp_path / "out", grid, data=data, isa=isa, batch=5).rows[1:]
    x = np.load(data)["x"]
    batches = [{"x": x[i : i + 5]} for i in range(0, 12, 5)]
    for row in rows:
        point = row.point
        options = CalibrationOptions(bits=point.activation_bits, method=point.method, per_channel=point.per_channel)
        formats = choose_formats(observe(str(model), batches, isa=isa), options)
        session = qengine.InferenceSession(
            str(model), formats=formats, rounding=point.rounding, accumulator_bits=point.accumulator_bits, isa=isa
        )
        codes = [("y", session.run(["y"], feed, raw=True)[0]) for feed in batches]
        assert row.outcome.codes == digest_of(codes), point
        assert row.outcome.costs.weight_bytes == (56 * point.weight_bits + 9 * 32) / 8


def test_corrected_points_are_corrections_made_alone(normalized, tmp_path):
    model, data = normalized
    grid = Grid(bits=[4, 8], recipes=["none", "fold+bias", "best"], roundings=["half_even", "floor"])
    rows = qengine.sweep(model, tmp_path / "out", grid, data=data, isa=BEST).rows[1:]
    graph, feeds = qengine.InferenceSession(str(model)).graph, [{"x": np.load(data)["x"]}]
    for row in rows:
        options = CalibrationOptions(bits=row.point.activation_bits)
        recipe = row.point.recipe if row.point.recipe == "none" else row.point.recipe.split("+")
        fixed = correct(graph, lambda g, o=options: choose_formats(observe(g, feeds, isa=BEST), o), feeds, recipe)
        session = qengine.InferenceSession(fixed.graph, formats=fixed.formats, rounding=row.point.rounding, isa=BEST)
        assert row.outcome.codes == digest_of([("y", session.run(["y"], feeds[0], raw=True)[0])]), row.point


BLOCK = network(
    [
        ("Conv", "x w1 b1", "a"),
        ("Relu", "a", "a6"),
        ("Conv", "a6 w2 b2", "d", {"group": 72, "pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("Clip", "d low high", "d6"),
        ("Conv", "d6 w3 b3", "e"),
        ("Conv", "d6 w4", "f"),
        ("Add", "e f", "g"),
        ("GlobalAveragePool", "g", "p"),
        ("Flatten", "p", "q"),
        ("Gemm", "q w5 b5", "y", {"transB": 1}),
    ],
    inputs={"x": ["N", 40, 7, 9]},
    constants={
        name: np.random.default_rng(i).normal(size=shape).astype(np.float32)
        for i, (name, shape) in enumerate(
            {
                **{"w1": (72, 40, 1, 1), "b1": (72,), "w2": (72, 1, 3, 3), "b2": (72,), "w3": (70, 72, 1, 1)},
                **{"b3": (70,), "w4": (70, 72, 1, 1), "w5": (5, 70), "b5": (5,)},
            }.items()
        )
    }
    | {"low": np.float32(0), "high": np.float32(6)},
)
"""An expansion, a depthwise convolution and two projections, of several vectors: at 16 bits their sums are widened."""


def test_sessions_of_one_model_are_independent():
    """Each gives what a session made alone gives, in any order, and still when others have run after it."""
    rng, points = np.random.default_rng(5), []
    for bits in (3, 7, 8, 9, 14, 16):
        for i, rounding in enumerate(["half_even", "floor", "half_away"]):
            points.append({"bits": bits, "per_channel": i == bits % 3, "rounding": rounding})
    rng.shuffle(points)
    feeds = {"x": rng.normal(size=(2, 40, 7, 9)).astype(np.float32)}
    observation = observe(BLOCK, [feeds], isa=BEST)
    shared, sessions = qengine.InferenceSession(BLOCK, isa=BEST, threads=2), []
    for point in points:
        chosen = choose_formats(
            observation, CalibrationOptions(bits=point["bits"], per_channel=point["per_channel"], method="max")
        )
        keywords = {"formats": chosen.formats, "rounding": point["rounding"]}
        session = shared.with_options(SessionOptions(isa=BEST, threads=2, **keywords))
        alone = qengine.InferenceSession(BLOCK, isa="reference", **keywords)
        expected = alone.run(["e", "g", "y"], feeds, raw=True)
        sessions.append((session, expected, point))
        sessions = sessions[-4:]  # memory of the others goes to the next ones
        for older, codes, its_point in sessions:
            for found, wanted in zip(older.run(["e", "g", "y"], feeds, raw=True), codes, strict=True):
                np.testing.assert_array_equal(found, wanted, strict=True, err_msg=str(its_point))


def test_word_lengths_share_kernels(tmp_path, monkeypatch):
    used = []
    addresses = build.addresses
    monkeypatch.setattr(
        "qengine.kernels.program.addresses", lambda specs, isa: used.extend(specs) or addresses(specs, isa)
    )
    (tmp_path / "model.onnx").write_bytes(classifier_bytes())
    np.savez(tmp_path / "set.npz", x=np.random.default_rng(2).normal(size=(4, 1, 6, 6)).astype(np.float32))
    by_sweep = []
    for bits in ([8], range(2, 9), range(2, 17)):
        used.clear()
        qengine.sweep(
            tmp_path / "model.onnx", tmp_path / str(bits), Grid(bits=bits), data=tmp_path / "set.npz", isa=BEST
        )
        by_sweep.append({repr(spec) for spec in used if "FormatErrors" not in repr(spec)})
    one, narrow, every = by_sweep
    assert narrow == one  # word length, shifts and bounds are arguments
    assert len(every) < 3 * len(one)


def test_the_time_of_a_point_is_told_apart(tmp_path):
    model = zoo.ENTRIES["digits"].path
    found = qengine.sweep(str(model), tmp_path / "out", Grid(bits=[8]), data="digits", limit=50, isa=BEST)
    exact, point = found.rows
    assert exact.inference_share is None
    assert 0 < point.outcome.inference_seconds < point.outcome.seconds
    assert 0 < point.inference_share < 1
    assert point.outcome.compile_seconds >= 0
    assert found.seconds_before > 0
    assert found.new_rows == found.rows
    again = qengine.sweep(str(model), tmp_path / "out", Grid(bits=[8]), data="digits", limit=50, isa=BEST)
    assert again.new_rows == ()
    assert json.dumps(again.rows[1].result()) == json.dumps(point.result())


def test_kernels_that_a_run_compiles_are_no_inference(tmp_path, monkeypatch):
    """Samples of several shapes, and compilers that take 1,000 s."""
    model = network(
        [("Conv", "x w", "y", {"pads": [1, 1, 1, 1]})],
        inputs={"x": [1, 1, "H", 20]},
        constants={"w": np.full((1, 1, 3, 3), 1 / 9, np.float32)},
    )
    (tmp_path / "model.onnx").write_bytes(model)
    (tmp_path / "set").mkdir()
    for i, height in enumerate([8, 8, 11, 30]):
        np.save(tmp_path / "set" / f"{i}.npy", np.random.default_rng(i).random((1, height, 20)).astype(np.float32))
    compiled, prepared = [0.0], []
    run, prepare = qengine.InferenceSession.run, qengine.InferenceSession.prepare

    def slow_run(self, *arguments, **keywords):
        compiled[0] += 1000.0
        time.sleep(0.01)
        return run(self, *arguments, **keywords)

    def told_prepare(self, names, feeds, **keywords):
        prepared.append(feeds["x"].shape)
        return prepare(self, names, feeds, **keywords)

    clock = time.perf_counter
    monkeypatch.setattr(qengine.InferenceSession, "prepare", told_prepare)
    monkeypatch.setattr(qengine.InferenceSession, "run", slow_run)
    monkeypatch.setattr("qengine.analysis.sweep.work.build_seconds", lambda: compiled[0])
    monkeypatch.setattr("qengine.analysis.sweep.work.time.perf_counter", lambda: clock() + compiled[0])
    found = qengine.sweep(tmp_path / "model.onnx", tmp_path / "out", Grid(bits=[8]), data=tmp_path / "set", isa=BEST)
    outcome = found.rows[1].outcome
    assert prepared == [(1, 1, 8, 20), (1, 1, 11, 20), (1, 1, 30, 20)]
    assert 0.04 <= outcome.inference_seconds < outcome.seconds < 900
    assert outcome.compile_seconds == 4000.0
