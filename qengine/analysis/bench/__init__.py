"""Measurements of speed: models and kernels, compared with the peak of the machine and with other runtimes."""

from qengine.analysis.bench.entry import bench, longest_word, with_inputs
from qengine.analysis.bench.kernels import bench_kernels
from qengine.analysis.bench.model import Report, Row, executor_of, measure
from qengine.analysis.bench.timing import Timing, interleaved

__all__ = [
    "Report",
    "Row",
    "Timing",
    "bench",
    "bench_kernels",
    "executor_of",
    "interleaved",
    "longest_word",
    "measure",
    "with_inputs",
]
