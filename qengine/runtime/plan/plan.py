"""Plan: steps bound to kernels, in order, with the lifetimes of tensors; and how it is run on the reference."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FeedError
from qengine.kernels.reference.requantize import Tally, dequantize, new_tally, quantize
from qengine.model.formats.assign import FormatTable
from qengine.model.graph import Node
from qengine.model.steps import Arithmetic, Island, Kernel, Step, Tensor
from qengine.qformat import fraction_bits_of

Arrays = Mapping[str, NDArray[Any]]

MAX_ELEMENTS = 1 << 30
"""The largest tensor that a plan may hold unless it is told otherwise."""


@dataclass(frozen=True)
class Fixed:
    """Fixed-point arithmetic: the formats of all tensors, and how numbers are brought into them."""

    formats: FormatTable
    arithmetic: Arithmetic
    strict: bool = False


@dataclass(frozen=True)
class BoundStep:
    """A step that is ready to run.

    Attributes
    ----------
    node, step : what is computed, and how.
    output : the tensor that comes out.
    kernel : the function that was chosen.
    sources : for each operand the name of a tensor, or the array itself where it is constant.
    release : tensors that nothing reads afterwards.
    is_real : whether it computes real numbers from real numbers in a model that is quantized in part.
    """

    node: Node
    step: Step
    output: Tensor
    kernel: Kernel
    sources: tuple[str | NDArray[Any], ...]
    release: tuple[str, ...] = ()
    is_real: bool = False

    @property
    def is_island(self) -> bool:
        """Whether it leaves fixed point to compute in float32."""
        in_fixed = self.output.format is not None or any(t.format is not None for t in self.step.operands)
        return self.is_real or (isinstance(self.step, Island) and in_fixed)


@dataclass(frozen=True)
class Plan:
    """A graph made ready for inputs of known shapes.

    Attributes
    ----------
    inputs : tensors that are fed and not known beforehand.
    encoded : those of them that are fed as codes already.
    steps : in the order in which they run.
    outputs : tensors that a run answers with, by name; a known one has its value.
    constants : those that are quantized.
    """

    inputs: tuple[Tensor, ...]
    steps: tuple[BoundStep, ...]
    outputs: Mapping[str, Tensor]
    constants: tuple[Tensor, ...]
    fixed: Fixed | None
    encoded: frozenset[str] = frozenset()

    def trace(self, feeds: Arrays, tallies: dict[str, Tally] | None = None) -> Iterator[tuple[Tensor, NDArray[Any]]]:
        """Run, and give every tensor that is computed, the inputs included, as it comes: codes in fixed point.

        Parameters
        ----------
        feeds
            An array for every input of the plan.
        tallies
            Where given, it gets for every tensor in fixed point what its step counted.
        """
        env: dict[str, NDArray[Any]] = {}
        for tensor in self.inputs:
            fed = feeds[tensor.name]
            env[tensor.name] = fed if tensor.name in self.encoded else enter(tensor, fed, self.fixed, tallies)
            yield tensor, env[tensor.name]
        for bound in self.steps:
            name = bound.output.name
            tally = None
            if tallies is not None and bound.output.format is not None:
                tally = tallies.setdefault(name, new_tally())
            with bound.node.errors_named():
                env[name] = bound.kernel(*[env[s] if isinstance(s, str) else s for s in bound.sources], tally=tally)
            yield bound.output, env[name]
            for gone in bound.release:
                del env[gone]

    def run(self, feeds: Arrays, raw: bool = False, tallies: dict[str, Tally] | None = None) -> dict[str, NDArray[Any]]:
        """Return the outputs by name.

        Parameters
        ----------
        feeds
            An array for every input of the plan.
        raw
            Codes for what is in fixed point, instead of real numbers.
        tallies
            As in `trace`.
        """
        found = {name: answer(t, t.elements, raw) for name, t in self.outputs.items() if t.value is not None}
        for tensor, array in self.trace(feeds, tallies):
            if tensor.name in self.outputs:
                found[tensor.name] = answer(tensor, array, raw)
        # What a run answers with is the caller's own, never a view of a feed.
        return {name: np.array(found[name], order="C") for name in self.outputs}


def answer(tensor: Tensor, array: NDArray[Any], raw: bool) -> NDArray[Any]:
    """Return codes as they are or as real numbers of the tensor's type, and anything else as it is."""
    if raw or tensor.format is None:
        return array
    return dequantize(array, fraction_bits_of(tensor.format, tensor.ndim)).astype(tensor.dtype, copy=False)


def refuse_nan(tensor: Tensor, array: NDArray[Any]) -> None:
    """Raise FeedError where an input in fixed point holds NaN."""
    if np.isnan(array).any():
        raise FeedError(f"input '{tensor.name}' holds NaN: fixed point has no code for it")


def enter(tensor: Tensor, array: NDArray[Any], fixed: Fixed | None, tallies: dict[str, Tally] | None) -> NDArray[Any]:
    """Return what a plan makes of a feed: codes where the input is in fixed point."""
    if fixed is None or tensor.format is None:
        return array
    refuse_nan(tensor, array)
    tally = None if tallies is None else tallies.setdefault(tensor.name, new_tally())
    return quantize(array, tensor.fraction_bits, fixed.arithmetic.word(tensor.one_format), tally=tally)
