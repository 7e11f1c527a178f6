"""`qengine bench`: its figures, and what it refuses."""

import json
import logging
import re

import numpy as np
import pytest
from networks import network, weights

from qengine import cli
from qengine.kernels.isa import VARIABLE, available

BEST = available()[0].name
SMALL = network(
    [("Conv", "x w", "c", {"pads": [1] * 4}), ("Relu", "c", "r"), ("Sigmoid", "r", "y")],
    inputs={"x": [1, 3, 12, 10]},
    constants={"w": weights(20, 3, 3, 3)},
)


@pytest.fixture(autouse=True)
def native(monkeypatch):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "small.onnx"
    path.write_bytes(SMALL)
    return str(path)


def bench(capsys, *words):
    status = cli.main(["bench", *words, "--seconds", "0.1"])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return printed.out


def test_a_model_as_json(model, capsys):
    found = json.loads(bench(capsys, model, "--qformat", "Q2.5", "--threads", "1", "--isa", BEST, "--json"))
    assert (found["isa"], found["threads"], found["word_length"]) == (BEST, 1, 8)
    assert found["macs"] == 12 * 10 * 20 * 3 * 9
    kernels = [(row["tensor"], row["operator"], row["kernel"].split()[0]) for row in found["kernels"]]
    assert kernels == [
        ("x", "", "quantize"),
        ("r", "Conv", "dot"),
        ("y", "Sigmoid", "table"),
        ("real y", "", "dequantize"),
    ]
    dot = found["kernels"][1]
    assert dot["note"] == "32-bit sums"
    assert dot["ms"] > 0
    assert dot["gmacs"] == pytest.approx(found["macs"] / dot["ms"] / 1e6)
    assert dot["percent_of_peak"] == pytest.approx(100 * dot["gmacs"] / found["peak_gmacs"]["s8"])
    assert found["run"]["best_ms"] <= found["run"]["median_ms"]
    assert found["memory_bytes"] > 12 * 10 * 20
    assert found["rivals"] == {}


def test_a_model_for_a_person(model, capsys):
    out = bench(capsys, model, "--threads", "2")
    assert re.search(r"small.onnx, float32, \w+, 2 threads", out)
    assert re.search(r"r +Conv +dot \S+ +[\d.]+ +\d+ +\d+ +float32 sums", out)
    assert re.search(r"y +Sigmoid +logistic +[\d.]+", out)
    assert re.search(r"one run +[\d.]+ ms best, [\d.]+ ms median", out)


def test_products_of_computed_matrices_count(tmp_path, capsys):
    (tmp_path / "product.onnx").write_bytes(network([("MatMul", "a b", "y")], inputs={"a": [3, 4, 5], "b": [3, 5, 7]}))
    out = bench(capsys, str(tmp_path / "product.onnx"))
    assert re.search(r"one run .* GMAC/s of 0.00042 MMAC\npeak of a core   f32 \d+ GMAC/s", out)


def test_a_model_without_multiply_accumulates_has_no_rate(tmp_path, capsys):
    (tmp_path / "sum.onnx").write_bytes(network([("Add", "a a", "y")], inputs={"a": [3, 4]}))
    assert "GMAC/s" not in bench(capsys, str(tmp_path / "sum.onnx")).split("\n", 2)[2]


def test_what_is_left_to_the_reference(tmp_path, capsys):
    (tmp_path / "island.onnx").write_bytes(network([("Softmax", "x", "y")], inputs={"x": [1, 3, 8, 8]}))
    out = bench(capsys, str(tmp_path / "island.onnx"), "--qformat", "Q3.4", "--islands", "softmax")
    assert re.search(r"y +Softmax +reference +[\d.]+ +island, which has no native kernel", out)


def test_a_model_that_no_one_plan_computes(tmp_path, capsys):
    (tmp_path / "places.onnx").write_bytes(network([("NonZero", "x", "y")], inputs={"x": [3, 3]}))
    assert cli.main(["bench", str(tmp_path / "places.onnx")]) == 2
    assert "(NonZero) runs by itself, and only a model of which one plan computes" in capsys.readouterr().err


