"""Many arithmetics for one model: how good each is on data, kept in a folder that a sweep goes on from."""

from qengine.sweep.measure import Measures, Task
from qengine.sweep.points import FLOAT32, Grid, Point
from qengine.sweep.row import COLUMNS, Outcome, Row
from qengine.sweep.sweep import Sweep, run

__all__ = ["COLUMNS", "FLOAT32", "Grid", "Measures", "Outcome", "Point", "Row", "Sweep", "Task", "run"]
