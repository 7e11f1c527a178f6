"""Noise of each tensor's format in a fixed-point model: of the tensor alone, and of all tensors together."""

from qengine.analysis.blame.measure import blame
from qengine.analysis.blame.result import Blame, Suggestion, TensorBlame

__all__ = ["Blame", "Suggestion", "TensorBlame", "blame"]
