"""Operators of domains that ONNX does not define, computed by functions that a user registers."""

from qengine.custom.operator import Custom
from qengine.custom.registration import RegisteredOperator, register_operator
from qengine.custom.results import FixedPoint

__all__ = ["Custom", "FixedPoint", "RegisteredOperator", "register_operator"]
