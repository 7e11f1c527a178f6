"""Run of a plan on native kernels: segments of calls, and steps of the reference between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FeedError, OptionError
from qengine.kernels.isa import Isa
from qengine.kernels.locks import Lock
from qengine.kernels.program import ThreadsError
from qengine.model.steps import Tensor
from qengine.runtime.native.op import Op
from qengine.runtime.native.schedule import CompiledOps
from qengine.runtime.plan.plan import BoundStep, Plan, decode_output, quantize_input, refuse_nan

NAN_COUNTS = "\0nan"
"""Name of the array in which kernels count the NaN of each input: int64 (inputs,)."""

Arrays = dict[str, NDArray[Any]]


def feed_key(name: str) -> str:
    """Return the name of the array that holds a feed as the caller gave it."""
    return f"\0feed {name}"


@dataclass(frozen=True)
class OutputArray:
    """Description of an array that a segment writes.

    Attributes
    ----------
    key : name of the array in a run.
    shape, dtype : shape and element type.
    """

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class NativeSegment:
    """Segment of steps that runs without a return to Python.

    Attributes
    ----------
    ops : ops in the order in which they run.
    compiled : calls of the ops, ready to run.
    steps : steps of the segment, each with its ops.
    outputs : arrays that the segment writes.
    """

    ops: tuple[Op, ...]
    compiled: CompiledOps
    steps: tuple[tuple[BoundStep, tuple[Op, ...]], ...]
    outputs: tuple[OutputArray, ...]

    def new_arrays(self) -> Arrays:
        """Return new arrays for the outputs, by name."""
        return {output.key: np.empty(output.shape, output.dtype) for output in self.outputs}

    def run(self, arrays: Arrays) -> None:
        """Run the segment: it reads arrays by name, and adds its outputs to them."""
        arrays |= self.new_arrays()
        try:
            self.compiled.program.run(arrays)
        except ThreadsError as error:
            raise OptionError(f"{error}; give fewer (--threads, threads=)") from None


@dataclass(frozen=True)
class QuantizePart:
    """Quantization by the reference, of an input that a step of the reference reads.

    Attributes
    ----------
    tensor : input in fixed point.
    plan : plan whose arithmetic applies.
    """

    tensor: Tensor
    plan: Plan

    def run(self, arrays: Arrays) -> None:
        """Quantize the feed, and add the codes to the arrays under the tensor's name."""
        feed = arrays[feed_key(self.tensor.name)]
        arrays[self.tensor.name] = quantize_input(self.tensor, feed, self.plan.fixed, None)


@dataclass(frozen=True)
class ReferencePart:
    """Step that the reference computes, and the reason why no native kernel does."""

    bound_step: BoundStep
    reason: str

    def run(self, arrays: Arrays) -> None:
        """Run the step on arrays by name, and add its output to them."""
        bound_step = self.bound_step
        with bound_step.node.errors_named():
            array = bound_step.kernel(*[arrays[s] if isinstance(s, str) else s for s in bound_step.sources])
        arrays[bound_step.output.name] = np.ascontiguousarray(array).reshape(array.shape)


class Part(Protocol):
    """A part of a run."""

    def run(self, arrays: Arrays) -> None:
        """Run the part: it reads arrays by name, and adds its outputs to them."""


@dataclass(frozen=True)
class OutputSource:
    """Source of an output of the plan.

    Attributes
    ----------
    key : name of the array that holds it.
    codes : tensor whose codes the array holds, where the caller gets real numbers; None for an array that is final.
    """

    key: str
    codes: Tensor | None = None


@dataclass
class Executor:
    """A plan on native kernels, which runs again and again in the same memory.

    Attributes
    ----------
    plan : plan that is computed.
    isa, threads : instruction set, and number of threads.
    parts : parts in the order in which they run.
    outputs : source of each output, by name.
    release : names of the arrays that nothing reads after each part.
    unread : inputs in fixed point that no part reads; they are checked for NaN too.
    segments : parts that run on native kernels.
    """

    plan: Plan
    isa: Isa
    threads: int
    parts: tuple[Part, ...]
    outputs: Mapping[str, OutputSource]
    release: tuple[tuple[str, ...], ...]
    unread: tuple[Tensor, ...] = ()
    segments: tuple[NativeSegment, ...] = field(init=False)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.segments = tuple(part for part in self.parts if isinstance(part, NativeSegment))
        self._new_arrays = {output.key for segment in self.segments for output in segment.outputs}

    @property
    def memory(self) -> int:
        """The bytes of memory for tensors between steps."""
        return sum(segment.compiled.memory.bytes for segment in self.segments)

    def arrays(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return the arrays, by name, with which a run begins."""
        inputs = self.plan.inputs
        arrays: Arrays = {feed_key(t.name): np.ascontiguousarray(feeds[t.name]).reshape(t.shape) for t in inputs}
        final = {t.name for t in inputs if t.format is None} | self.plan.encoded
        arrays |= {name: arrays[feed_key(name)] for name in final}
        arrays[NAN_COUNTS] = np.zeros(max(len(inputs), 1), np.int64)
        return arrays

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return the outputs that are computed, by name; see `Plan.run`. Runs in several threads take turns.

        Raises
        ------
        FeedError
            If an input in fixed point holds NaN.
        """
        with self._lock.guard:
            arrays = self.arrays(feeds)
            for tensor in self.unread:
                refuse_nan(tensor, arrays[feed_key(tensor.name)])
            for part, released in zip(self.parts, self.release, strict=True):
                part.run(arrays)
                if arrays[NAN_COUNTS].any():
                    name = self.plan.inputs[int(np.flatnonzero(arrays[NAN_COUNTS])[0])].name
                    raise FeedError(f"input '{name}' holds NaN: fixed point has no code for it")
                for name in released:
                    arrays.pop(name, None)
            return {name: self._output(arrays, source) for name, source in self.outputs.items()}

    def _output(self, arrays: Arrays, source: OutputSource) -> NDArray[Any]:
        """Return an output as an array of the caller's own."""
        array = arrays[source.key]
        if source.codes is not None:
            return np.array(decode_output(source.codes, array, raw=False), order="C")
        # Segments write new arrays; the reference may give a view of a feed.
        return array if source.key in self._new_arrays else np.array(array, order="C")
