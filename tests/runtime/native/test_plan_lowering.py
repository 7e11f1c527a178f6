"""Plans of several segments: their kernels are one batch, and they take turns in one memory."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network

from qengine import InferenceSession
from qengine.kernels import build, compile_batch
from qengine.runtime.native.plan_lowering import PlanLowering

POOL = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
OPERATORS = [("AveragePool", POOL), ("LeakyRelu", {}), ("MaxPool", POOL), ("AveragePool", POOL), ("Tanh", {}),
             ("MaxPool", POOL), ("Softsign", {}), ("MaxPool", POOL)]  # fmt: skip
CHAIN = [
    (operator, "x" if i == 0 else f"t{i}", f"t{i + 1}", attributes)
    for i, (operator, attributes) in enumerate(OPERATORS)
]


@pytest.fixture
def every_other_step_on_the_reference(monkeypatch):
    try_native = PlanLowering._try_native

    def refuse_some(self, bound_step):
        return "for a test" if bound_step.output.name in {"t3", "t6"} else try_native(self, bound_step)

    monkeypatch.setattr(PlanLowering, "_try_native", refuse_some)


@pytest.mark.parametrize("qformat", [None, "Q3.4"])
def test_segments_share_memory_and_one_batch_of_kernels(
    qformat, every_other_step_on_the_reference, tmp_path, monkeypatch
):
    batches = []
    compiled = build.compiled
    monkeypatch.setattr(build, "compiled", lambda specs, *options: batches.append(specs) or compiled(specs, *options))
    monkeypatch.setenv(build.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(build, "_CACHE", build._KernelCache())
    monkeypatch.setattr(compile_batch, "_KERNEL_SECONDS", 1.0)  # so that a line is logged for each batch
    model = network(CHAIN, inputs={"x": [1, 20, 9, 7]}, outputs=[f"t{len(CHAIN)}"])
    x = np.random.default_rng(0).normal(0, 2, (1, 20, 9, 7)).astype(np.float32)
    session = InferenceSession(model, qformat=qformat, isa="generic", threads=1)
    (got,) = session.run(None, {"x": x})
    assert len(batches) == 1
    (want,) = InferenceSession(model, qformat=qformat, isa="reference").run(None, {"x": x})
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 if qformat is None else 0)
    executor = session.executor(session.plan({"x": x}), raw=False)
    assert len(executor.segments) == 3
    memories = [segment.compiled.memory for segment in executor.segments]
    assert memories == [memories[0]] * 3
    assert executor.memory == memories[0].bytes
