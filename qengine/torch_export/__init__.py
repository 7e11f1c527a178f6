"""Export of PyTorch modules to ONNX files, and golden outputs to compare a runtime with.

This package needs torch. No other part of qengine imports it, and neither does ``import qengine``.
"""

from qengine.errors import QEngineError

try:
    import torch  # noqa: F401, TID251 - an exporter
except ImportError:
    raise QEngineError("exporting needs torch: pip install 'qengine[torch]'") from None

from qengine.torch_export.checkpoint import strip_prefix
from qengine.torch_export.goldens import write_golden
from qengine.torch_export.onnx_file import export
from qengine.torch_export.srcnn import SRCNN, BicubicResize, DynamicBicubic, bicubic_resize

__all__ = [
    "SRCNN",
    "BicubicResize",
    "DynamicBicubic",
    "bicubic_resize",
    "export",
    "strip_prefix",
    "write_golden",
]
