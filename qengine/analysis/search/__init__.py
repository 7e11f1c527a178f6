"""Mixed precision: the fewest bits in which a model is still good enough, from the sensitivity of each tensor."""

from qengine.analysis.search.options import SearchOptions
from qengine.analysis.search.result import Candidate, HeldOut, SearchResult, UnitInfo
from qengine.analysis.search.run import search

__all__ = ["Candidate", "HeldOut", "SearchOptions", "SearchResult", "UnitInfo", "search"]
