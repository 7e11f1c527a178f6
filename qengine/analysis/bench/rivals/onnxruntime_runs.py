"""ONNX Runtime: float32, or a QDQ model of its own quantizer: u8 or s16 activations, s8 weights per channel."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import onnxruntime

from qengine.analysis.bench.rivals import RivalSetup


def prepare(setup: RivalSetup) -> Callable[[], object]:
    """Return a function that runs the model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = setup.threads, 1
    options.log_severity_level = 3
    model = str(setup.path) if setup.bits is None else quantized(setup)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, dict(setup.feeds))


def quantized(setup: RivalSetup) -> bytes:
    """Return the QDQ form of a model, preprocessed and calibrated on the feeds."""
    assert setup.bits is not None
    # The model does not depend on the threads.
    return _quantized(_CacheKey(replace(setup, threads=1, bits=8 if setup.bits <= 8 else 16)))


class _CacheKey:
    """Hashable setup: feeds are equal where their arrays are the same objects."""

    def __init__(self, setup: RivalSetup) -> None:
        self.setup = setup
        arrays = tuple((name, id(array)) for name, array in setup.feeds.items())
        self._key = (setup.path, setup.bits, arrays)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _CacheKey) and self._key == other._key


@lru_cache(maxsize=4)
def _quantized(key: _CacheKey) -> bytes:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    setup = key.setup

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter([dict(setup.feeds)])

        def get_next(self) -> dict[str, Any] | None:
            return next(self._left, None)

    activations = QuantType.QUInt8 if setup.bits == 8 else QuantType.QInt16
    # Up to opset 20, QDQ with 16 bits is a contributed operator.
    extra = {} if setup.bits == 8 else {"UseQDQContribOps": True}
    with tempfile.TemporaryDirectory() as folder, _root_logger_quiet():
        preprocessed, model = Path(folder) / "preprocessed.onnx", Path(folder) / "quantized.onnx"
        quant_pre_process(str(setup.path), str(preprocessed), skip_symbolic_shape=True)
        quantize_static(
            str(preprocessed),
            str(model),
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=activations,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options=extra,
        )
        return model.read_bytes()


@contextmanager
def _root_logger_quiet() -> Iterator[None]:
    """Silence the quantizer, which advises preprocessing even after it was done; other loggers inherit the level."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
