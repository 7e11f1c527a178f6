"""qengine: ONNX networks in float32 or in exact Qm.n fixed point, the same bits on every machine."""

from qengine.calibration import Calibration, calibrate
from qengine.errors import QEngineError
from qengine.qformat import Overflow, QFormat, Rounding, dequantize, quantize
from qengine.session import InferenceSession

__version__ = "0.1.0"

__all__ = [
    "Calibration",
    "InferenceSession",
    "Overflow",
    "QEngineError",
    "QFormat",
    "Rounding",
    "__version__",
    "calibrate",
    "dequantize",
    "quantize",
]
