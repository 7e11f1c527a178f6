"""Sweeps over targets: points in each target's formats and rules, and the codes that each two compute otherwise."""

import csv
import json
from itertools import combinations

import numpy as np
import pytest
from networks import network

import qengine
from qengine import cli
from qengine.analysis.sweep import FLOAT32, Grid, Row, files, target_plots
from qengine.analysis.sweep.points import Point
from qengine.analysis.sweep.target_plots import draw_targets
from qengine.errors import OptionError, TargetError
from qengine.quantization.calibration import CalibrationOptions
from qengine.targets import Target, names

FOUR = ("onnx", "cmsis-nn-q7", "litert-xnnpack", "cmsis-nn-q15")


def points_of(**grid):
    found = Grid(**grid).points()
    assert found[0] == FLOAT32
    return found[1:]


def test_a_target_has_the_word_lengths_that_it_can():
    by_name = {point.target: point for point in points_of(targets="all")}
    assert list(by_name) == list(names())
    assert {name: (p.weight_bits, p.activation_bits) for name, p in by_name.items() if name in FOUR} == {
        "onnx": (8, 8),
        "cmsis-nn-q7": (8, 8),
        "litert-xnnpack": (8, 8),
        "cmsis-nn-q15": (16, 16),
    }
    assert (by_name["tflite-16x8"].weight_bits, by_name["tflite-16x8"].activation_bits) == (8, 16)


@pytest.mark.parametrize(
    ("grid", "widths"),
    [
        ({"bits": [8, 16]}, {"onnx": [(8, 8), (16, 16)], "cmsis-nn-q7": [(8, 8)], "cmsis-nn-q15": [(16, 16)]}),
        ({"bits": [8]}, {"onnx": [(8, 8)], "cmsis-nn-q7": [(8, 8)]}),
        (
            {"weight_bits": [8], "activation_bits": [8, 16]},
            {"onnx": [(8, 8), (8, 16)], "cmsis-nn-q7": [(8, 8)], "tflite-16x8": [(8, 16)]},
        ),
        ({"weight_bits": [8, 16], "activation_bits": [8]}, {"onnx": [(8, 8), (16, 8)], "esp32-p4": [(8, 8)]}),
    ],
)
def test_word_lengths_that_a_target_does_not_have_make_no_points(grid, widths):
    targets = ["onnx", "cmsis-nn-q7", "cmsis-nn-q15", "tflite-16x8", "esp32-p4"]
    found = points_of(targets=targets, **grid)
    for name in targets:
        wanted = widths.get(name)
        own = [(p.weight_bits, p.activation_bits) for p in found if p.target == name]
        if wanted is not None:
            assert own == wanted
    assert set(Grid(targets=targets, **grid).left_out()) == {
        n for n in targets if not any(p.target == n for p in found)
    }


def test_formats_that_a_target_does_not_have_make_no_points():
    found = points_of(targets=["onnx", "cmsis-nn-q7", "cmsis-nn-q15"], qformats=["Q4.3", "UQ4.4", "Q4.11"])
    assert [(p.target, p.qformat) for p in found] == [
        ("onnx", "Q4.3"),
        ("onnx", "UQ4.4"),
        ("onnx", "Q4.11"),
        ("cmsis-nn-q7", "Q4.3"),
        ("cmsis-nn-q15", "Q4.11"),
    ]


def test_the_arithmetic_of_a_point_is_that_of_the_target_and_what_the_grid_says():
    (point,) = points_of(targets=["cmsis-nn-q7"])
    assert (point.rounding, point.overflow, point.per_channel, point.unsigned) == (None, None, False, False)
    assert point.device.rules == Target.named("cmsis-nn-q7").rules
    assert point.calibration() == CalibrationOptions(
        weight_bits=8, activation_bits=8, per_channel=False, unsigned=False, target=point.device
    )
    floor, half = points_of(targets=["cmsis-nn-q7"], roundings=["floor", "half_up"], rules={"accumulator.bits": 24})
    assert (floor.rounding, half.rounding) == ("floor", "half_up")
    assert floor.device.rules.accumulator.bits == 24
    (single,) = points_of(bits=[8], rules={"mean.rounding": "floor"})
    assert (single.target, single.rounding) == (None, "half_even")
    assert str(single.arithmetic()["rules"].kinds["mean"].rounding) == "floor"


