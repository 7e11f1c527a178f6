"""Sweeps: a model in many arithmetics, evaluated on data; the results are in a folder, and a sweep can be continued."""

from qengine.analysis.sweep.differences import Difference
from qengine.analysis.sweep.measure import Measures
from qengine.analysis.sweep.options import SweepOptions
from qengine.analysis.sweep.points import FLOAT32, Grid, Point
from qengine.analysis.sweep.result import Sweep
from qengine.analysis.sweep.row import Outcome, Row, columns
from qengine.analysis.sweep.run import sweep
from qengine.metrics.tasks import Task

__all__ = [
    "FLOAT32",
    "Difference",
    "Grid",
    "Measures",
    "Outcome",
    "Point",
    "Row",
    "Sweep",
    "SweepOptions",
    "Task",
    "columns",
    "sweep",
]
