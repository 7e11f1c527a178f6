"""Sequences of tensors, which keep their element type where they are empty."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.evaluator import Element


class TensorSequence(list[NDArray[Any]]):
    """A list of tensors of one element type.

    Attributes
    ----------
    dtype : element type; None where an empty list does not tell it.
    """

    def __init__(self, tensors: Iterable[Any] = (), dtype: np.dtype[Any] | None = None) -> None:
        """Raise ModelError for tensors of another type, or for an element that is not a tensor."""
        super().__init__(tensors)
        self.dtype = dtype
        for tensor in self:
            if not isinstance(tensor, np.ndarray):
                raise ModelError("a sequence holds something else than tensors")
            if self.dtype is None:
                self.dtype = tensor.dtype
            if tensor.dtype != self.dtype:
                raise ModelError(f"a sequence of {self.dtype} cannot hold a tensor of {tensor.dtype}")

    @classmethod
    def joined(cls, tensors: Iterable[NDArray[Any]], dtype: np.dtype[Any] | None) -> TensorSequence:
        """Return a sequence of tensors that are known to have one type, which a loop may build one by one."""
        result = cls((), dtype)
        result.extend(tensors)
        return result


def sequence(value: Element) -> TensorSequence:
    """Return an input that must be a sequence of tensors; raise ModelError for anything else."""
    if not isinstance(value, list):
        raise ModelError("takes a sequence of tensors")
    return value if isinstance(value, TensorSequence) else TensorSequence(value)
