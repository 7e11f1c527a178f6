"""Operators of domains that ONNX does not define, computed by registered functions of a user."""

from qengine.model.custom.operator import Custom
from qengine.model.custom.registration import RegisteredOperator, register_operator
from qengine.model.custom.results import FixedPoint

__all__ = ["Custom", "FixedPoint", "RegisteredOperator", "register_operator"]
