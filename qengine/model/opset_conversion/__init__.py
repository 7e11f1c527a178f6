"""Conversion of a graph to a newer opset of ONNX's own domain, with the same meaning."""

from qengine.model.opset_conversion import old_rules, rules  # noqa: F401 - importing the files declares the rules
from qengine.model.opset_conversion.conversion import at_opset, declared_rules

__all__ = ["at_opset", "declared_rules"]
