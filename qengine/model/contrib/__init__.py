"""Operators that ONNX does not have: those of com.microsoft, which ONNX Runtime writes, and experiments of old opsets.

When a model is loaded, each is replaced by nodes of ONNX's own operators, so that passes, fixed point, calibration and
native kernels serve it as any other model. `expansions` imports every file of the package, and so declares every
expansion; see `expansion`. An operator that ONNX cannot express has an evaluator instead.
"""

from qengine.model.contrib.expander import expand_contrib
from qengine.model.contrib.expansion import CONTRIB, expansions

__all__ = ["CONTRIB", "expand_contrib", "expansions"]
