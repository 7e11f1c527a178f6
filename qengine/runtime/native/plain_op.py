"""Op on plain buffers: one kernel whose work is cut into parts, such as rows, that threads share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass
from typing import Any

from qengine.kernels.program import Call
from qengine.runtime.native.op import Op, Rows
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, View


@dataclass(frozen=True)
class Part:
    """Share of an op that one call of its kernel computes.

    Attributes
    ----------
    inputs, outputs : address of the first element of every input and output.
    first, end : parts of the work that the call computes, from the first to before the second.
    scratch : address of memory of the thread's own.
    """

    inputs: tuple[Address, ...]
    outputs: tuple[Address, ...]
    first: int
    end: int
    scratch: int

    @property
    def count(self) -> int:
        """The number of parts."""
        return self.end - self.first


class _Parted(Op):
    """Op whose fields say how its work is cut into parts."""

    parts: int
    work: float
    scratch: int

    @property
    def part_count(self) -> int:
        """The number of parts."""
        return self.parts

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        return self.work

    @property
    def scratch_bytes(self) -> int:
        """The bytes of memory that each thread needs while it computes."""
        return self.scratch


@dataclass(eq=False)
class PlainCalls(_Parted):
    """Several calls of kernels on plain buffers that threads share; see `PlainOp` for one kernel.

    Attributes
    ----------
    label : name of the kernels, for display.
    make : function that returns the calls of some parts.
    parts, work, others, scratch : see `PlainOp`.
    """

    label: InitVar[str]
    make: Callable[[Part], list[Call]]
    parts: int = 1
    work: float = 0.0
    others: InitVar[tuple[TensorBuffer, ...]] = ()
    scratch: int = 0

    def __post_init__(self, label: str, others: tuple[TensorBuffer, ...]) -> None:
        self.other_outputs, self.kernel = others, label

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute some parts."""
        return self.make(_part(len(self.inputs), views, out, rows))


@dataclass(eq=False)
class PlainOp(_Parted):
    """A kernel on plain buffers.

    A kernel must not read or write beyond the elements of a tensor: inputs may be arrays of the user's.

    Attributes
    ----------
    spec : specification of the kernel.
    arguments : function that returns the arguments of a call by name.
    parts : number of parts of the work that can be computed in any order; 1 where it cannot be cut.
    work : estimate of the processor cycles of all parts.
    others : buffers that are written besides `out`: more outputs, or results that only the next op reads.
    scratch : bytes of memory that each thread needs.
    label : name of the kernel, for display; None for the name of its emitter.
    """

    spec: Any
    arguments: Callable[[Part], Mapping[str, Address]]
    parts: int = 1
    work: float = 0.0
    others: InitVar[tuple[TensorBuffer, ...]] = ()
    scratch: int = 0
    label: InitVar[str | None] = None

    def __post_init__(self, others: tuple[TensorBuffer, ...], label: str | None) -> None:
        self.other_outputs = others
        self.kernel = label or self.spec.emitter

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the call that computes some parts."""
        return [Call(self.spec, self.arguments(_part(len(self.inputs), views, out, rows)))]


def _part(inputs: int, views: Sequence[View], out: View, rows: Rows) -> Part:
    addresses = [view.origin for view in views]
    outputs = (out.origin, *addresses[inputs:])
    return Part(tuple(addresses[:inputs]), outputs, rows.first, rows.end, rows.scratch)
