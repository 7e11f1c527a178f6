"""Plans on native kernels: the kernels of each step, the memory of tensors, and the schedule of calls on threads."""

from qengine.runtime.native.executor import Executor
from qengine.runtime.native.plan_lowering import make_executor

__all__ = ["Executor", "make_executor"]
