import json

import numpy as np
import onnxruntime
import pytest
import torch

from qengine.data.golden import read_golden
from qengine.errors import QEngineError
from qengine.torch_export import (
    SRCNN,
    write_golden,
)

from .exports import GOLDEN, TOLERANCE, scales


def test_write_golden(tmp_path):
    module = SRCNN().train()
    inputs = {
        "input": np.random.default_rng(4).random((1, 3, 5, 4), np.float32),
        "factor": scales(2, 3).numpy(),
    }
    write_golden(tmp_path / "g.npz", module, inputs, ["output"])
    found, outputs = read_golden(tmp_path / "g.npz")
    assert list(found) == ["input", "factor"]
    for name, value in inputs.items():
        np.testing.assert_array_equal(found[name], value, strict=True)
    with torch.no_grad():
        wanted = module(torch.from_numpy(inputs["input"]), scales(2, 3)).numpy()
    np.testing.assert_array_equal(outputs["output"], wanted, strict=True)
    assert all(part.training for part in module.modules())


def test_write_golden_wants_a_name_for_each_output(tmp_path):
    with pytest.raises(QEngineError, match="ReLU returns 1 tensors, but 2 names are given: a, b"):
        write_golden(tmp_path / "g.npz", torch.nn.ReLU(), {"x": np.ones(1, np.float32)}, ["a", "b"])
    assert not list(tmp_path.iterdir())


def test_golden_files_agree_with_onnxruntime():
    for name, model in json.loads((GOLDEN / "index.json").read_text()).items():
        inputs, outputs = read_golden(GOLDEN / name)
        try:
            session = onnxruntime.InferenceSession(GOLDEN / model, providers=["CPUExecutionProvider"])
        except Exception as error:  # it has no public tree of errors
            # ONNX Runtime has no kernels for some types; tests/test_exporters.py compares those with torch.
            if "NOT_IMPLEMENTED" not in str(error):
                raise
            continue
        for result, wanted in zip(session.run(list(outputs), inputs), outputs.values(), strict=True):
            np.testing.assert_allclose(result, wanted, rtol=0, atol=TOLERANCE * np.abs(wanted).max())
