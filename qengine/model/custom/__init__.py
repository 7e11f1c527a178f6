"""Operators of domains that ONNX does not define, computed by registered functions of a user."""

from qengine.model.custom.calls import FixedPoint
from qengine.model.custom.operator import Custom
from qengine.model.custom.registration import RegisteredOperator, register_operator

__all__ = ["Custom", "FixedPoint", "RegisteredOperator", "register_operator"]
