"""ONNX Runtime: float32, or QDQ made by its own quantizer: u8 or s16 activations, s8 weights per channel."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import onnxruntime


def prepare(path: Path, feeds: Mapping[str, Any], bits: int | None, threads: int) -> Callable[[], object]:
    """See the package."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    model = str(path) if bits is None else quantized(path, _Frozen(feeds), 8 if bits <= 8 else 16)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, dict(feeds))


class _Frozen:
    """Feeds that a cache can tell apart by who made them."""

    def __init__(self, feeds: Mapping[str, Any]) -> None:
        self.feeds = feeds
        self.key = tuple((name, id(array)) for name, array in feeds.items())

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and self.key == other.key


@lru_cache(maxsize=4)
def quantized(path: Path, feeds: _Frozen, bits: int) -> bytes:
    """Return a model's QDQ form, preprocessed and calibrated on the feeds."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter([dict(feeds.feeds)])

        def get_next(self) -> dict[str, Any] | None:
            return next(self._left, None)

    logging.getLogger().setLevel(logging.ERROR)  # its advice to preprocess comes even after that
    activations = QuantType.QUInt8 if bits == 8 else QuantType.QInt16
    # Words of 16 bits are an operator of its own up to opset 20.
    extra = {} if bits == 8 else {"UseQDQContribOps": True}
    with tempfile.TemporaryDirectory() as folder:
        simple, whole = Path(folder) / "simple.onnx", Path(folder) / "quantized.onnx"
        quant_pre_process(str(path), str(simple), skip_symbolic_shape=True)
        quantize_static(
            str(simple),
            str(whole),
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=activations,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options=extra,
        )
        return whole.read_bytes()
