"""qengine: ONNX networks in float32 or in exact Qm.n fixed point, the same bits on every machine."""

from importlib import import_module
from types import ModuleType

from qengine.calibration import Calibration, calibrate
from qengine.custom import FixedPoint, RegisteredOperator, register_operator
from qengine.errors import QEngineError
from qengine.qformat import Overflow, QFormat, Rounding, dequantize, quantize
from qengine.quantized import quantize_model
from qengine.session import InferenceSession

__version__ = "0.1.0"

__all__ = [
    "Calibration",
    "FixedPoint",
    "InferenceSession",
    "Overflow",
    "QEngineError",
    "QFormat",
    "RegisteredOperator",
    "Rounding",
    "__version__",
    "calibrate",
    "dequantize",
    "quantize",
    "quantize_model",
    "register_operator",
]


def __getattr__(name: str) -> ModuleType:
    """Import `qengine.backend` and `qengine.sweep` when they are first asked for: what they need is slow to import."""
    if name in ("backend", "sweep"):
        return import_module(f"qengine.{name}")
    raise AttributeError(f"module 'qengine' has no attribute {name!r}")
