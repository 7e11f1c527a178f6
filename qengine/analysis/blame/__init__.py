"""Noise of each tensor's format in a fixed-point model: of the tensor alone, and of all tensors together."""

from qengine.analysis.blame.measure import blame
from qengine.analysis.blame.result import Blame, GroupBlame, Suggestion, TensorBlame

__all__ = ["Blame", "GroupBlame", "Suggestion", "TensorBlame", "blame"]
