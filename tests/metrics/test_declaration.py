"""A metric, or a cost, that is declared in one place is known everywhere."""

import csv
import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine import InferenceSession, cli
from qengine.analysis.inspection import costs
from qengine.analysis.inspection.costs import Term, Workload, all_costs, cost, find_cost
from qengine.analysis.sweep import Grid, columns
from qengine.analysis.sweep.plots import draw_accuracy, draw_pareto, write_plots
from qengine.errors import OptionError
from qengine.metrics import declaration
from qengine.metrics.declaration import Accumulator, all_metrics, metric
from qengine.model.loader import load

MODEL = network([("Gemm", "x w", "y")], inputs={"x": ["N", 4]}, constants={"w": weights(4, 3, seed=1)})
X = weights(10, 4, seed=2, scale=1.0)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "model.onnx").write_bytes(MODEL)
    np.savez(tmp_path / "set.npz", x=X)
    return tmp_path


@pytest.fixture
def mean_error(monkeypatch):
    """Declare a metric that qengine does not have; of it less is better."""

    monkeypatch.setattr(declaration, "_METRICS", dict(declaration._METRICS))

    @metric("mae", label="Mean absolute error", heading="MAE", higher_is_better=False, default_drop=0.01)
    class MeanAbsoluteError(Accumulator):
        def __init__(self):
            self._sum, self._count = 0.0, 0

        def add(self, batch):
            self._sum += float(np.abs(batch.output.astype(np.float64) - batch.exact).sum())
            self._count += batch.output.size

        def value(self):
            return self._sum / self._count if self._count else None


def error_of(formats):
    (exact,), (y,) = (InferenceSession(MODEL, formats=f).run(None, {"x": X}) for f in (None, formats))
    return float(np.abs(y.astype(np.float64) - exact).mean())


def test_columns_names_and_orders_differ():
    metrics = all_metrics()
    assert [str(one) for one in metrics] == ["top1", "agreement", "psnr", "ssim", "sqnr"]
    assert len({one.column for one in metrics}) == len({one.order for one in metrics}) == len(metrics)
    assert [str(one) for one in all_costs()] == ["weights", "activations", "bit-operations"]
    assert len({one.column for one in all_costs()}) == len(all_costs())


def test_a_new_metric_is_a_column_of_a_sweep(files, mean_error):
    found = qengine.sweep("model.onnx", files / "out", Grid(bits=[4, 8]), data="set.npz")
    expected = [error_of(qengine.calibrate(MODEL, [{"x": X}], bits=bits)) for bits in (4, 8)]
    assert [row.outcome.measures.mae for row in found.rows] == [0.0, *map(pytest.approx, expected)]
    assert "mae" in columns()
    with closing(sqlite3.connect(files / "out/results.sqlite")) as connection:
        stored = connection.execute("SELECT mae FROM points").fetchall()
        (kind,) = [row[2] for row in connection.execute("PRAGMA table_info(points)") if row[1] == "mae"]
    assert ([value for (value,) in stored], kind) == ([row.outcome.measures.mae for row in found.rows], "REAL")


def test_a_new_metric_is_in_tables_and_files(files, mean_error, capsys):
    words = ["sweep", "model.onnx", "--data", "set.npz", "--bits", "4", "-o", "out"]
    assert cli.main([*words, "--metric", "mae"]) == 0
    header, exact, row = capsys.readouterr().out.splitlines()[2:5]
    assert header.split().index("MAE") == exact.split().index("0.0000")
    value = error_of(qengine.calibrate(MODEL, [{"x": X}], bits=4))
    assert f"{value:.4f}" in row.split()
    with (files / "out/results.csv").open(newline="") as file:
        assert [float(record["mae"]) for record in csv.DictReader(file)] == [0.0, pytest.approx(value)]
    assert "Mean absolute error" in (files / "out/accuracy.svg").read_text()


def test_a_new_metric_is_a_figure_of_a_run(files, mean_error, capsys):
    np.save("x.npy", X)
    words = ["run", "model.onnx", "-i", "x=x.npy", "--qformat", "Q3.4"]
    (exact,), (y,) = (InferenceSession(MODEL, qformat=form).run(None, {"x": X}) for form in (None, "Q3.4"))
    expected = np.abs(y.astype(np.float64) - exact).mean()
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["mae"]["against_float32"] == pytest.approx(expected)
    assert cli.main(words) == 0
    assert f"Mean absolute error against float32: {expected:.4f}" in capsys.readouterr().out.splitlines()


