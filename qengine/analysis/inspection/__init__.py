"""Inspection of a model without a run: nodes, shapes, parameters, work, and what fixed point would do to it."""

from qengine.analysis.inspection.kinds import MEANINGS, Kind
from qengine.analysis.inspection.model import inspect_model
from qengine.analysis.inspection.result import Inspection, NodeInfo, OperatorInfo, TensorInfo

__all__ = ["MEANINGS", "Inspection", "Kind", "NodeInfo", "OperatorInfo", "TensorInfo", "inspect_model"]
