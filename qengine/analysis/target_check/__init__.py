"""Check of a model against a target: what the device does not have."""

from qengine.analysis.target_check.accumulators import AccumulatorNeed
from qengine.analysis.target_check.check import TargetCheck, check_target, target_notes, violations_of

__all__ = ["AccumulatorNeed", "TargetCheck", "check_target", "target_notes", "violations_of"]
