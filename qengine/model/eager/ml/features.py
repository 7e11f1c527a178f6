"""Feature matrix and class labels, as the operators of ai.onnx.ml take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.evaluator import Element
from qengine.model.steps import Tensor

DOMAIN = "ai.onnx.ml"


def rows_of(x: NDArray[Any]) -> NDArray[Any]:
    """Return the features as a matrix [N, C]; a vector is one row.

    Raises
    ------
    ModelError
        If they have another number of axes.
    """
    if x.ndim not in (1, 2):
        raise ModelError(f"its features have {x.ndim} axes, {list(x.shape)}; they must be [N, C] or [C]")
    return x if x.ndim == 2 else x[None]


def row_count(x: Tensor) -> int:
    """Return the number of rows of a feature matrix; see `rows_of`."""
    if x.ndim not in (1, 2):
        raise ModelError(f"its features have {x.ndim} axes, {list(x.shape)}; they must be [N, C] or [C]")
    return x.shape[0] if x.ndim == 2 else 1


def labels_of(integers: Sequence[int], texts: Sequence[str], count: int | None = None) -> NDArray[Any]:
    """Return the labels of classes, int64 or text.

    Parameters
    ----------
    integers, texts
        The two attributes, one of which is empty.
    count
        Number of classes; None for any.

    Raises
    ------
    ModelError
        If both or none are given, or there is another number of classes.
    """
    if bool(integers) == bool(texts):
        raise ModelError("must have integer labels or text labels, and not both")
    labels = np.array(integers, np.int64) if integers else text(texts)
    if count is not None and len(labels) != count:
        raise ModelError(f"has {len(labels)} labels for {count} classes")
    return labels


def text(values: Sequence[str]) -> NDArray[Any]:
    """Return a vector of text."""
    result = np.empty(len(values), object)
    result[:] = values
    return result


def floats(values: Sequence[float]) -> NDArray[np.float32]:
    """Return an attribute of numbers as a float32 vector."""
    return np.array(values, np.float32)


def tensor_of(value: Element) -> NDArray[Any]:
    """Return a value that must be a tensor; raise ModelError for a sequence or a map."""
    if not isinstance(value, np.ndarray):
        raise ModelError(f"takes a tensor, not a {'map' if isinstance(value, dict) else 'sequence'}")
    return value
