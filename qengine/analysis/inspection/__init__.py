"""What a model is made of, and what fixed point would make of it, told before anybody runs it."""

from qengine.analysis.inspection.kinds import MEANINGS, Kind
from qengine.analysis.inspection.model import Inspection, NodeInfo, OperatorInfo, TensorInfo, inspect_model

__all__ = ["MEANINGS", "Inspection", "Kind", "NodeInfo", "OperatorInfo", "TensorInfo", "inspect_model"]
