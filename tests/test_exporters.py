"""What both of torch's exporters write, beside what torch gave: float32, fixed point, islands, native kernels."""

import json
from functools import cache
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from covering import covering
from runtime.native.native import ISAS

from qengine import InferenceSession, calibrate
from qengine.analysis.report import compare
from qengine.data.golden import read_golden
from qengine.errors import ModelError, UnsupportedError
from qengine.metrics.sqnr import sqnr

FOLDER = Path(__file__).parent / "golden" / "exporters"
RUNS = sorted(file.stem for file in FOLDER.glob("*.npz"))
# The least SQNR of an output of a run in dB, with calibrated formats of 16 bits.
LEAST = {
    "refine_op11": 69,
    "refine_op20": 67,
    "shrink_op13": 62,
    "choose_op11": 68,
    "choose_op17": 69,
    "collect_op13": 68,
    "collect_op20": 67,
    "search_op17": 68,
    "pyramid_op17": 61,
    "reader_op13": 83,
    "reader_functions_op17": 83,
    "peaks_op17": 81,
    "gate_op18": 60,
    "gate_op28": 62,
    "iterate_op18": 62,
    "filter_op20": 60,
    "symbolic_op18": 81,
    "symbolic_plain_op21": 78,
    "symbolic_external_op20": 77,
    "tokens_plain_op18": 58,
    "tokens_op24": 64,
    "types_op21": 79,
    "warp_op18": 71,
}
# Nodes around the loops and branches that leave fixed point.
ISLANDS = {
    "shrink_op13": ["Greater", "LessOrEqual"],
    "choose_op11": ["Greater"],
    "choose_op17": ["Greater"],
    "collect_op13": ["ConcatFromSequence"] * 2,
    "collect_op20": ["ConcatFromSequence"] * 2,
    "peaks_op17": ["ScatterElements"],
    "gate_op18": ["Greater"],
    "gate_op28": ["Greater"],
    "types_op21": ["Cast"] * 3,
    "warp_op18": ["GridSample"],
}
# Nodes that hold graphs, with those in their graphs.
CONTROL = {
    "refine_op11": ["Loop"],
    "refine_op20": ["Loop"],
    "shrink_op13": ["Loop", "If"],
    "choose_op11": ["If", "If"],
    "choose_op17": ["If", "If"],
    "collect_op13": ["Loop"],
    "collect_op20": ["Loop"],
    "search_op17": ["Loop", "If", "If"],
    "pyramid_op17": ["Loop"],
    "gate_op18": ["If"],
    "gate_op28": ["If"],
    "iterate_op18": ["Loop"],
    "filter_op20": ["Scan"],
}
TOLERANCE = {"float32": 1e-5, "float64": 1e-6, "float16": 1e-3, "bfloat16": 1e-2}  # of the largest number


def model_of(run):
    return run.rpartition("_")[0]


def path(name):
    return FOLDER / f"{name}.onnx"


@cache
def golden(run):
    """The feeds and outputs of a run; a bfloat16 is kept as its 16 bits."""
    session = InferenceSession(path(model_of(run)))
    arguments = {one.name: one.type for one in (*session.get_inputs(), *session.get_outputs())}
    return tuple(
        {n: a.view(ml_dtypes.bfloat16) if arguments[n] == "tensor(bfloat16)" else a for n, a in arrays.items()}
        for arrays in read_golden(FOLDER / f"{run}.npz")
    )


@cache
def options(run):
    return {"formats": formats(model_of(run))}


@cache
def formats(model):
    """Formats from all runs of a model, without the room that a few samples get for others."""
    return calibrate(path(model), [golden(run)[0] for run in RUNS if model_of(run) == model], bits=16, method="max")


def test_every_golden_is_here():
    assert sorted(LEAST) == sorted({model_of(run) for run in RUNS}) == sorted(f.stem for f in FOLDER.glob("*.onnx"))
    index = json.loads((FOLDER.parent / "index.json").read_text())
    found = {key: model for key, model in index.items() if key.startswith("exporters/")}
    assert found == {f"exporters/{run}.npz": f"exporters/{model_of(run)}.onnx" for run in RUNS}


