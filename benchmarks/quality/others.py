"""Other quantizers of ONNX files, each measured where its package is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from cases import Case


def _runs(path: Path, case: Case) -> list[list[np.ndarray]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [session.run(None, feeds) for feeds in case.test]


def _nncf(case: Case) -> list[list[np.ndarray]]:
    import nncf
    import onnx

    quantized = nncf.quantize(
        onnx.load(case.path), nncf.Dataset(case.calibration), subset_size=len(case.calibration),
        fast_bias_correction=True,
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        path = Path(folder) / "quantized.onnx"
        onnx.save(quantized, path)
        return _runs(path, case)


def _esp_ppq(case: Case) -> list[list[np.ndarray]]:
    import torch
    from esp_ppq.api import espdl_quantize_onnx
    from esp_ppq.executor import TorchExecutor

    def tensors(feeds):
        return [torch.from_numpy(np.ascontiguousarray(array)) for array in feeds.values()]

    with TemporaryDirectory() as folder:
        graph = espdl_quantize_onnx(
            str(case.path), str(Path(folder) / "quantized.espdl"), [tensors(feeds) for feeds in case.calibration],
            calib_steps=len(case.calibration), input_shape=[list(a.shape) for a in case.calibration[0].values()],
            device="cpu", num_of_bits=8, error_report=False, skip_export=True, collate_fn=lambda batch: batch,
        )  # fmt: skip
        executor = TorchExecutor(graph, device="cpu")
        return [[out.numpy() for out in executor.forward(tensors(feeds))] for feeds in case.test]


_OTHERS: dict[str, tuple[str, Callable[[Case], list[list[np.ndarray]]]]] = {
    "NNCF": ("nncf", _nncf),
    "esp-ppq": ("esp_ppq", _esp_ppq),
}


def installed() -> dict[str, Callable[[Case], list[list[np.ndarray]]]]:
    """Return the quantizers to 8 bits whose packages are installed, by name."""
    return {name: run for name, (package, run) in _OTHERS.items() if find_spec(package)}
