"""All evaluators that say what their outputs are before a run, held against what the run gives."""

from __future__ import annotations

import numpy as np
import pytest

from qengine.model.eager.evaluator import Evaluator
from qengine.model.steps import Tensor


@pytest.fixture(autouse=True)
def declared_outputs_are_right(monkeypatch):
    compute = Evaluator.compute

    def checked(self, node, inputs):
        outputs = compute(self, node, inputs)
        if self.outputs is not None and all(x is None or isinstance(x, np.ndarray) for x in inputs):
            tensors = [
                Tensor(name, x.dtype, x.shape, x) if name else None for name, x in zip(node.inputs, inputs, strict=True)
            ]
            types = self.output_types(node, tensors)
            for name, output, (shape, dtype) in zip(node.outputs, outputs, types, strict=True):
                assert not name or (output.shape, output.dtype) == (shape, dtype), (node, output.shape, shape)
        return outputs

    monkeypatch.setattr(Evaluator, "compute", checked)
