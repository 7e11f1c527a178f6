"""Every public function's result is shown, saved and taken apart in the same ways."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine import CalibrationOptions, Grid, InferenceSession
from qengine.results import Result

MODEL = network(
    [("Conv", "x w", "c"), ("Relu", "c", "r"), ("Flatten", "r", "f"), ("Gemm", "f v", "y")],
    inputs={"x": ["N", 1, 6, 6]},
    constants={"w": weights(2, 1, 3, 3), "v": weights(32, 3)},
)
X = weights(4, 1, 6, 6)
FEEDS = {"x": X}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return a result of every public function, by its name."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "m.onnx").write_bytes(MODEL)
    np.savez(folder / "set.npz", **FEEDS, labels=np.arange(4) % 3)
    model, data = folder / "m.onnx", folder / "set.npz"
    session = InferenceSession(MODEL, qformat="Q3.4")
    native = replace(session.options, isa="generic")
    other = InferenceSession(MODEL, qformat="Q3.4", rounding="floor")
    opened = qengine.open_dataset(str(data), session.graph)
    pack = qengine.export_vectors(session, FEEDS, folder / "pack")
    return {
        "evaluate": qengine.evaluate(model, str(data), qformat="Q3.4"),
        "evaluate float32": qengine.evaluate(model, str(data)),
        "calibrate": qengine.calibrate(MODEL, [FEEDS]),
        "sweep": qengine.sweep(model, folder / "out", Grid(bits=[6]), data=data, plots=False),
        "search": qengine.search(MODEL, opened, bits=[6, 8], max_runs=4),
        "blame": qengine.blame(session, [FEEDS]),
        "inspect_model": qengine.inspect_model(MODEL),
        "bench": qengine.bench(session.with_options(native), FEEDS, seconds=0.01),
        "compare": qengine.compare(session, other, FEEDS),
        "quantize_model": qengine.quantize_model(MODEL, [FEEDS], options=CalibrationOptions(bits=8)),
        "correct": qengine.correct(session.graph, lambda graph: dict.fromkeys(graph.tensors(), "Q3.4"), recipe="fold"),
        "export_vectors": pack,
        "export_c": qengine.export_c(session, folder / "net"),
    }


NAMES = (
    *("evaluate", "evaluate float32", "calibrate", "sweep", "search", "blame", "inspect_model", "bench", "compare"),
    *("quantize_model", "correct", "export_vectors", "export_c"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_result_is_shown_saved_and_taken_apart(results, name, tmp_path):
    found = results[name]
    assert isinstance(found, Result)
    records = found.records()
    assert repr(found).startswith(f"<{type(found).__name__}: ")
    assert "\n" not in repr(found)
    assert len(repr(found)) < 500
    assert str(found).splitlines()[0] == found.summary
    assert "<table>" in found._repr_html_() or not records
    found.save(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(records)
    found.save(tmp_path / "a.json")
    assert isinstance(json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail), dict)
    pandas = pytest.importorskip("pandas")
    frame = found.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == len(records)


@pytest.mark.parametrize("name", ["calibrate", "search"])
def test_formats_are_saved_as_a_formats_file(results, name, tmp_path):
    for path in (tmp_path / "f.json", tmp_path / "formats"):
        results[name].save(path)
        session = InferenceSession(MODEL, formats=path)
        assert {str(fmt) for fmt in session.formats.values()}


def test_a_quantized_model_is_saved_as_a_model(results, tmp_path):
    found = results["quantize_model"]
    found.save(tmp_path / "q.onnx")
    np.testing.assert_array_equal(
        InferenceSession(tmp_path / "q.onnx").run(None, FEEDS)[0], found.session.run(None, FEEDS)[0]
    )
    with pytest.raises(qengine.QEngineError, match=r"must end in \.onnx, \.json or \.csv"):
        found.save(tmp_path / "q.bin")
