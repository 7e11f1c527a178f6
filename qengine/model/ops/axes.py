"""Axes and other integers in inputs and attributes: read and checked in the same way by all operators."""

from typing import Any

import numpy as np

from qengine.errors import ModelError
from qengine.model.graph import Dim, Node
from qengine.model.ops.facts import Constants
from qengine.model.ops.filters import Channels
from qengine.model.steps import Tensor


def whole_numbers(given: Any, what: str) -> tuple[int, ...]:
    """Return the integers of an input or an attribute as a tuple.

    Parameters
    ----------
    given
        Array or tuple.
    what
        Plural noun for the error message.

    Raises
    ------
    ModelError
        If the elements are not integers, or have more than one axis.
    """
    values = np.asarray(given)
    if values.size and values.dtype.kind not in "iu":
        raise ModelError(f"{what} are {values.dtype}, not integers")
    if values.ndim > 1:
        raise ModelError(f"{what} have shape {list(values.shape)}; a list of numbers is needed")
    return tuple(values.ravel().tolist())


def normalized(x: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return axes counted from the front.

    Raises
    ------
    ModelError
        If an axis is out of range or occurs twice.
    """
    front = tuple(a + x.ndim if a < 0 else a for a in axes)
    if any(not 0 <= a < x.ndim for a in front) or len(set(front)) != len(front):
        raise ModelError(f"axes {list(axes)} are out of range for '{x.name}' {list(x.shape)}, or occur twice")
    return front


def channels_beside_axes(
    node: Node, channels: Channels, shape: tuple[Dim, ...] | None, constants: Constants, *, keepdims: bool
) -> Channels | None:
    """Return the place of channels after a node that reduces or removes the axes in its `axes`.

    These must be spatial axes of an image: all of them where they are removed.
    """
    given: Any = node.attributes.get("axes")
    if given is None and len(node.inputs) > 1 and node.inputs[1]:
        given = constants.get(node.inputs[1])
    axes = [] if given is None else [int(a) for a in given]
    ndim = None if shape is None else len(shape)
    are_spatial = all(a >= 2 or (ndim is not None and a < 0 and a + ndim >= 2) for a in axes)
    if channels is not Channels.IMAGE or not axes or not are_spatial:
        return None
    if keepdims:
        return Channels.IMAGE
    return Channels.LAST if ndim is not None and len(axes) == ndim - 2 else None
