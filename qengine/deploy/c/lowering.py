"""The lowerings: for each kind of step the function that returns its operation in C.

A lowering is entered by the decorator `lowers` with the class of its step, and optionally a test that it applies to.
The first that applies, in the order of `first`, is taken. It gets a `Context` and returns an `Operation`, or raises
`NotExportable` with the reason why C does not compute this step; a user sees all reasons together, and no file is
written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.epilogue import epilogue, room
from qengine.deploy.c.ir import Call, Constant, CTensor, Operation, Parameters, Part, View
from qengine.errors import QEngineError
from qengine.model.rules import Arithmetic
from qengine.model.steps import Step, Tensor
from qengine.runtime.plan.plan import BoundStep

Array = NDArray[Any]


class NotExportable(QEngineError):  # noqa: N818
    """A step that C does not compute; the message says why and what to do."""


@dataclass
class Context:
    """The step of a lowering, with its tensors and rules.

    Attributes
    ----------
    bound_step : the step; of a node with several outputs that are computed together, the first one.
    group : all steps that are computed together: one, or those of one evaluation.
    tensors : computed tensors by their name in the model: those that the step reads, and those that it computes.
    """

    bound_step: BoundStep
    group: tuple[BoundStep, ...]
    tensors: dict[str, CTensor]

    @property
    def step(self) -> Any:
        """The step."""
        return self.bound_step.step

    @property
    def arithmetic(self) -> Arithmetic:
        """The rules of the step."""
        assert self.bound_step.arithmetic is not None
        return self.bound_step.arithmetic

    @property
    def out(self) -> Tensor:
        """The output in the plan."""
        return self.bound_step.output

    @property
    def y(self) -> CTensor:
        """The (first) output."""
        return self.tensors[self.bound_step.output.name]

    def operand(self, tensor: Tensor) -> CTensor | None:
        """Return a computed operand; None for one that is known."""
        return self.tensors[tensor.name] if tensor.value is None else None

    def constant(self, role: str, array: Array, comment: str = "", is_visible: bool = False) -> Constant:
        """Return a constant array of the step.

        Parameters
        ----------
        role
            Name within the step, such as "weights".
        array
            The elements in the order in which the kernel reads them; flattened.
        comment
            Words for them, such as their order.
        is_visible
            See `Constant`.
        """
        return Constant(f"{self.y.c_name}_{role}", np.ascontiguousarray(array).reshape(-1), comment, is_visible)

    def epilogue(self, shift: int, low: int | None = None, high: int | None = None) -> Parameters:
        """Return the numbers of a requantization to the output by the rules of the step."""
        return epilogue(self.arithmetic.word(self.out.one_format), shift, low, high)

    def operation(
        self,
        *calls: Call,
        overlap: tuple[int | None, ...] | None = None,
        parts: tuple[Part, ...] = (),
        macs: int = 0,
        comments: tuple[str, ...] = (),
    ) -> Operation:
        """Return the operation of some calls; by default no output may share memory with an input."""
        reads = self.reads
        return Operation(
            self.bound_step.node,
            self.step.kind,
            self.outputs,
            reads,
            calls,
            overlap=overlap if overlap is not None else (None,) * len(reads),
            parts=parts,
            macs=macs,
            comments=comments,
        )

    def view(self, tensor: CTensor, offset: int = 0) -> Operation:
        """Return the operation that is only another name for a part of a tensor."""
        reads = self.reads
        return Operation(
            self.bound_step.node,
            self.step.kind,
            self.outputs,
            reads,
            (),
            view=View(tensor, offset),
            overlap=(None,) * len(reads),
        )

    @property
    def reads(self) -> tuple[CTensor, ...]:
        """The computed tensors that the step reads, each once, in the order of the operands."""
        return tuple(self.tensors[name] for name in dict.fromkeys(self.bound_step.reads))

    @property
    def outputs(self) -> tuple[CTensor, ...]:
        """The tensors that the steps compute."""
        return tuple(self.tensors[one.output.name] for one in self.group)


def accumulator(bound: int, shift: int = 0) -> np.dtype[Any]:
    """Return the type that holds a sum up to a bound while it is rounded.

    Raises
    ------
    NotExportable
        If 64 bits do not.
    """
    most = room(bound, shift)
    if most < 1 << 31:
        return np.dtype(np.int32)
    if most < 1 << 63:
        return np.dtype(np.int64)
    raise NotExportable(
        f"its sums need {most.bit_length() + 1} bits and C has 64: give its tensors closer numbers of fraction bits"
    )


Lower = Callable[[Context], Operation]


@dataclass(frozen=True)
class Lowering:
    """A lowering.

    Attributes
    ----------
    step : class of the steps.
    applies : test of a context.
    first : place among those of a class, the smallest first.
    lower : the function.
    """

    step: type[Step]
    applies: Callable[[Context], bool]
    first: int
    lower: Lower


_LOWERINGS: list[Lowering] = []


def lowers(
    step: type[Step], applies: Callable[[Context], bool] = lambda _: True, first: int = 100
) -> Callable[[Lower], Lower]:
    """Enter the decorated function as the lowering of a class of steps."""

    def enter(lower: Lower) -> Lower:
        _LOWERINGS.append(Lowering(step, applies, first, lower))
        return lower

    return enter


def lower(context: Context) -> Operation:
    """Return the operation of a step by the first lowering that applies.

    Raises
    ------
    NotExportable
        If none does.
    """
    _import_all()
    found = sorted((one for one in _LOWERINGS if isinstance(context.step, one.step)), key=lambda one: one.first)
    for one in found:
        if one.applies(context):
            return one.lower(context)
    raise NotExportable("C has no kernel for it")


@cache
def _import_all() -> None:
    package = import_module("qengine.deploy.c.lowerings")
    for module in walk_packages(package.__path__, f"{package.__name__}."):
        import_module(module.name)
