"""OpenVINO: float32 with the precision pinned to it, or the QDQ model of ONNX Runtime's quantizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openvino

from qengine.analysis.bench.rivals import RivalSetup, Unavailable


def prepare(setup: RivalSetup) -> Callable[[], object]:
    """Return a function that runs the model."""
    if setup.bits is not None and setup.bits > 8:
        raise Unavailable("OpenVINO has no integers of 16 bits")
    core = openvino.Core()
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": setup.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
    }
    if setup.bits is None:
        model = core.read_model(str(setup.path))
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    else:
        from qengine.analysis.bench.rivals.onnxruntime_runs import quantized

        model = core.read_model(quantized(setup))
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer(dict(setup.feeds))
