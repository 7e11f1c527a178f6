"""Conversion of a graph to a newer opset of ONNX's own domain, with the same meaning."""

from qengine.model.opset_conversion import rules as _rules  # noqa: F401 - importing the file declares the rules
from qengine.model.opset_conversion.conversion import at_opset, declared_rules

__all__ = ["at_opset", "declared_rules"]
