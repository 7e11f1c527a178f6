"""Which tensor broke a model in fixed point: what the format of each costs, alone and together with the others."""

from qengine.analysis.blame.measure import blame
from qengine.analysis.blame.result import Blame, Suggestion, TensorBlame

__all__ = ["Blame", "Suggestion", "TensorBlame", "blame"]
