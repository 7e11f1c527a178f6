"""Evaluation of a model over data: the figures of fixed point and of float32 on all samples."""

from qengine.analysis.evaluation.result import Confusion, Evaluation, MetricFigures, SampleDifference
from qengine.analysis.evaluation.run import evaluate

__all__ = ["Confusion", "Evaluation", "MetricFigures", "SampleDifference", "evaluate"]
