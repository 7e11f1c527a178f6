"""Quantizes a network by esp-ppq, Espressif's quantizer, and runs it there: formats and codes are what it finds."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from pathlib import Path

import numpy as np
import onnx
from targets.devices.network import Format


def quantized(network, chip, samples):
    """Return the formats of all tensors, and the codes of nodes' outputs for the first sample.

    Parameters
    ----------
    network : the network, whose formats count for nothing.
    chip : "esp32s3" or "esp32p4".
    samples : numbers of the only input, which esp-ppq calibrates with.
    """
    import torch

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from esp_ppq.api import espdl_quantize_onnx
        from esp_ppq.executor import TorchExecutor

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            onnx.save(onnx.shape_inference.infer_shapes(network.as_onnx()), path)
            data = [torch.from_numpy(np.float32(sample)) for sample in samples]
            graph = espdl_quantize_onnx(
                str(path),
                str(path.with_suffix(".espdl")),
                data,
                len(data),
                list(samples[0].shape),
                target=chip,
                num_of_bits=8,
                collate_fn=lambda sample: sample,
                error_report=False,
                skip_export=True,
            )
        names = [node.output for node in network.nodes]
        values = TorchExecutor(graph, device="cpu").forward([data[0]], output_names=names)
    formats = {}
    for operation in graph.operations.values():
        for config, variable in operation.config_with_variable:
            if variable.name in operation_outputs(operation) or variable.is_parameter or variable.name not in formats:
                formats[variable.name] = _format(config)
    codes = {}
    for name, value in zip(names, values, strict=True):
        exact = value.detach().numpy().astype(np.float64) * 2.0 ** formats[name].fraction
        if (np.rint(exact) == exact).all():  # else it is fused with what follows, and never rounded
            codes[name] = exact.astype(np.int64)
    return {name: fmt for name, fmt in formats.items() if not name.endswith("_b")}, codes


def operation_outputs(operation):
    """Return the names of an operation's outputs."""
    return {variable.name for variable in operation.outputs}


def _format(config):
    """Return the format of a tensor; one of many scales is a format for each channel, as fraction bits."""
    fractions = [-round(math.log2(s)) for s in np.ravel(config.scale.numpy())]
    if len(fractions) > 1:
        return [Format(config.num_of_bits, n) for n in fractions]
    return Format(config.num_of_bits, fractions[0])
