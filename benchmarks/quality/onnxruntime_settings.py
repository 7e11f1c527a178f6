"""ONNX Runtime's static quantizer: the settings that people use, of which a table reports the best that finishes."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cases import Case

_SAMPLES_OF_HISTOGRAMS = 8  # Entropy and Percentile keep every tensor of every sample in memory

_OPSET = 17


@dataclass(frozen=True)
class Setting:
    """One way to call `quantize_static`.

    Attributes
    ----------
    name : the setting in short.
    form : "QDQ" or "QOperator".
    activations, weights : element types, "QUInt8", "QInt8", "QInt16", ...
    method : "MinMax", "Entropy" or "Percentile".
    per_channel, reduce_range, symmetric : arguments of `quantize_static`.
    """

    name: str
    form: str = "QDQ"
    activations: str = "QUInt8"
    weights: str = "QInt8"
    method: str = "MinMax"
    per_channel: bool = True
    reduce_range: bool = False
    symmetric: bool = False


EIGHT = (
    Setting("U8S8 channel"),
    Setting("S8S8 channel", activations="QInt8"),
    Setting("S8S8 channel symmetric", activations="QInt8", symmetric=True),
    Setting("U8S8 channel percentile", method="Percentile"),
    Setting("U8S8 channel entropy", method="Entropy"),
    Setting("U8S8 channel 7 bits", reduce_range=True),
    Setting("U8U8 tensor", weights="QUInt8", per_channel=False),
    Setting("U8S8 channel QOperator", form="QOperator"),
)
SIXTEEN = (
    Setting("U16S16 channel", activations="QUInt16", weights="QInt16"),
    Setting("S16S16 channel symmetric", activations="QInt16", weights="QInt16", symmetric=True),
)


def settings(bits: int) -> tuple[Setting, ...]:
    """Return the settings for a word length; none where ONNX Runtime has no such words."""
    return {8: EIGHT, 16: SIXTEEN}.get(bits, ())


def _recent(model):
    """Return a model of an older opset in one that has scales per channel; the model itself where that fails."""
    from onnx import version_converter

    version = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if version >= _OPSET:
        return model
    try:
        return version_converter.convert_version(model, _OPSET)
    except Exception:
        return model


def quantized_outputs(case: Case, setting: Setting) -> list[list[np.ndarray]]:
    """Return the outputs of all measured runs of a model that ONNX Runtime quantized."""
    import onnx
    import onnxruntime
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    os.environ.setdefault("ORT_DISABLE_ALL_LOGS", "1")
    onnxruntime.set_default_logger_severity(4)
    samples = case.calibration if setting.method == "MinMax" else case.calibration[:_SAMPLES_OF_HISTOGRAMS]

    class Reader(q.CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds = iter(samples)

        def get_next(self):
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        model, source, result = (Path(folder) / f"{name}.onnx" for name in ("model", "prepared", "quantized"))
        onnx.save(_recent(onnx.load(case.path)), model)
        try:
            quant_pre_process(str(model), str(source), skip_symbolic_shape=True, auto_merge=True)
        except Exception:
            source = model  # what it cannot prepare is quantized as it is
        q.quantize_static(
            str(source),
            str(result),
            Reader(),
            quant_format=q.QuantFormat[setting.form],
            activation_type=q.QuantType[setting.activations],
            weight_type=q.QuantType[setting.weights],
            calibrate_method=q.CalibrationMethod[setting.method],
            per_channel=setting.per_channel,
            reduce_range=setting.reduce_range,
            extra_options={"ActivationSymmetric": setting.symmetric, "WeightSymmetric": True},
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(str(result), options, providers=["CPUExecutionProvider"])
        return [session.run(None, feeds) for feeds in case.test]
