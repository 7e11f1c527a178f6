"""Tasks: the kinds of output that a model has, and the output by which it is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.channels import CHANNELS, LAYOUTS, channel_axis
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError, UnsupportedError

Outputs = Mapping[str, NDArray[Any]]
"""Tensors by name."""

_MIN_IMAGE_SIDE = 8  # rows and columns of a tensor that counts as an image


class Task(StrEnum):
    """Kind of a model's outputs, which decides which metrics it has."""

    CLASSES = "classes"
    """A row of scores for each sample, or the number of a class."""
    IMAGES = "images"
    """Pictures with 1 or 3 channels."""
    OTHER = "other"
    """Any other numbers."""


def task_of(outputs: Outputs, *, has_labels: bool, targets: Outputs, preprocessing: Preprocessing) -> tuple[Task, str]:
    """Return the task of a model, and the name of the output by which it is evaluated.

    Parameters
    ----------
    outputs
        Outputs of one run in float32.
    has_labels
        Whether the true classes are known.
    targets
        True outputs, as far as they are known.
    preprocessing
        Scale between pixels and numbers.

    Returns
    -------
    Task, str
        The first output that has a target and is an image; else the first that is scores; else, where there are labels
        or no output holds real numbers, the first that names a class of each sample; else the first that is an image;
        else the first that holds real numbers.

    Raises
    ------
    UnsupportedError
        If the model has no outputs.
    """
    if not outputs:
        raise UnsupportedError("the model has no outputs: there is nothing to measure")
    images = [name for name, array in outputs.items() if _is_image(array, preprocessing)]
    scores = [name for name, array in outputs.items() if is_scores(array)]
    with_target = [name for name in images if name in targets]
    if with_target and not (has_labels and scores):
        return Task.IMAGES, with_target[0]
    if scores:
        return Task.CLASSES, scores[0]
    real = [name for name, array in outputs.items() if array.dtype.kind == "f"]
    numbers = [name for name, array in outputs.items() if _is_class_numbers(array)]
    if numbers and (has_labels or not real):
        return Task.CLASSES, numbers[0]
    if images:
        return Task.IMAGES, images[0]
    return Task.OTHER, next(iter(real or outputs))


def is_scores(output: NDArray[Any]) -> bool:
    """Whether there is one row of scores for each item."""
    return output.ndim == 2 and output.shape[1] > 1 and len(output) > 0 and output.dtype.kind == "f"


def classes_of(output: NDArray[Any]) -> NDArray[Any]:
    """Return the class of each sample: the highest score, of equal ones the first; or the number itself."""
    return output.argmax(axis=1) if is_scores(output) else output.ravel()


def check_labels(task: Task, output: str, outputs: Outputs, labels: NDArray[np.int64] | None) -> None:
    """Raise FeedError where a label is not among the classes for which the evaluated output has scores."""
    if task is Task.CLASSES and labels is not None and is_scores(outputs[output]):
        classes, least, most = outputs[output].shape[1], int(labels.min()), int(labels.max())
        if least < 0 or most >= classes:
            raise FeedError(
                f"labels reach from {least} to {most}, and the {classes} classes of output '{output}' are counted from "
                f"0 to {classes - 1}; where they are features and no scores, leave the labels out"
            )


def _is_class_numbers(array: NDArray[Any]) -> bool:
    """Whether there is one whole number for each sample, as ArgMax returns."""
    return array.dtype.kind in "iu" and array.ndim in (1, 2) and array.size == len(array) > 0


def _is_image(array: NDArray[Any], preprocessing: Preprocessing) -> bool:
    if array.ndim != 4 or array.dtype.kind != "f" or not len(array):
        return False
    # Without a layout, the last axis is more likely that of coordinates than of channels.
    axis = channel_axis(array.shape, preprocessing.layout or LAYOUTS[0])
    sides = array.shape[1:3] if axis == -1 else array.shape[2:]
    channels = array.shape[axis]
    return channels in CHANNELS and min(sides) >= _MIN_IMAGE_SIDE and preprocessing.fits(channels)
