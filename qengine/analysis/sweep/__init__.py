"""Many arithmetics for one model: how good each is on data, kept in a folder that a sweep goes on from."""

from qengine.analysis.sweep.measure import Measures, Task
from qengine.analysis.sweep.points import FLOAT32, Grid, Point
from qengine.analysis.sweep.row import COLUMNS, Outcome, Row
from qengine.analysis.sweep.run import Sweep, sweep

__all__ = ["COLUMNS", "FLOAT32", "Grid", "Measures", "Outcome", "Point", "Row", "Sweep", "Task", "sweep"]