@pytest.mark.parametrize(
    ("target", "methods", "method", "unsigned"),
    [("onnx", None, "mse", True), ("hls4ml", None, "max", False), ("hls4ml", ["mse"], "mse", False)],
)
def test_results_that_wrap_have_formats_that_hold_them(target, methods, method, unsigned):
    (point,) = points_of(targets=[target], methods=methods)
    assert (point.method, point.unsigned) == (method, unsigned)


@pytest.mark.parametrize(
    ("grid", "error", "message"),
    [
        ({"targets": ["onx"]}, TargetError, "did you mean 'onnx'"),
        ({"targets": ["alll"]}, TargetError, "no target is named 'alll'; did you mean 'all'"),
        ({"targets": ["all", "onnx"]}, TargetError, "'all' stands alone"),
        ({"targets": "onnx"}, OptionError, "targets are a list of names, or 'all', not 'onnx'"),
        (
            {"targets": ["cmsis-nn-q7"], "bits": [4]},
            OptionError,
            "the grid is empty: .* of words that the targets have",
        ),
        ({"bits": [8], "rules": {"mena": 1}}, TargetError, "mena does not exist"),
        ({"targets": ["cmsis-nn-q7"], "rules": {"rounding": "ceil"}}, TargetError, "rounding contradicts"),
        ({"targets": ["onnx", Target("onnx", "another one")]}, OptionError, "two different targets are named 'onnx'"),
    ],
)
def test_errors(grid, error, message):
    with pytest.raises(error, match=message):
        Grid(**grid).points()


def test_two_targets_of_the_same_rules_are_two_points_and_a_target_given_twice_is_one():
    found = points_of(targets=["onnx", Target.named("onnx"), "qonnx"])
    assert [point.target for point in found] == ["onnx", "qonnx"]


def test_a_sweep_runs_each_target_in_its_own_formats_and_compares_them_in_the_same(classifier, tmp_path):
    model, data = classifier
    result = qengine.sweep(model, tmp_path / "out", Grid(targets=FOUR), data=data)
    assert [row.point.target for row in result.rows] == [None, *FOUR]
    assert all(row.outcome.error is None for row in result.rows)
    assert Row.of(result.rows[2].record()) == result.rows[2]
    images = {"x": np.load(data)["x"]}
    for row in result.rows[1:]:
        target = row.point.target
        formats = qengine.calibrate(model, [images], target=target).formats
        session = qengine.InferenceSession(model, formats=formats, target=target)
        assert session.formats["y"] is not None
        float32 = qengine.InferenceSession(model).run(None, images)[0].argmax(1)
        agreement = (session.run(None, images)[0].argmax(1) == float32).mean()
        assert row.outcome.measures.agreement == pytest.approx(agreement)

    eight = [name for name in FOUR if name != "cmsis-nn-q15"]
    assert [(one.first, one.second) for one in result.differences] == list(combinations(eight, 2))
    common = qengine.calibrate(model, [images], per_channel=False, unsigned=False).formats
    codes = {}
    tensors = ["x", "r", "g", "y"]
    for name in eight:
        session = qengine.InferenceSession(model, formats=common, target=name)
        codes[name] = session.run([*tensors, "f"], images, raw=True)
    for one in result.differences:
        counts = [int((a != b).sum()) for a, b in zip(codes[one.first], codes[one.second], strict=True)]
        assert (one.formats, one.samples, one.outputs) == ("8/8", 12, 60)
        assert one.outputs_differ == counts[3]
        assert one.tensors_differ == sum(counts)
        assert one.first_tensor == next((name for name, n in zip(tensors, counts, strict=False) if n), None)
    assert any(one.tensors_differ for one in result.differences)

    again = qengine.sweep(model, tmp_path / "out", Grid(targets=FOUR), data=data)
    assert again.computed == 0
    assert again.differences == result.differences
    assert draw_targets(result).axes[0].get_yticklabels()[1].get_text() == "cmsis-nn-q7"


