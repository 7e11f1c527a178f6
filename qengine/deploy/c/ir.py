"""The network as C will compute it: tensors with a place in memory, and operations that are calls of kernels.

A plan says what every step computes. Here each step has become an `Operation`: calls of C functions (`kernel_text`)
with literal numbers, constant arrays, and memory that the arena planner places. The files are written from this form
alone, and decide nothing about C a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Node
from qengine.qformat import Format

Array = NDArray[Any]
Place = Literal["input", "output", "arena"]
Parameters = Mapping[str, "int | bool | Parameters"]
"""Numbers of a call by the name of the field in the kernel's struct; a mapping for a struct inside of it."""


@dataclass(frozen=True)
class CType:
    """An element type of C.

    Attributes
    ----------
    name : name in C.
    short : name in the names of functions.
    """

    name: str
    short: str

    @classmethod
    def of(cls, dtype: np.dtype[Any] | str) -> CType:
        """Return the type of the elements of arrays: integers of 8 to 64 bits, and truth values as uint8_t."""
        kind = np.dtype(dtype)
        if kind.kind == "b":
            return cls("uint8_t", "u8")
        assert kind.kind in "iu", kind
        bits, sign = 8 * kind.itemsize, "" if kind.kind == "i" else "u"
        return cls(f"{sign}int{bits}_t", f"{sign or 'i'}{bits}")


@dataclass(frozen=True, eq=False)
class CTensor:
    """A computed tensor in memory.

    Attributes
    ----------
    name : name in the model.
    c_name : identifier in C.
    dtype : element type.
    shape : lengths of the axes, in ONNX's order.
    order : axes in memory, the outermost first; (0, 1, 2, ...) is ONNX's order, (0, 2, 3, 1) channels last.
    format : format of the codes; None for integers and truth values.
    place : memory of the caller (an input or an output of the network), or the arena.
    ends : the least and the most code that it can hold, as far as that is known.
    """

    name: str
    c_name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: tuple[int, ...]
    format: Format | None
    place: Place
    ends: tuple[int, int]

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """The number of bytes."""
        return self.size * self.dtype.itemsize

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """Elements from one place along each axis, in ONNX's order, to the next."""
        found = [0] * len(self.shape)
        step = 1
        for axis in reversed(self.order):
            found[axis] = step
            step *= self.shape[axis]
        return tuple(found)

    def placed(self, array: Array) -> Array:
        """Return elements in ONNX's order as one axis in the order of memory."""
        return np.ascontiguousarray(array.transpose(self.order)).reshape(-1)

    def unplaced(self, flat: Array) -> Array:
        """Return elements in the order of memory in ONNX's order and shape."""
        moved = flat.reshape([self.shape[axis] for axis in self.order])
        return np.ascontiguousarray(moved.transpose(np.argsort(self.order)) if self.order else moved)


@dataclass(frozen=True, eq=False)
class Constant:
    """An array of constants.

    Attributes
    ----------
    c_name : identifier in C, without the prefix of the network.
    array : the elements in the order of memory, one axis.
    comment : words for it, such as its name in the model, its format and its order.
    is_visible : whether the compiler sees the elements where it compiles kernels (short arrays: shifts, small tables),
        or links them from the file of weights.
    """

    c_name: str
    array: Array
    comment: str
    is_visible: bool = False


@dataclass(frozen=True)
class Scratch:
    """Memory of an operation while it runs, at an offset of its scratch.

    Attributes
    ----------
    dtype : element type.
    size : number of elements.
    offset : bytes before it in the scratch of the operation, a multiple of its element size.
    """

    dtype: np.dtype[Any]
    size: int
    offset: int = 0

    @property
    def end(self) -> int:
        """The bytes of the scratch of the operation up to its end."""
        return self.offset + self.size * self.dtype.itemsize


Argument = CTensor | Constant | Scratch | None
"""A pointer that a kernel gets; None is a null pointer."""


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a kernel.

    Attributes
    ----------
    kernel : name of the kernel; see `kernel_text`.
    types : element type for each type parameter of the kernel, by name.
    arguments : pointers, in the order of the C function, after the pointer to the numbers.
    numbers : the fields of `struct net_KERNEL` by name; empty for a kernel without one.
    offsets : elements after the start of each argument that the pointer points to; empty for 0.
    """

    kernel: str
    types: Mapping[str, np.dtype[Any]]
    arguments: tuple[Argument, ...]
    numbers: Parameters = field(default_factory=dict)
    offsets: tuple[int, ...] = ()


@dataclass(frozen=True)
class View:
    """Memory of another tensor that a tensor is a part of: it needs no code.

    Attributes
    ----------
    tensor : the other tensor.
    offset : elements before it in that tensor.
    """

    tensor: CTensor
    offset: int = 0


@dataclass(frozen=True)
class Part:
    """An input that an operation copies unchanged into its output.

    Its producer can write it there itself; then the call that copies it is left out.

    Attributes
    ----------
    tensor : the input, in the order of memory one run of elements of the output.
    offset : elements of the output before it.
    call : the call that copies it and does nothing else; no other call of the operation writes there.
    """

    tensor: CTensor
    offset: int
    call: Call


@dataclass(frozen=True, eq=False)
class Operation:
    """A step as C.

    Attributes
    ----------
    node : node of the model.
    kind : kind of the step.
    outputs : tensors that it computes.
    reads : computed tensors that it reads.
    calls : calls that compute the outputs, in order.
    view : memory that the one output is a part of; then there are no calls.
    overlap : the largest (address of the output - address of the input), in bytes, for each of `reads`, with which the
        output may be written onto the input while it is read from its start to its end; None where they must not share
        a byte. An operation that reads element i for the last time when it writes element i of as many bytes has 0.
    parts : inputs that are copied unchanged into the one output, such as those of a Concat.
    macs : number of products that it sums.
    comments : lines for the source, such as the bound of a sum.
    """

    node: Node
    kind: str
    outputs: tuple[CTensor, ...]
    reads: tuple[CTensor, ...]
    calls: tuple[Call, ...]
    view: View | None = None
    overlap: tuple[int | None, ...] = ()
    parts: tuple[Part, ...] = ()
    macs: int = 0
    comments: tuple[str, ...] = ()

    @property
    def output(self) -> CTensor:
        """The first output."""
        return self.outputs[0]

    @cached_property
    def scratch(self) -> int:
        """The bytes of memory that it needs while it runs."""
        used = [a.end for call in self.calls for a in call.arguments if isinstance(a, Scratch)]
        return max(used, default=0)

    @cached_property
    def constants(self) -> tuple[Constant, ...]:
        """The constant arrays that its calls read."""
        found = {id(a): a for call in self.calls for a in call.arguments if isinstance(a, Constant)}
        return tuple(found.values())


@dataclass(frozen=True, eq=False)
class CNetwork:
    """A network as C.

    Attributes
    ----------
    inputs, outputs : tensors of the caller, in the order of the graph.
    operations : operations in the order in which they run.
    notes : lines for the user, such as on operators that were left out.
    """

    inputs: tuple[CTensor, ...]
    outputs: tuple[CTensor, ...]
    operations: tuple[Operation, ...]
    notes: tuple[str, ...] = ()

    @property
    def tensors(self) -> tuple[CTensor, ...]:
        """All tensors: the inputs, then the results of operations."""
        return (*self.inputs, *(t for o in self.operations for t in o.outputs))
