"""A plan on native kernels: which kernel a step gets, where tensors lie, what runs when and on which thread."""

from qengine.runtime.native.executor import Executor
from qengine.runtime.native.lower import make_executor

__all__ = ["Executor", "make_executor"]
