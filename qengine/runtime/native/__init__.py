"""Plans on native kernels: the kernels of each step, the memory of tensors, and the schedule of calls on threads."""

from qengine.runtime.native.counting import CountedExecutor, CountedRun, make_counted_executor
from qengine.runtime.native.executor import Executor
from qengine.runtime.native.plan_lowering import make_executor, make_executors
from qengine.runtime.native.statistics import TensorStatistics, measure

__all__ = [
    "CountedExecutor",
    "CountedRun",
    "Executor",
    "TensorStatistics",
    "make_counted_executor",
    "make_executor",
    "make_executors",
    "measure",
]