def test_the_command_shows_targets_side_by_side(classifier, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "write_target_plots", target_plots.write_target_plots)
    model, data = classifier
    monkeypatch.setenv("COLUMNS", "80")
    words = ["sweep", str(model), "--data", str(data), "-o", str(tmp_path / "out")]
    assert cli.main([*words, "--targets", "onnx,qonnx,cmsis-nn-q7,cmsis-nn-q15", "--bits", "8"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "codes that differ in the same formats of 8/8 bits" in out
    assert "\n1 onnx, qonnx" in out
    assert "note: target cmsis-nn-q15 has none of these word lengths, and no points\n" in out
    for name in ("targets.csv", "targets.png", "targets.svg"):
        assert (tmp_path / "out" / name).exists()
        assert str(tmp_path / "out" / name) in out
    assert cli.main([*words, "--target", "onnx,qonnx,cmsis-nn-q7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["target"] for row in found["rows"]] == [None, "onnx", "qonnx", "cmsis-nn-q7"]
    with (tmp_path / "out" / "targets.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [{k: str(v) if v is not None else "" for k, v in one.items()} for one in found["differences"]] == lines
    assert [one["tensors_differ"] > 0 for one in found["differences"]] == [False, True, True]


def test_a_point_of_a_target_file_depends_on_its_content(tmp_path):
    points = []
    for bits in (24, 25):
        (tmp_path / "mine.toml").write_text(f"extends = 'cmsis-nn-q7'\n[rules.accumulator]\nbits = {bits}\n")
        points += points_of(targets=[tmp_path / "mine.toml"])
    assert points[0].target == points[1].target == "mine"
    assert points[0] != points[1]
    assert isinstance(points[0], Point)


def test_a_target_that_cannot_run_is_left_out_of_the_differences(classifier, tmp_path):
    model, data = classifier
    (tmp_path / "bad.toml").write_text("[rules.tensors.nope]\nrounding = 'floor'\n")
    result = qengine.sweep(
        model, tmp_path / "out", Grid(targets=["onnx", tmp_path / "bad.toml", "cmsis-nn-q7"]), data=data
    )
    assert "the model has no such tensor" in result.rows[2].outcome.error
    assert [(one.first, one.second) for one in result.differences] == [("onnx", "cmsis-nn-q7")]


def test_targets_that_fuse_functions_and_that_do_not_share_a_sweep(tmp_path):
    model, data = tmp_path / "m.onnx", tmp_path / "x.npz"
    x = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32) * 2
    model.write_bytes(network([("Sigmoid", "x", "s"), ("Mul", "x s", "y")], inputs={"x": ["N", 8]}))
    np.savez(data, x=x)
    grid = Grid(targets=["onnx", "tflite"], bits=[8], qformats=["Q3.4"], recipes=["fold", "equalize", "bias+guard"])
    swept = qengine.sweep(model, tmp_path / "out", grid, data=data)
    assert [row.outcome.error for row in swept.rows] == [None] * len(swept.rows)
    (exact,) = qengine.InferenceSession(model).run(None, {"x": x})
    for row in swept.rows[1:]:
        target = row.point.target
        formats = None if row.point.qformat else dict(qengine.calibrate(model, [{"x": x}], target=target))
        assert formats is None or ("s" in formats) == (target == "tflite")
        session = qengine.InferenceSession(model, target=target, formats=formats, qformat=row.point.qformat)
        assert session.optimized.nodes[-1].operator == ("Mul" if target == "tflite" else "Swish")
        if row.point.recipe == "fold":
            (found,) = session.run(None, {"x": x})
            sqnr = 10 * np.log10(np.square(exact).sum() / np.square(exact - found).sum())
            assert row.outcome.measures.sqnr_db == pytest.approx(sqnr, rel=1e-3)
    assert {(one.first, one.second) for one in swept.differences} == {("onnx", "tflite")}
    assert all(one.outputs_differ for one in swept.differences)
