"""Plots: which lines there are, and what they are called."""

import math
import sys
from dataclasses import replace

import pytest
from matplotlib.colors import to_rgb

from qengine.analysis.inspection.costs import find_cost
from qengine.analysis.sweep import FLOAT32, Grid, Measures, Outcome, Row, Sweep, Task
from qengine.analysis.sweep.measure import Figures
from qengine.analysis.sweep.plots import axis_label, draw_accuracy, draw_pareto, metric_of, write_plots
from qengine.errors import MissingPackageError
from qengine.metrics.pareto import pareto


def quality(point):
    return 0.9 if point.is_float32 else 0.9 - 1 / (point.width or 16) - (0.1 if point.rounding == "floor" else 0)


def swept(grid, folder=None, failed=()):
    rows = []
    for i, point in enumerate(grid.points()):
        width = 32 if point.is_float32 else point.weight_width or 8
        costs = Figures(weight_bytes=1024.0 * width, activation_bytes=3 * 1024.0 * width, bit_operations=2e9 * width)
        outcome = Outcome(Measures.of(top1=quality(point), sqnr_db=math.inf), costs, "c", 0.1)
        rows.append(Row(str(i), "s", "m", "d", 9, "0", point, outcome, ""))
        if i in failed:
            rows[-1] = Row(str(i), "s", "m", "d", 9, "0", point, Outcome(error="no"), "")
    return Sweep(tuple(rows), len(rows), Task.CLASSES, "y", folder)


def lines(figure):
    (axes,) = figure.axes
    return {line.get_label(): line for line in axes.lines}


def points(line):
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


def test_a_line_for_each_combination():
    figure = draw_accuracy(swept(Grid(bits=[4, 8, 2], roundings=["half_even", "floor"])))
    found = lines(figure)
    assert set(found) == {"half even", "floor", "float32"}
    assert points(found["floor"]) == [(b, pytest.approx(100 * (0.8 - 1 / b))) for b in (2, 4, 8)]
    assert list(found["float32"].get_ydata()) == [90.0, 90.0]
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Word length (bits)", "Top-1 accuracy (%)")
    assert list(axes.get_xticks()) == [2, 4, 8]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["half even", "floor", "float32"]


def test_one_line_needs_no_name_of_its_own():
    assert set(lines(draw_accuracy(swept(Grid(bits=[4, 8]))))) == {"fixed point", "float32"}


def test_weights_of_their_own():
    figure = draw_accuracy(swept(Grid(weight_bits=[4, 8], activation_bits=[6, 8])))
    found = lines(figure)
    assert set(found) == {"4-bit weights", "8-bit weights", "float32"}
    assert [x for x, _ in points(found["4-bit weights"])] == [6, 8]
    assert figure.axes[0].get_xlabel() == "Word length of activations (bits)"


def test_given_formats_are_no_curve():
    found = lines(draw_accuracy(swept(Grid(bits=[4, 8], per_channel=[False], qformats=["Q4.3", "Q1.2"]))))
    assert set(found) == {"fixed point", "given formats", "float32"}
    assert found["given formats"].get_linestyle() == "None"
    assert [x for x, _ in points(found["given formats"])] == [4, 8]


def test_what_failed_is_left_out():
    found = lines(draw_accuracy(swept(Grid(bits=[4, 6, 8]), failed=[2])))
    assert [x for x, _ in points(found["fixed point"])] == [4, 8]


def test_lines_differ_without_colour():
    figure = draw_accuracy(swept(Grid(bits=[4, 8], roundings=["half_even", "half_up", "floor", "trunc"])))
    drawn = [line for name, line in lines(figure).items() if name != "float32"]
    assert len({line.get_marker() for line in drawn}) == len({line.get_linestyle() for line in drawn}) == 4
    # A legend of so many entries stands above the lines.
    assert figure.axes[0].get_legend() is None
    assert len(figure.legends[0].get_texts()) == 5
    assert all(len(to_rgb(line.get_color())) == 3 for line in drawn)


