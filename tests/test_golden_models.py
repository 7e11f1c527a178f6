"""Models that torch exported, against what torch gave for them and against ONNX Runtime at other shapes."""

import json
from pathlib import Path

import numpy as np
import pytest
from networks import onnxruntime_session, weights

from qengine import InferenceSession
from qengine.data.golden import read_golden
from qengine.metrics.sqnr import sqnr

GOLDEN = Path(__file__).parent / "golden"
INDEX = {  # those of exporters/ are tested in test_exporters.py
    golden: model
    for golden, model in json.loads((GOLDEN / "index.json").read_text()).items()
    if not golden.startswith("exporters/")
}
MODELS = sorted(set(INDEX.values()))
SEED = GOLDEN / "srcnn_seed.onnx"


def assert_close(found, wanted, tolerance):
    """Equal within the tolerance, relative to the peak where that is above 1."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    assert np.abs(found - wanted).max(initial=0) <= tolerance * max(1.0, np.abs(wanted).max(initial=0))


@pytest.mark.parametrize("golden", INDEX)
def test_outputs_are_those_of_torch(golden):
    inputs, outputs = read_golden(GOLDEN / golden)
    found = InferenceSession(GOLDEN / INDEX[golden]).run(list(outputs), inputs)
    for array, wanted in zip(found, outputs.values(), strict=True):
        assert_close(array, wanted, 1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_other_shapes_are_those_of_onnxruntime(model):
    ours, theirs = InferenceSession(GOLDEN / model), onnxruntime_session(str(GOLDEN / model))
    assert [(a.name, a.shape, a.type) for a in ours.get_inputs()] == [
        (a.name, a.shape, a.type) for a in theirs.get_inputs()
    ]
    assert [a.name for a in ours.get_outputs()] == [a.name for a in theirs.get_outputs()]
    for seed, (batch, lengths) in enumerate([(1, (9, 14, 11)), (3, (16, 8, 25)), (2, (33, 21, 8))]):
        feeds = {}
        for argument in ours.get_inputs():
            if argument.name == "factor":
                feeds["factor"] = np.float32([1, 1, [2, 3, 0.75][seed], 1.5])
                continue
            open_lengths = iter((batch, *lengths))
            shape = [n if isinstance(n, int) else next(open_lengths) for n in argument.shape]
            feeds[argument.name] = np.abs(weights(*shape, seed=seed))
        for found, wanted in zip(ours.run(None, feeds), theirs.run(None, feeds), strict=True):
            assert_close(found, wanted, 2e-5)


@pytest.mark.parametrize("factor", [(2, 2), (3, 3), (5, 5), (1.5, 2.5), (0.5, 1)])
def test_the_super_resolution_network(factor):
    image = np.random.default_rng(3).random((1, 3, 15, 17), np.float32)
    feeds = {"input": image, "factor": np.float32([1, 1, *factor])}
    (wanted,) = onnxruntime_session(str(SEED)).run(None, feeds)
    assert wanted.shape == (1, 3, int(15 * factor[0]), int(17 * factor[1]))
    (found,) = InferenceSession(SEED).run(None, feeds)
    assert_close(found, wanted, 2e-5)
    s = InferenceSession(SEED, qformat="Q1.14", strict=True)
    (fixed,) = s.run(None, feeds)
    assert sqnr(found, fixed) > 50
    assert "factor" not in s.formats


@pytest.mark.parametrize("model", MODELS)
def test_fixed_point_comes_close_to_real_numbers(model):
    golden = next(name for name, one in INDEX.items() if one == model)
    inputs, outputs = read_golden(GOLDEN / golden)
    wide = InferenceSession(GOLDEN / model, qformat="Q4.11").run(list(outputs), inputs)
    for found, wanted in zip(wide, InferenceSession(GOLDEN / model).run(list(outputs), inputs), strict=True):
        assert sqnr(wanted, found) > 25
