"""qengine: ONNX networks in float32 or in exact Qm.n fixed point, the same bits on every machine.

Every public name is here, and each is imported when it is first asked for: `import qengine` alone loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qengine import backend
    from qengine.analysis.bench import bench
    from qengine.analysis.blame import blame
    from qengine.analysis.inspection import inspect_model
    from qengine.analysis.search import SearchOptions, search
    from qengine.analysis.sweep import Grid, SweepOptions, sweep
    from qengine.data import zoo
    from qengine.data.datasets import open_dataset
    from qengine.data.images import PixelScale
    from qengine.errors import QEngineError
    from qengine.model.custom import FixedPoint, RegisteredOperator, register_operator
    from qengine.qformat import Overflow, QFormat, Rounding, dequantize, quantize
    from qengine.quantization.calibration import Calibration, CalibrationOptions, calibrate
    from qengine.quantization.correction import correct
    from qengine.quantization.qdq import quantize_model
    from qengine.runtime.options import SessionOptions
    from qengine.runtime.session import InferenceSession

__version__ = "0.1.0"

_MODULE_OF = {
    "Calibration": "quantization.calibration",
    "CalibrationOptions": "quantization.calibration",
    "FixedPoint": "model.custom",
    "Grid": "analysis.sweep",
    "InferenceSession": "runtime.session",
    "Overflow": "qformat",
    "PixelScale": "data.images",
    "QEngineError": "errors",
    "QFormat": "qformat",
    "RegisteredOperator": "model.custom",
    "Rounding": "qformat",
    "SearchOptions": "analysis.search",
    "SessionOptions": "runtime.options",
    "SweepOptions": "analysis.sweep",
    "bench": "analysis.bench",
    "blame": "analysis.blame",
    "calibrate": "quantization.calibration",
    "correct": "quantization.correction",
    "dequantize": "qformat",
    "inspect_model": "analysis.inspection",
    "open_dataset": "data.datasets",
    "quantize": "qformat",
    "quantize_model": "quantization.qdq",
    "register_operator": "model.custom",
    "search": "analysis.search",
    "sweep": "analysis.sweep",
}
_MODULES = {"backend": "qengine.backend", "zoo": "qengine.data.zoo"}

__all__ = [
    "Calibration",
    "CalibrationOptions",
    "FixedPoint",
    "Grid",
    "InferenceSession",
    "Overflow",
    "PixelScale",
    "QEngineError",
    "QFormat",
    "RegisteredOperator",
    "Rounding",
    "SearchOptions",
    "SessionOptions",
    "SweepOptions",
    "__version__",
    "backend",
    "bench",
    "blame",
    "calibrate",
    "correct",
    "dequantize",
    "inspect_model",
    "open_dataset",
    "quantize",
    "quantize_model",
    "register_operator",
    "search",
    "sweep",
    "zoo",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name in _MODULES:
        found: Any = import_module(_MODULES[name])
    elif name in _MODULE_OF:
        found = getattr(import_module(f"qengine.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'qengine' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
