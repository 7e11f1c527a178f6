"""Specifications of the kernels that read or write elements at computed indices."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PickElements:
    """The element at each place of indices, with the index along one axis.

    Attributes
    ----------
    element : type of the elements; only its size counts.
    index : type of an index: i32 or i64.
    """

    element: str
    index: str

    emitter = "indexed"
    # Rows first..end of the indices are computed: those of their last axis. facts: number of axes of the indices,
    # length of the axis that is indexed, its stride in the data; then the length of each axis of the indices, and then
    # the stride of each in the data, 0 for the axis that is indexed. fault: where an index out of range is written.
    arguments = ("x", "indices", "y", "first", "end", "facts", "fault")


@dataclass(frozen=True)
class PutElements:
    """Updates at the places of indices, with the index along one axis, in the order of the updates.

    Attributes
    ----------
    element, index : type of an element, and of an index.
    reduction : "none", or what joins an update with what is there: "add", "mul", "max" or "min".
    """

    element: str
    index: str
    reduction: str

    emitter = "indexed"
    arguments = PickElements.arguments  # x: the updates


@dataclass(frozen=True)
class PickSlices:
    """The slice at each tuple of indices; see `PickElements`."""

    element: str
    index: str

    emitter = "indexed"
    # Tuples first..end are computed. facts: indices of a tuple, elements of a slice, tuples and elements of a batch;
    # then the length of each axis that is indexed, and its stride. fault: an int64 for each of these axes.
    arguments = ("x", "indices", "y", "first", "end", "facts", "fault")


@dataclass(frozen=True)
class PutSlices:
    """Updates of the slices at tuples of indices; see `PutElements`."""

    element: str
    index: str
    reduction: str

    emitter = "indexed"
    arguments = PickSlices.arguments  # x: the updates
