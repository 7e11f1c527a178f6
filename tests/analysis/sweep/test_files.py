import csv
import sys

import pytest

import qengine
from qengine import Grid
from qengine.analysis.sweep import columns, files
from qengine.analysis.sweep.plots import write_plots
from qengine.errors import OptionError


def names(found):
    return [path.name for path in found.written]


def test_the_function_writes_what_the_command_writes(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "write_plots", write_plots)
    model, data = classifier
    found = qengine.sweep(model, tmp_path / "out", Grid(bits=[4]), data=data)
    plots = [f"{name}.{ending}" for name in ("accuracy", "pareto") for ending in ("png", "svg", "pdf")]
    assert names(found)[:2] == ["results.sqlite", "results.csv"]
    assert sorted(names(found)[2:]) == sorted(plots)
    assert all(path.is_file() for path in found.written)
    with found.written[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == [row.key for row in found.rows]


def test_plots_are_left_out_where_they_are_not_wanted(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "write_plots", pytest.fail)
    model, data = classifier
    found = qengine.sweep(model, tmp_path / "out", Grid(bits=[4]), data=data, plots=False)
    assert names(found) == ["results.sqlite", "results.csv"]
    assert found.notes == ()


def test_without_matplotlib_there_is_a_note(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "write_plots", write_plots)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    model, data = classifier
    found = qengine.sweep(model, tmp_path / "out", Grid(bits=[4]), data=data)
    assert names(found) == ["results.sqlite", "results.csv"]
    assert found.notes == ("plots need matplotlib: pip install 'qengine[plot]'",)


def test_targets_have_a_table_of_differences(classifier, tmp_path):
    model, data = classifier
    grid = Grid(bits=[8], targets=["cmsis-nn-q7", "nnom"])
    found = qengine.sweep(model, tmp_path / "out", grid, data=data)
    assert names(found)[:3] == ["results.sqlite", "results.csv", "targets.csv"]


def test_an_unknown_cost_is_refused_before_the_sweep(classifier, tmp_path):
    model, data = classifier
    with pytest.raises(OptionError, match="cost"):
        qengine.sweep(model, tmp_path / "out", Grid(bits=[4]), data=data, cost="money")
    assert not (tmp_path / "out").exists()


def test_a_sweep_is_a_table(classifier, tmp_path):
    model, data = classifier
    found = qengine.sweep(model, tmp_path / "out", Grid(bits=[4]), data=data)
    found.save(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "out" / "results.csv").read_bytes()
    assert tuple(found.records()[0]) == columns()
    assert "2 points on 12 samples" in repr(found)