@pytest.mark.parametrize("isa", ["reference", None])
@pytest.mark.parametrize("run", RUNS)
def test_float32_is_torchs(run, isa):
    feeds, outputs = golden(run)
    found = InferenceSession(path(model_of(run)), isa=isa).run(list(outputs), feeds)
    for array, wanted in zip(found, outputs.values(), strict=True):
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
        if array.dtype.name not in TOLERANCE:
            np.testing.assert_array_equal(array, wanted)
            continue
        ours, theirs = array.astype(np.float64), wanted.astype(np.float64)
        assert np.abs(ours - theirs).max() <= TOLERANCE[array.dtype.name] * np.abs(theirs).max()


@pytest.mark.parametrize("run", RUNS)
def test_fixed_point_comes_close(run):
    feeds, outputs = golden(run)
    found = InferenceSession(path(model_of(run)), **options(run)).run(list(outputs), feeds)
    for array, wanted in zip(found, outputs.values(), strict=True):
        if array.dtype.name in TOLERANCE:
            assert sqnr(wanted.astype(np.float64), array) >= LEAST[model_of(run)]
        else:
            np.testing.assert_array_equal(array, wanted)  # which way was taken, how often, where


@pytest.mark.parametrize(("run", "isa"), covering(RUNS, ISAS, strength=1))
def test_native_kernels_give_the_same_bits(run, isa):
    feeds, outputs = golden(run)
    native, reference = (
        InferenceSession(path(model_of(run)), isa=one, threads=2, **options(run)) for one in (isa, "reference")
    )
    for _ in range(2):
        for got, want in zip(
            native.run(list(outputs), feeds, raw=True), reference.run(list(outputs), feeds, raw=True), strict=True
        ):
            np.testing.assert_array_equal(got, want, strict=True)


@pytest.mark.parametrize("name", LEAST)
def test_islands(name):
    run = f"{name}_0"
    fixed = InferenceSession(path(name), isa="reference", **options(run))
    found = compare(fixed, InferenceSession(path(name), isa="reference"), golden(run)[0])
    assert [island.split("(")[1].rstrip(")") for island in found.islands] == ISLANDS.get(name, [])
    if found.islands:
        with pytest.raises(UnsupportedError, match="strict: no fixed-point rule"):
            InferenceSession(path(name), strict=True, **options(run)).run(None, golden(run)[0])


def controls(nodes):
    for node in nodes:
        inner = [attribute.g.node for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
        if inner:
            yield node.op_type
        for graph in inner:
            yield from controls(graph)


@pytest.mark.parametrize("name", LEAST)
def test_loops_and_branches_are_in_the_files(name):
    assert list(controls(onnx.load(path(name), load_external_data=False).graph.node)) == CONTROL.get(name, [])


def test_every_way_is_taken():
    def results(name, output):
        return [golden(run)[1][output].item() for run in RUNS if model_of(run) == name]

    assert results("choose_op17", "way") == results("choose_op11", "way") == [0, 2, 1]
    assert results("shrink_op13", "count") == [2, 2, 0]
    assert results("search_op17", "found") == [2, -1, 0]


def test_functions_are_in_the_file():
    model = onnx.load(path("reader_functions_op17"))
    assert [node.op_type for node in model.graph.node] == ["Reader"]
    assert {"Reader", "GRU", "Conv2d", "GroupNorm", "Linear"} <= {function.name for function in model.functions}


def test_external_data_is_needed(tmp_path):
    copied = tmp_path / "alone.onnx"
    copied.write_bytes(path("symbolic_external_op20").read_bytes())
    with pytest.raises(ModelError, match=r"external data .*symbolic_external_op20\.onnx\.data' cannot be read"):
        InferenceSession(copied)
    session = InferenceSession(path("symbolic_external_op20"))
    assert [one.name for one in (*session.get_inputs(), *session.get_outputs())] == ["camera.left/0", "out.left/0"]
