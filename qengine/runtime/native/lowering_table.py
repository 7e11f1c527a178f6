"""The table of lowerings: which function gives a step its native kernels.

A *lowering* is a function that returns the ops of a step. It is with its ops in a module of `lowerings`, and
declares the steps that it is for with the decorator `lowers`:

    @lowers(Move, function=WindowMax)
    def lower_max_pool(context: LoweringContext[Move]) -> Lowered: ...

The key is the type of the step and, for steps that hold a function, the type of that function. Importing the package
`lowerings` imports all of its modules, so a new lowering is one new file. Every lowering has the same signature. It
raises `NotLowered`, with the reason, for a step that its kernels do not compute exactly: the reference computes it.

There are two such tables. Lowerings of `lowers` work on blocks of channels (`qengine.kernels.layout`), which is what
convolutions read. Lowerings of `lowers_plain` work on *plain* buffers: elements of any type one after the other, with
any number of axes. A step may have both; `plan_lowering` says which is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from qengine.kernels.isa import Isa
from qengine.kernels.program import Slot
from qengine.model.rules import Arithmetic
from qengine.model.steps import Evaluated, Step, Tensor
from qengine.runtime.native.op import Op
from qengine.runtime.native.tensor_buffer import TensorBuffer

S = TypeVar("S", bound=Step)


class NotLowered(Exception):  # noqa: N818 - not an error: the reference computes the step
    """Native kernels do not compute a step; the message is the reason."""


class RequestBuffer(Protocol):
    """Function that returns the buffer of an input, and packs or repacks the tensor where no such buffer exists."""

    def __call__(
        self,
        tensor: Tensor,
        *,
        block: int | None = None,
        stored: str | None = None,
        shape: tuple[int, int, int, int] | None = None,
    ) -> TensorBuffer:
        """Return a buffer with the requested block, storage type and shape; None keeps each unchanged.

        Raises
        ------
        NotLowered
            If the tensor is constant or of a type that native kernels do not read.
        """


@dataclass(frozen=True)
class LoweringContext(Generic[S]):
    """Everything that a lowering reads.

    Attributes
    ----------
    step : step that is lowered.
    function : function of the step whose type chose the lowering; None where the type of the step alone did.
    out : tensor that the step computes, with its format.
    arithmetic : rules of the step.
    isa : instruction set that kernels are compiled for.
    request_buffer : function that returns the buffer of an input.
    buffers : buffers that already hold a tensor, by the tensor's name.
    nan_counter : function that returns the address of a counter: if it is not 0 after the run, the step found NaN that
        has no code.
    counts : whether kernels that round store flags with the codes.
    """

    step: S
    function: Any
    out: Tensor
    arithmetic: Arithmetic
    isa: Isa
    request_buffer: RequestBuffer
    buffers: Callable[[str], tuple[TensorBuffer, ...]]
    nan_counter: Callable[[], Slot]
    counts: bool = False


@dataclass(frozen=True)
class PlainContext(Generic[S]):
    """Everything that a lowering to ops on plain buffers reads.

    Attributes
    ----------
    step : step that is lowered.
    function : function of the step whose type chose the lowering; the operator's name for an `Evaluated` step.
    outputs : tensors that the step computes: one, or all outputs of the node of an `Evaluated` step.
    arithmetic : rules of the step.
    isa : instruction set that kernels are compiled for.
    request : function that returns the plain buffer of an input, a constant's too; it raises NotLowered where kernels
        do not know the type.
    lies_plain : whether the inputs lie in plain order and not in blocks of channels.
    fault : function that takes a message and returns the address of an int64 to which a kernel writes another number
        than 0 where the model's elements are not allowed, such as an index out of range. The run then raises a
        ModelError with that message, so the kernel must go on without touching memory that is not its own. `{}` in
        the message becomes the number.
    """

    step: S
    function: Any
    outputs: tuple[Tensor, ...]
    arithmetic: Arithmetic
    isa: Isa
    request: Callable[[Tensor], TensorBuffer]
    fault: Callable[[str], Slot]
    lies_plain: bool = False

    @property
    def out(self) -> Tensor:
        """The tensor that the step computes, or the first of them."""
        return self.outputs[0]

    @property
    def is_float(self) -> bool:
        """Whether nothing that the step reads or computes is codes."""
        return all(t.format is None for t in (*self.step.operands, *self.outputs))


@dataclass(frozen=True)
class Lowered:
    """Ops of a step, and the buffers that hold its output after them."""

    ops: tuple[Op, ...]
    outputs: tuple[TensorBuffer, ...]

    @classmethod
    def by(cls, *ops: Op) -> Lowered:
        """Return the result of a lowering whose last op writes the output."""
        return cls(ops, (ops[-1].out,))


Lowering = Callable[[LoweringContext[Any]], Lowered]
PlainLowering = Callable[[PlainContext[Any]], Lowered]


@dataclass(frozen=True)
class PlainEntry:
    """A lowering to plain buffers.

    Attributes
    ----------
    lowering : the function.
    is_first : whether it is tried before a lowering to blocks of channels also where the inputs lie in blocks.
    """

    lowering: PlainLowering
    is_first: bool


_PLAIN: dict[tuple[type[Step], type | str | None], PlainEntry] = {}
_LOWERINGS: dict[tuple[type[Step], type | None], Lowering] = {}
_FUNCTION_FIELDS: dict[type[Step], str] = {}


def lowers(
    step: type[S], **function: type
) -> Callable[[Callable[[LoweringContext[S]], Lowered]], Callable[[LoweringContext[S]], Lowered]]:
    """Return a decorator that enters a lowering into the table.

    Parameters
    ----------
    step
        Type of the steps that the function lowers.
    function
        Name of the field of the step that holds its function, and the type of the function: `function=WindowMax`.
        Left out where the lowering is for every step of the type.
    """

    def enter(lowering: Callable[[LoweringContext[S]], Lowered]) -> Callable[[LoweringContext[S]], Lowered]:
        (name, function_type), *_ = [*function.items(), (None, None)]
        if name is not None:
            assert _FUNCTION_FIELDS.setdefault(step, name) == name
        assert (step, function_type) not in _LOWERINGS, (step, function_type)
        _LOWERINGS[step, function_type] = lowering
        return lowering

    return enter


def lowers_plain(
    step: type[S], function: type | str | None = None, *, first: bool = False
) -> Callable[[Callable[[PlainContext[S]], Lowered]], Callable[[PlainContext[S]], Lowered]]:
    """Return a decorator that enters a lowering to plain buffers into the table.

    Parameters
    ----------
    step
        Type of the steps that the function lowers.
    function
        Type of the step's function; the name of the operator for an `Evaluated` step; None for every step of the type
        that has no lowering for its function.
    first
        See `PlainEntry`.
    """

    def enter(lowering: Callable[[PlainContext[S]], Lowered]) -> Callable[[PlainContext[S]], Lowered]:
        assert (step, function) not in _PLAIN, (step, function)
        _PLAIN[step, function] = PlainEntry(lowering, first)
        return lowering

    return enter


def plain_function_of(step: Step) -> Any:
    """Return what chooses the plain lowering of a step: its function, or the name of the operator."""
    if isinstance(step, Evaluated):
        return step.evaluation.node.operator
    fields = ("function", "product", "operation", "total")
    return next((value for value in (getattr(step, field, None) for field in fields) if value is not None), None)


def plain_lowering_of(step: Step) -> PlainEntry | None:
    """Return the lowering of a step to plain buffers; None where the table has none."""
    function = plain_function_of(step)
    key = function if isinstance(function, str) else type(function)
    return _PLAIN.get((type(step), key)) or _PLAIN.get((type(step), None))


def function_of(step: Step) -> Any:
    """Return the function of a step whose type chooses the lowering; None where the type of the step alone does."""
    field = _FUNCTION_FIELDS.get(type(step))
    return None if field is None else getattr(step, field)


def lowering_of(step: Step) -> Lowering:
    """Return the lowering of a step.

    Raises
    ------
    NotLowered
        If the table has none.
    """
    function = function_of(step)
    lowering = _LOWERINGS.get((type(step), None if function is None else type(function)))
    if lowering is None:
        raise NotLowered(f"{step.kind}, which has no native kernel")
    return lowering