def test_the_bundled_model_and_its_sample(capsys):
    found = json.loads(bench(capsys, "srcnn", "--qformat", "Q0.15", "--json"))
    assert "widened every" in {row["tensor"]: row["note"] for row in found["kernels"]}["relu1"]


def test_beside_onnxruntime(model, capsys):
    before = logging.getLogger().level
    for word in ([], ["--qformat", "Q2.5"], ["--qformat", "Q2.13"]):
        found = json.loads(bench(capsys, model, *word, "--vs", "onnxruntime", "--json"))
        rival = found["rivals"]["onnxruntime"]
        assert rival["times_ours"] == pytest.approx(rival["best_ms"] / found["run"]["best_ms"])
    assert logging.getLogger().level == before  # what loggers inherit


def test_beside_torch(tmp_path, capsys):
    path = tmp_path / "conv.onnx"
    path.write_bytes(
        network([("Conv", "x w", "y")], inputs={"x": [1, 3, 12, 10]}, constants={"w": weights(4, 3, 3, 3)})
    )
    assert json.loads(bench(capsys, str(path), "--vs", "torch", "--json"))["rivals"]["torch"]["best_ms"] > 0
    out = bench(capsys, str(path), "--vs", "torch", "--qformat", "Q2.5")
    assert "torch            torch runs the model in float32 only" in out


def test_a_rival_that_is_not_installed(model, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    monkeypatch.delitem(__import__("sys").modules, "qengine.analysis.bench.rivals.openvino_runs", raising=False)
    assert "openvino is not installed: pip install 'qengine[bench]'" in bench(capsys, model, "--vs", "openvino")


def test_an_input_that_has_no_shape_must_be_given(tmp_path, capsys):
    path = tmp_path / "open.onnx"
    path.write_bytes(network([("Relu", "x", "y")], inputs={"x": ["N", "M"]}))
    assert cli.main(["bench", str(path)]) == 2
    assert "input 'x' has no fixed shape: give it with -i" in capsys.readouterr().err
    np.save(tmp_path / "x.npy", np.ones((4, 3), np.float32))
    assert "Relu" in bench(capsys, str(path), "-i", f"x={tmp_path / 'x.npy'}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["srcnn", "--isa", "reference"], "the session runs on the reference, which has no native kernels"),
        (["srcnn", "--vs", "onnx"], "no rival is named 'onnx'"),
        (["--qformat", "Q4.3"], "without a model, layers are measured in every word length, on one thread"),
        (["srcnn", "--rounding", "floor"], "--rounding has no meaning in float32"),
        (["srcnn", "--max-elements", "1000"], "more than 1,000"),
        (["srcnn", "--qformat", "Q4.3", "--isa", "sse9"], "no isa is named 'sse9'"),
    ],
)
def test_what_is_refused(words, message, capsys):
    assert cli.main(["bench", *words]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_layers_without_a_model(capsys, monkeypatch):
    from qengine.analysis.bench import kernels

    monkeypatch.setattr(kernels, "LAYERS", kernels.LAYERS[3:4])
    assert cli.main(["bench", "--json", "--isa", BEST]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert [(layer["word"], layer["kernel"].split()[0]) for layer in layers] == [
        ("float32", "dot"),
        ("int8", "dot"),
        ("int16", "dot"),
    ]
    assert cli.main(["bench"]) == 0
    assert "3x3, 64 to 64, 56x56" in capsys.readouterr().out


def test_an_open_batch_is_one_sample(tmp_path, capsys):
    path = tmp_path / "open.onnx"
    path.write_bytes(network([("Relu", "x", "y")], inputs={"x": ["N", 3]}))
    assert cli.main(["bench", str(path), "--seconds", "0.1"]) == 0
    assert "input 'x' has an open batch: measured on 1 sample" in capsys.readouterr().err
