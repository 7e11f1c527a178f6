"""OpenVINO: float32 with the precision pinned to it, or the QDQ model that ONNX Runtime's quantizer makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import openvino

from qengine.analysis.bench.rivals import Unavailable


def prepare(path: Path, feeds: Mapping[str, Any], bits: int | None, threads: int) -> Callable[[], object]:
    """See the package."""
    if bits is not None and bits > 8:
        raise Unavailable("OpenVINO has no integers of 16 bits")
    core = openvino.Core()
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
    }
    if bits is None:
        model = core.read_model(str(path))
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    else:
        from qengine.analysis.bench.rivals.onnxruntime_runs import _Frozen, quantized

        model = core.read_model(quantized(path, _Frozen(feeds), 8))
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer(dict(feeds))
