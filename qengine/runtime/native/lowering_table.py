"""The table of lowerings: which function gives a step its native kernels.

A *lowering* is a function that returns the ops of a step. It is with its ops in a module of `lowerings`, and
declares the steps that it is for with the decorator `lowers`:

    @lowers(Move, function=WindowMax)
    def lower_max_pool(context: LoweringContext[Move]) -> Lowered: ...

The key is the type of the step and, for steps that hold a function, the type of that function. Importing the package
`lowerings` imports all of its modules, so a new lowering is one new file. Every lowering has the same signature. It
raises `NotLowered`, with the reason, for a step that its kernels do not compute exactly: the reference computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from qengine.kernels.isa import Isa
from qengine.kernels.program import Slot
from qengine.model.steps import Arithmetic, Step, Tensor
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
    arithmetic : rounding, overflow and accumulator of the run.
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
    buffers: Callable[[str], list[TensorBuffer]]
    nan_counter: Callable[[], Slot]
    counts: bool = False


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
