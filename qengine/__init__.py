"""qengine: ONNX networks in float32 or in exact Qm.n fixed point, the same bits on every machine.

All public names are here. Each is imported from its module on first use, so `import qengine` alone loads no other
module of the package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names for type checkers; a test compares them with the tables below
    from qengine import backend as backend
    from qengine.analysis.bench import bench as bench
    from qengine.analysis.blame import Blame as Blame
    from qengine.analysis.blame import blame as blame
    from qengine.analysis.evaluation import Evaluation as Evaluation
    from qengine.analysis.evaluation import evaluate as evaluate
    from qengine.analysis.inspection import Inspection as Inspection
    from qengine.analysis.inspection import inspect_model as inspect_model
    from qengine.analysis.search import SearchOptions as SearchOptions
    from qengine.analysis.search import SearchResult as SearchResult
    from qengine.analysis.search import search as search
    from qengine.analysis.sweep import Grid as Grid
    from qengine.analysis.sweep import Sweep as Sweep
    from qengine.analysis.sweep import SweepOptions as SweepOptions
    from qengine.analysis.sweep import sweep as sweep
    from qengine.data import zoo as zoo
    from qengine.data.datasets import Dataset as Dataset
    from qengine.data.datasets import open_dataset as open_dataset
    from qengine.data.preprocessing import Preprocessing as Preprocessing
    from qengine.deploy.c import COptions as COptions
    from qengine.deploy.c import CProject as CProject
    from qengine.deploy.c import export_c as export_c
    from qengine.deploy.compare import Comparison as Comparison
    from qengine.deploy.compare import compare as compare
    from qengine.deploy.vectors import Pack as Pack
    from qengine.deploy.vectors import VectorOptions as VectorOptions
    from qengine.deploy.vectors import export_vectors as export_vectors
    from qengine.errors import QEngineError as QEngineError
    from qengine.html_report import ReportOptions as ReportOptions
    from qengine.html_report import report as report
    from qengine.model.custom import FixedPoint as FixedPoint
    from qengine.model.custom import RegisteredOperator as RegisteredOperator
    from qengine.model.custom import register_operator as register_operator
    from qengine.qformat import Overflow as Overflow
    from qengine.qformat import QFormat as QFormat
    from qengine.qformat import Rounding as Rounding
    from qengine.qformat import dequantize as dequantize
    from qengine.qformat import quantize as quantize
    from qengine.quantization.calibration import Calibration as Calibration
    from qengine.quantization.calibration import CalibrationOptions as CalibrationOptions
    from qengine.quantization.calibration import calibrate as calibrate
    from qengine.quantization.correction import CorrectedModel as CorrectedModel
    from qengine.quantization.correction import correct as correct
    from qengine.quantization.data_free import calibrate_without_data as calibrate_without_data
    from qengine.quantization.qdq import QuantizedModel as QuantizedModel
    from qengine.quantization.qdq import quantize_model as quantize_model
    from qengine.results import Result as Result
    from qengine.runtime.options import SessionOptions as SessionOptions
    from qengine.runtime.session import InferenceSession as InferenceSession
    from qengine.targets import Target as Target

__version__ = "0.1.0"

_MODULE_OF = {
    "Blame": "analysis.blame",
    "COptions": "deploy.c",
    "CProject": "deploy.c",
    "Calibration": "quantization.calibration",
    "CalibrationOptions": "quantization.calibration",
    "Comparison": "deploy.compare",
    "CorrectedModel": "quantization.correction",
    "Dataset": "data.datasets",
    "Evaluation": "analysis.evaluation",
    "FixedPoint": "model.custom",
    "Grid": "analysis.sweep",
    "InferenceSession": "runtime.session",
    "Inspection": "analysis.inspection",
    "Overflow": "qformat",
    "Pack": "deploy.vectors",
    "Preprocessing": "data.preprocessing",
    "QEngineError": "errors",
    "QFormat": "qformat",
    "QuantizedModel": "quantization.qdq",
    "RegisteredOperator": "model.custom",
    "ReportOptions": "html_report",
    "Result": "results",
    "Rounding": "qformat",
    "SearchOptions": "analysis.search",
    "SearchResult": "analysis.search",
    "SessionOptions": "runtime.options",
    "Sweep": "analysis.sweep",
    "SweepOptions": "analysis.sweep",
    "Target": "targets",
    "VectorOptions": "deploy.vectors",
    "bench": "analysis.bench",
    "blame": "analysis.blame",
    "calibrate": "quantization.calibration",
    "calibrate_without_data": "quantization.data_free",
    "compare": "deploy.compare",
    "correct": "quantization.correction",
    "dequantize": "qformat",
    "evaluate": "analysis.evaluation",
    "export_c": "deploy.c",
    "export_vectors": "deploy.vectors",
    "inspect_model": "analysis.inspection",
    "open_dataset": "data.datasets",
    "quantize": "qformat",
    "quantize_model": "quantization.qdq",
    "register_operator": "model.custom",
    "report": "html_report",
    "search": "analysis.search",
    "sweep": "analysis.sweep",
}
_MODULES = {"backend": "qengine.backend", "zoo": "qengine.data.zoo"}

__all__ = sorted(["__version__", *_MODULE_OF, *_MODULES])


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _MODULES:
        value: Any = import_module(_MODULES[name])
    elif name in _MODULE_OF:
        value = getattr(import_module(f"qengine.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'qengine' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
