"""Operands of steps without a model around them."""

import numpy as np

from qengine.model.rules import Arithmetic
from qengine.model.steps.step import Tensor
from qengine.qformat import QFormat


def tensor(name, form, shape, dtype=np.float32):
    """A tensor that a run computes; `form` is the text of a format, None for real numbers."""
    return Tensor(name, np.dtype(dtype), shape, None, form and QFormat.parse(form))


def fixed_kernel(step, form, **arithmetic):
    """The kernel of a step whose output has the format."""
    return step.fixed(tensor("y", form, step.shape), Arithmetic(**arithmetic))
