"""Mixed precision: the fewest bits in which a model is still good enough, by what each tensor was measured to cost."""

from qengine.analysis.search.cost import Cost
from qengine.analysis.search.metric import Metric
from qengine.analysis.search.result import Candidate, Found, HeldOut, UnitInfo
from qengine.analysis.search.run import search

__all__ = ["Candidate", "Cost", "Found", "HeldOut", "Metric", "UnitInfo", "search"]
