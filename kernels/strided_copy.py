"""Specifications of the kernels that copy elements between strided places, and the kernel that picks slices by index.

A copy goes over some *outer* axes and two inner ones, `mid` and `inner`. The outer axes are a table of int64: the
length, the distance in x and the distance in y of each, the last axis first. All distances are in bytes.
"""

from dataclasses import dataclass

STRIP = 16
"""Places of `mid` in a strip of `CopyTransposed`."""


@dataclass(frozen=True)
class CopyRuns:
    """Copy of runs of `inner` contiguous bytes, one for each place of the outer axes and of `mid`.

    The runs first .. end - 1 of all are copied, `mid` after `mid`.
    """

    emitter = "copy_runs"
    arguments = ("x", "y", "axes", "outer", "first", "end", "mid", "x_mid", "y_mid", "inner")


@dataclass(frozen=True)
class CopyTransposed:
    """Transposition of matrices: x is contiguous along `mid`, y along `inner`.

    Each matrix is cut into strips of `STRIP` places of `mid`; strips first .. end - 1 of all matrices are copied.

    Attributes
    ----------
    itemsize : number of bytes of an element: 1, 2, 4 or 8.
    """

    itemsize: int

    emitter = "copy_transposed"
    arguments = ("x", "y", "axes", "outer", "first", "end", "mid", "y_mid", "inner", "x_inner")


@dataclass(frozen=True)
class CopyElements:
    """Copy of single elements: y is contiguous along `inner`, where x has any distance, 0 too.

    Attributes
    ----------
    itemsize : number of bytes of an element: 1, 2, 4 or 8.
    repeats : whether x has the distance 0 along `inner`.
    """

    itemsize: int
    repeats: bool

    emitter = "copy_elements"
    arguments = ("x", "y", "axes", "outer", "first", "end", "mid", "x_mid", "y_mid", "inner", "x_inner")


@dataclass(frozen=True)
class Gather:
    """Copy of the runs of `run` bytes that indices name, one after the other.

    x is `batches` times `length` runs. For each batch, runs `first` .. `end` - 1 of all batches x `count` are copied;
    `fault` becomes 1 where an index is outside of -length .. length - 1.

    Attributes
    ----------
    index : type of an index: "i32" or "i64".
    """

    index: str

    emitter = "gather"
    arguments = ("x", "y", "indices", "first", "end", "length", "count", "run", "fault")


@dataclass(frozen=True)
class ReverseRuns:
    """Copy of runs of `run` bytes, the first of each sequence in reverse order, as many as its length (int64) says.

    Sequences first .. end - 1 are copied; `fault` becomes 1 where a length is outside of 0 .. time. From a sequence to
    the next are `batch_run` bytes, from a time to the next `time_run`.
    """

    emitter = "reverse_runs"
    arguments = ("x", "y", "lengths", "first", "end", "time", "run", "batch_run", "time_run", "fault")
