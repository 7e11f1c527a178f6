"""Plan: a graph bound to kernels for inputs of known shapes; and its run on the reference kernels.

When a plan is made, everything that does not depend on the elements of the inputs is settled: the shape and format of
every tensor, the kernel of every step, the codes of every constant, and the step after which each tensor is no longer
needed. What remains is a list of `BoundStep`, and a run is one loop over it: look up the operands by name, call the
kernel, store the output under its name, drop the tensors of `release`. The loop is the same for float32 and for fixed
point, as the kernels differ and not the loop. Native executors (`native`) take the same plan and compile it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.errors import FeedError
from qengine.kernels.reference.requantize import Tally, dequantize, new_tally, quantize
from qengine.model.formats.assign import FormatTable
from qengine.model.graph import Node
from qengine.model.rules import Arithmetic, Rules
from qengine.model.steps import Kernel, Step, Tensor
from qengine.qformat import fraction_bits_of

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class FixedPointSettings:
    """Fixed-point arithmetic of a plan.

    Attributes
    ----------
    formats : format of every tensor.
    rules : rules of the run.
    strict : whether a float32 island is an error.
    """

    formats: FormatTable
    rules: Rules
    strict: bool = False


@dataclass(frozen=True)
class BoundStep:
    """A step that is ready to run.

    Attributes
    ----------
    node : node of the graph that the step belongs to.
    step : kind of the step and its operands.
    output : tensor that the step computes.
    kernel : reference kernel, called with the operands.
    release : names of the tensors that no later step reads.
    is_real : whether the step computes real numbers from real numbers, in a model that is quantized in part.
    arithmetic : rules of the step; None in float32.
    """

    node: Node
    step: Step
    output: Tensor
    kernel: Kernel
    release: tuple[str, ...] = ()
    is_real: bool = False
    arithmetic: Arithmetic | None = None

    @cached_property
    def sources(self) -> tuple[str | NDArray[Any], ...]:
        """The name of the tensor, or the array itself where it is constant, for each operand."""
        return tuple(t.name if t.value is None else t.elements for t in self.step.operands)

    @property
    def reads(self) -> list[str]:
        """The names of the operands that a run computes."""
        return [t.name for t in self.step.operands if t.value is None]

    def with_operands(self, change: Callable[[Tensor], Tensor], output: Tensor | None = None) -> "BoundStep":
        """Return the step on other operands, see `Step.with_operands`; nothing is released after it."""
        return replace(self, step=self.step.with_operands(change), output=output or self.output, release=())

    @property
    def is_island(self) -> bool:
        """Whether the step computes in float32 in the middle of fixed point."""
        in_fixed = self.output.format is not None or any(t.format is not None for t in self.step.operands)
        return self.is_real or (self.step.kind == "island" and in_fixed)


@dataclass(frozen=True)
class Plan:
    """A graph bound to kernels, for inputs of known shapes.

    Attributes
    ----------
    inputs : inputs of the run; an input whose elements the plan knows is not among them.
    steps : steps in the order in which they run.
    outputs : outputs of the run by name; the tensor of an output that the plan knows has its value.
    constants : constants that are quantized.
    fixed : fixed-point arithmetic; None in float32.
    encoded : names of the inputs that are fed as codes.
    bytes : largest number of bytes that the tensors of a run on the reference take at the same time.
    heaviest : the node at which they take that many, as text.
    """

    inputs: tuple[Tensor, ...]
    steps: tuple[BoundStep, ...]
    outputs: Mapping[str, Tensor]
    constants: tuple[Tensor, ...]
    fixed: FixedPointSettings | None
    encoded: frozenset[str] = frozenset()
    bytes: int = 0
    heaviest: str = "a run"

    def trace(self, feeds: Arrays, tallies: dict[str, Tally] | None = None) -> Iterator[tuple[Tensor, NDArray[Any]]]:
        """Run on the reference kernels, and yield every tensor as it is computed, the inputs included.

        Parameters
        ----------
        feeds
            An array for every input of the plan.
        tallies
            Counts by tensor name, which every tensor in fixed point is added to; None to count nothing.

        Yields
        ------
        tensor, array
            The tensor and its elements: codes in fixed point.
        """
        memory.require(self.bytes, self.heaviest)
        env: dict[str, NDArray[Any]] = {}
        for tensor in self.inputs:
            fed = feeds[tensor.name]
            env[tensor.name] = fed if tensor.name in self.encoded else quantize_input(tensor, fed, self.fixed, tallies)
            yield tensor, env[tensor.name]
        for bound_step in self.steps:
            name = bound_step.output.name
            tally = None
            if tallies is not None and bound_step.output.format is not None:
                tally = tallies.setdefault(name, new_tally())
            with bound_step.node.errors_named():
                env[name] = bound_step.kernel(
                    *[env[s] if isinstance(s, str) else s for s in bound_step.sources], tally=tally
                )
            yield bound_step.output, env[name]
            for released in bound_step.release:
                del env[released]

    def run(self, feeds: Arrays, raw: bool = False, tallies: dict[str, Tally] | None = None) -> dict[str, NDArray[Any]]:
        """Run on the reference kernels, and return the outputs by name.

        Parameters
        ----------
        feeds
            An array for every input of the plan.
        raw
            Whether to return codes for the tensors in fixed point, instead of real numbers.
        tallies
            See `trace`.
        """
        results = {name: decode_output(t, t.elements, raw) for name, t in self.outputs.items() if t.value is not None}
        for tensor, array in self.trace(feeds, tallies):
            if tensor.name in self.outputs:
                results[tensor.name] = decode_output(tensor, array, raw)
        # Copies, as an output may be a view of a feed.
        return {name: np.array(results[name], order="C") for name in self.outputs}


def decode_output(tensor: Tensor, array: NDArray[Any], raw: bool) -> NDArray[Any]:
    """Return codes as real numbers of the tensor's dtype, or unchanged where `raw` is set.

    A tensor without a format is returned unchanged.
    """
    if raw or tensor.format is None:
        return array
    return dequantize(array, fraction_bits_of(tensor.format, tensor.ndim)).astype(tensor.dtype, copy=False)


def refuse_nan(tensor: Tensor, array: NDArray[Any]) -> None:
    """Raise FeedError if an input in fixed point holds NaN."""
    if np.isnan(array).any():
        raise FeedError(f"input '{tensor.name}' holds NaN: fixed point has no code for it")


def quantize_input(
    tensor: Tensor, array: NDArray[Any], fixed: FixedPointSettings | None, tallies: dict[str, Tally] | None
) -> NDArray[Any]:
    """Return an input as the steps of a plan read it: codes where it is in fixed point, and unchanged otherwise."""
    if fixed is None or tensor.format is None:
        return array
    refuse_nan(tensor, array)
    tally = None if tallies is None else tallies.setdefault(tensor.name, new_tally())
    return quantize(
        array, tensor.fraction_bits, fixed.rules.of("inputs", tensor.name).word(tensor.one_format), tally=tally
    )