def test_a_new_metric_is_a_line_of_plots(files, mean_error):
    found = qengine.sweep("model.onnx", files / "out", Grid(bits=[4, 6, 8]), data="set.npz")
    values = [row.outcome.measures.mae for row in found.rows[1:]]
    (axes,) = draw_accuracy(found, "mae").axes
    lines = {line.get_label(): line for line in axes.lines}
    assert axes.get_ylabel() == "Mean absolute error"
    assert list(lines["fixed point"].get_ydata()) == values
    # Less is better: of costs that grow with the word length all points are on the front.
    (axes,) = draw_pareto(found, find_cost("weights"), "mae").axes
    (front,) = [line for line in axes.lines if line.get_label() == "Pareto front"]
    assert list(front.get_ydata()) == values
    with pytest.raises(OptionError, match=r"no metric is named 'f1'; there are .*, mae"):
        write_plots(found, metric="f1")


def test_a_new_metric_is_a_goal_of_a_search(files, mean_error, capsys):
    graph = load(MODEL)
    data = qengine.open_dataset("set.npz", graph)
    found = qengine.search(graph, data, metric="mae", max_drop=0.05, bits=[4, 6, 8])
    assert (found.reference, found.least) == (0.0, 0.05)
    assert found.best.value == pytest.approx(error_of(found.formats))
    assert 0 < found.best.value <= 0.05
    assert found.best.cost == min(one.cost for one in found.front if one.value <= 0.05)
    assert [one.value for one in found.front] == sorted([one.value for one in found.front], reverse=True)
    assert qengine.search(graph, data, metric="mae", least=found.best.value, bits=[4, 6, 8]).best == found.best
    with pytest.raises(OptionError, match="even with the longest words mae is"):
        qengine.search(graph, data, metric="mae", max_drop=1e-9, bits=[4])
    assert cli.main(["search", "model.onnx", "--data", "set.npz", "--metric", "mae", "--min", "0.05"]) == 0
    assert capsys.readouterr().out.startswith(
        "model.onnx, least weight memory, mae at most 0.0500 in y, 10 samples of set.npz"
    )


@pytest.fixture
def input_bits(monkeypatch):
    """Declare a cost that qengine does not have: the bits of the inputs of one sample."""
    monkeypatch.setattr(costs, "_COSTS", dict(costs._COSTS))

    @cost("inputs", label="input memory", unit="bits", column="input_bits", axis="Input memory (bit)", scale=1.0)
    def input_memory(work):
        return [Term(array.size / work.samples, (name,)) for name, array in work.feeds.items()]


def test_a_new_cost_is_known_to_sweep_and_search(files, input_bits, capsys):
    found = qengine.sweep("model.onnx", files / "out", Grid(bits=[4, 8]), data="set.npz")
    assert [row.outcome.costs.input_bits for row in found.rows] == [4 * 32, 4 * 4, 4 * 8]
    (axes,) = draw_pareto(found, find_cost("inputs")).axes
    assert axes.get_xlabel() == "Input memory (bit)"
    words = ["search", "model.onnx", "--data", "set.npz", "--cost", "inputs", "--metric", "sqnr", "--min", "10"]
    assert cli.main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["best"]["cost"] == 4 * result["best"]["bits"]["x"]
    assert cli.main(words) == 0
    assert f"{result['best']['cost']:.0f} bits" in capsys.readouterr().out


@pytest.mark.parametrize("names", [("weights", "weight-memory"), ("bit-operations", "macs"), ("activations",)])
def test_both_commands_have_the_same_costs(files, names, capsys):
    for name in names:
        assert find_cost(name) is find_cost(names[0])
        for words in (["sweep", "--bits", "4", "-o", "out"], ["search", "--metric", "sqnr", "--min", "10"]):
            assert cli.main([words[0], "model.onnx", "--data", "set.npz", "--cost", name, *words[1:], "--json"]) == 0
            capsys.readouterr()


def test_costs_by_hand():
    formats = {"x": "Q0.7", "w": "Q0.3", "y": "Q3.2"}
    work = Workload(InferenceSession(MODEL, formats=formats), {"x": X}, 10)
    assert find_cost("weights").total(work) == 12 * 4 / 8
    assert find_cost("activations").total(work) == (4 * 8 + 3 * 6) / 8
    assert find_cost("bit-operations").total(work) == 12 * 8 * 4
    exact = Workload(InferenceSession(MODEL), {"x": X}, 10)
    assert [one.total(exact) for one in all_costs()] == [12 * 4, 7 * 4, 12 * 32 * 32]
    assert find_cost("weights").spelled(8192.0) == "1,024 bytes"


def test_costs_of_a_model_whose_data_decides_how_it_runs():
    model = network([("NonZero", "x", "i"), ("Cast", "i", "y", {"to": 1})], inputs={"x": [2, 3]})
    work = Workload(InferenceSession(model), {"x": np.ones((2, 3), np.float32)}, 2)
    assert find_cost("activations").total(work) is None
    assert find_cost("weights").total(work) == 0