@pytest.mark.parametrize(
    ("cost", "factor", "label"),
    [
        ("weights", 1, "Weight memory (KiB)"),
        ("activations", 3, "Activation memory per sample (KiB)"),
        ("bit-operations", 2, "Bit operations per sample (10⁹ MAC·bit²)"),
    ],
)
def test_the_front(cost, factor, label):
    figure = draw_pareto(swept(Grid(bits=[4, 8], roundings=["half_even", "floor"])), find_cost(cost))
    found = lines(figure)
    assert points(found["Pareto front"]) == [(4 * factor, pytest.approx(65)), (8 * factor, pytest.approx(77.5))]
    # Which points are of which rounding is shown as in the other figure.
    accuracy = lines(draw_accuracy(swept(Grid(bits=[4, 8], roundings=["half_even", "floor"]))))
    for name, least in (("half even", 65), ("floor", 55)):
        assert points(found[name])[0] == (4 * factor, pytest.approx(least))
        assert [x for x, _ in points(found[name])] == [4 * factor, 8 * factor]
        assert found[name].get_marker() == accuracy[name].get_marker()
        assert found[name].get_color() == accuracy[name].get_color()
    assert figure.axes[0].get_xlabel() == label
    assert [text.get_text() for text in figure.axes[0].texts] == ["4", "8"]
    assert "float32" in found


def test_what_the_front_leaves_of_one_combination():
    found = swept(Grid(bits=[4, 8, 6]))
    worse = replace(found.rows[3], outcome=replace(found.rows[3].outcome, measures=Measures.of(top1=0.1)))
    drawn = lines(draw_pareto(replace(found, rows=(*found.rows[:3], worse)), find_cost("weights")))
    assert points(drawn["dominated"]) == [(6.0, pytest.approx(10))]
    assert [x for x, _ in points(drawn["Pareto front"])] == [4.0, 8.0]


def test_pareto():
    assert pareto([]) == []
    assert pareto([(1, 1), (2, 1), (2, 3), (1, 0), (3, 2), (2, 3)]) == [0, 2]
    assert pareto([(3, 9), (1, 2), (2, 5)]) == [1, 2, 0]


@pytest.mark.parametrize("top1", [(1.0, 1.0, 1.0), (1.0, 0.5, 0.25), (1.0, 1.0, 0.99)])
def test_no_axis_promises_more_than_all(top1):
    found = swept(Grid(bits=[4, 8]))
    rows = [
        replace(row, outcome=replace(row.outcome, measures=Measures.of(top1=value)))
        for row, value in zip(found.rows, top1, strict=True)
    ]
    found = replace(found, rows=tuple(rows))
    for figure in (draw_accuracy(found), draw_pareto(found, find_cost("weights"))):
        (axes,) = figure.axes
        low, high = axes.get_ylim()
        assert low < 100 * min(top1) < 100 < high < 110 or low < 100 == 100 * min(top1) < high < 101
        ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
        assert len(ticks) > 0
        assert max(ticks) == 100


def test_metrics():
    def metric(task, **measures):
        row = Row("k", "s", "m", "d", 1, "0", FLOAT32, Outcome(Measures.of(**measures)), "")
        sweep = Sweep((row,), 1, task, "y", None)
        return axis_label(metric_of(sweep), sweep)

    assert metric(Task.CLASSES, top1=0.5, agreement=1.0) == "Top-1 accuracy (%)"
    assert metric(Task.CLASSES, agreement=1.0) == "Top-1 agreement with float32 (%)"
    assert metric(Task.IMAGES, psnr_db=30.0, against="target") == "PSNR (dB)"
    assert metric(Task.IMAGES, psnr_db=math.inf, against="float32") == "PSNR against float32 (dB)"
    assert metric(Task.OTHER) == "SQNR (dB)"


def test_files(tmp_path):
    sweep = swept(Grid(bits=[4, 8]), tmp_path)
    written = write_plots(sweep)
    assert [path.name for path in written] == [
        f"{name}{suffix}" for name in ("accuracy", "pareto") for suffix in (".png", ".svg", ".pdf")
    ]
    assert written[0].read_bytes().startswith(b"\x89PNG")
    before = [path.read_bytes() for path in written]
    assert b"Word length (bits)" in before[1]
    write_plots(sweep)
    assert [path.read_bytes() for path in written] == before


def test_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"plots need matplotlib: pip install 'qengine\[plot\]'"):
        write_plots(swept(Grid(bits=[4]), tmp_path))
