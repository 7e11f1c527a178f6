"""Joins in parts, written as quantized models and read back: the same formats, the same codes."""

import numpy as np
import onnxruntime
import pytest
from joined_heads import APART, FEEDS, INSIDE, WHOLE

import qengine
from qengine import InferenceSession, calibrate
from qengine.quantization.qdq import quantized_model


def assert_same_codes(session):
    model = quantized_model(session)
    back = InferenceSession(model)
    assert back.notes == ()
    for feeds in FEEDS[:2]:
        for raw in (True, False):
            for ours, theirs in zip(session.run(None, feeds, raw=raw), back.run(None, feeds, raw=raw), strict=True):
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(theirs, ours)
    return model, back


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", [*APART, *WHOLE, *INSIDE])
def test_what_is_written_is_read(name, bits):
    model = INSIDE[name] if name in INSIDE else (APART | WHOLE)[name].model()
    session = InferenceSession(model, formats=calibrate(model, FEEDS, bits=bits, unsigned=bits == 8))
    _, back = assert_same_codes(session)
    for output in (value.name for value in session.graph.outputs):
        assert str(back.formats[output]) == str(session.formats[output])


@pytest.mark.parametrize("given", ["Q10.5", ["Q10.5", "Q1.6"], ["Q10.-3", "Q3.12"]])
def test_formats_that_are_given(given):
    model = APART["with a constant"].model()
    given = given if isinstance(given, str) else [given[0], "Q1.6", given[1]]
    formats = dict(calibrate(model, FEEDS, bits=8).formats) | {"y": given}
    assert_same_codes(InferenceSession(model, formats=formats))


@pytest.mark.parametrize("name", [*APART, *WHOLE])
def test_onnxruntime_has_the_same_numbers(name):
    model = (APART | WHOLE)[name].model()
    session = InferenceSession(model, formats=calibrate(model, FEEDS, bits=8))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    written = quantized_model(session).SerializeToString()
    other = onnxruntime.InferenceSession(written, options, providers=["CPUExecutionProvider"])
    for ours, theirs in zip(session.run(None, FEEDS[0]), other.run(None, FEEDS[0]), strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_the_command_writes_it(tmp_path):
    model = APART["an output"].model()
    found = qengine.quantize_model(model, FEEDS, output_bits=16)
    assert found.check == "read back: the same codes on one sample"
    assert found.session.formats["y"].bits == 16
