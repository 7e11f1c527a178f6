"""Sweeps of data in memory: the same rows as of files, in worker processes too, and continued by the same arrays."""

import numpy as np
import pytest

import qengine
from qengine.analysis.sweep import Grid
from qengine.errors import QEngineError

GRID = Grid(bits=[4, 8])


def figures(found):
    return [row.outcome.measures.figures for row in found.rows]


def test_arrays_are_swept_like_files(classifier, tmp_path):
    model, data = classifier
    with np.load(data) as arrays:
        x, labels = arrays["x"], arrays["labels"]
    of_file = qengine.sweep(model, tmp_path / "file", GRID, data=data)
    forms = {
        "pair": {"data": (x, labels)},
        "labels": {"data": x, "labels": labels},
        "loader": {"data": [(x[:5], labels[:5]), (x[5:], labels[5:])]},
        "set": {"data": qengine.open_dataset((x, labels), str(model), batch=12)},
    }
    for name, given in forms.items():
        found = qengine.sweep(model, tmp_path / name, GRID, **given)
        assert figures(found) == figures(of_file), name
        assert qengine.sweep(model, tmp_path / name, GRID, **given).computed == 0
    other = qengine.sweep(model, tmp_path / "pair", GRID, data=(x + 1, labels))
    assert other.computed == len(other.rows)


def test_worker_processes_are_given_arrays(classifier, tmp_path):
    model, data = classifier
    with np.load(data) as arrays:
        x, labels = arrays["x"], arrays["labels"]
    alone = qengine.sweep(model, tmp_path / "alone", GRID, data=(x, labels))
    shared = qengine.sweep(model, tmp_path / "shared", GRID, data=(x, labels), jobs=2)
    assert figures(alone) == figures(shared)
    assert [row.key for row in alone.rows] == [row.key for row in shared.rows]
    runs = [{"x": x[:5]}, {"x": x[5:]}]
    with pytest.raises(QEngineError, match="worker processes need it in files"):
        qengine.sweep(model, tmp_path / "runs", GRID, data=runs, jobs=2)
    assert len(qengine.sweep(model, tmp_path / "runs", GRID, data=runs).rows) == 3
