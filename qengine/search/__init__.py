"""Mixed precision: the fewest bits in which a model is still good enough, by what each tensor was measured to cost."""

from qengine.search.cost import Cost
from qengine.search.metric import Metric
from qengine.search.result import Candidate, Found, HeldOut, UnitInfo
from qengine.search.search import search

__all__ = ["Candidate", "Cost", "Found", "HeldOut", "Metric", "UnitInfo", "search"]
