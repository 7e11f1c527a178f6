"""Run of a plan on native kernels: segments of calls, and steps of the reference between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FeedError, FormatError, ModelError, OptionError
from qengine.kernels.isa import Isa
from qengine.kernels.locks import Lock
from qengine.kernels.reference.requantize import Tally, new_tally
from qengine.kernels.team import ThreadsError
from qengine.model.graph import Node
from qengine.model.steps import Tensor
from qengine.runtime.native.op import Op
from qengine.runtime.native.schedule import CompiledOps
from qengine.runtime.plan.plan import BoundStep, Plan, decode_output, quantize_input, refuse_nan

NAN_COUNTS = "\0nan"
"""Name of the array in which kernels count the NaN of each input, then of each step that rounds: int64."""

FAULTS = "\0faults"
"""Name of the array in which kernels mark elements that the model may not have: int64 (faults,)."""

Arrays = dict[str, NDArray[Any]]


def tally_key(name: str) -> str:
    """Return the name of the array that holds the tally of a tensor that the reference computes."""
    return f"\0tally {name}"


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
    counts : whether a tally is added to the arrays.
    """

    tensor: Tensor
    plan: Plan
    counts: bool = False

    def run(self, arrays: Arrays) -> None:
        """Quantize the feed, and add the codes to the arrays under the tensor's name."""
        feed = arrays[feed_key(self.tensor.name)]
        tallies: dict[str, Tally] = {}
        arrays[self.tensor.name] = quantize_input(self.tensor, feed, self.plan.fixed, tallies if self.counts else None)
        arrays |= {tally_key(name): tally for name, tally in tallies.items()}


@dataclass(frozen=True)
class ReferencePart:
    """Step that the reference computes.

    Attributes
    ----------
    bound_step : the step.
    reason : why no native kernel computes it.
    counts : whether a tally is added to the arrays.
    """

    bound_step: BoundStep
    reason: str
    counts: bool = False

    def run(self, arrays: Arrays) -> None:
        """Run the step on arrays by name, and add its output to them."""
        bound_step = self.bound_step
        tally = new_tally() if self.counts else None
        with bound_step.node.errors_named():
            sources = [arrays[s] if isinstance(s, str) else s for s in bound_step.sources]
            array = bound_step.kernel(*sources, tally=tally)
        if tally is not None:
            arrays[tally_key(bound_step.output.name)] = tally
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


@dataclass(frozen=True)
class Fault:
    """Error of a node whose elements are not allowed, which only a kernel sees.

    Attributes
    ----------
    node : the node.
    message : message of the error; `{}` in it becomes the number that the kernel wrote.
    """

    node: Node
    message: str

    def check(self, number: int) -> None:
        """Raise ModelError if a kernel wrote another number than 0."""
        if number:
            with self.node.errors_named():
                raise ModelError(self.message.format(number))


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
    faults : errors that kernels may find.
    rounding : steps that round real numbers on native kernels, in the order of their counters of NaN.
    lock : lock that a run holds.
    segments : parts that run on native kernels.
    """

    plan: Plan
    isa: Isa
    threads: int
    parts: tuple[Part, ...]
    outputs: Mapping[str, OutputSource]
    release: tuple[tuple[str, ...], ...]
    unread: tuple[Tensor, ...] = ()
    faults: tuple[Fault, ...] = ()
    rounding: tuple[BoundStep, ...] = ()
    segments: tuple[NativeSegment, ...] = field(init=False)
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.segments = tuple(part for part in self.parts if isinstance(part, NativeSegment))
        self._may_find_nan = bool(self.rounding) or any(tensor.format is not None for tensor in self.plan.inputs)
        self._new_arrays = {output.key for segment in self.segments for output in segment.outputs}
        final = {t.name for t in self.plan.inputs if t.format is None} | self.plan.encoded
        self._feeds = [(t.name, feed_key(t.name), t.shape, t.name in final) for t in self.plan.inputs]

    @property
    def is_native(self) -> bool:
        """Whether no part runs on the reference."""
        return len(self.segments) == len(self.parts)

    @property
    def memory(self) -> int:
        """The bytes of memory for tensors between steps."""
        memories = {id(segment.compiled.memory): segment.compiled.memory for segment in self.segments}
        return sum(memory.bytes for memory in memories.values())

    def arrays(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return the arrays, by name, with which a run begins."""
        arrays: Arrays = {}
        for name, key, shape, is_final in self._feeds:
            array = feeds[name]
            if not array.flags.c_contiguous or array.shape != shape:
                array = np.ascontiguousarray(array).reshape(shape)
            arrays[key] = array
            if is_final:
                arrays[name] = array
        arrays[NAN_COUNTS] = np.zeros(max(len(self._feeds) + len(self.rounding), 1), np.int64)
        arrays[FAULTS] = np.zeros(max(len(self.faults), 1), np.int64)
        return arrays

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return the outputs that are computed, by name; see `Plan.run`. Runs in several threads take turns.

        Raises
        ------
        FeedError
            If an input in fixed point holds NaN.
        ModelError
            If a node has elements that ONNX does not allow.
        """
        with self.lock.guard:
            arrays = self.arrays(feeds)
            for tensor in self.unread:
                refuse_nan(tensor, arrays[feed_key(tensor.name)])
            for part, released in zip(self.parts, self.release, strict=True):
                part.run(arrays)
                if self._may_find_nan and arrays[NAN_COUNTS].any():
                    self._refuse_nan(int(np.flatnonzero(arrays[NAN_COUNTS])[0]))
                self.check_faults(arrays)
                for name in released:
                    arrays.pop(name, None)
            return {name: self._output(arrays, source) for name, source in self.outputs.items()}

    def check_faults(self, arrays: Arrays) -> None:
        """Raise the error that a kernel found, if there is one."""
        if self.faults and arrays[FAULTS].any():
            for fault, number in zip(self.faults, arrays[FAULTS], strict=True):
                fault.check(int(number))

    def _refuse_nan(self, counter: int) -> NoReturn:
        """Raise the error of the tensor whose counter is not 0."""
        inputs = self.plan.inputs
        if counter < len(inputs):
            raise FeedError(f"input '{inputs[counter].name}' holds NaN: fixed point has no code for it")
        bound_step = self.rounding[counter - len(inputs)]
        name = bound_step.output.name.partition("\0")[0]  # names that are made up have more
        with bound_step.node.errors_named():
            raise FormatError(f"tensor '{name}' became NaN in float32: fixed point has no code for it")

    def _output(self, arrays: Arrays, source: OutputSource) -> NDArray[Any]:
        """Return an output as an array of the caller's own."""
        array = arrays[source.key]
        if source.codes is not None:
            return np.array(decode_output(source.codes, array, raw=False), order="C")
        # Segments write new arrays; the reference may give a view of a feed.
        return array if source.key in self._new_arrays else np.array(array, order="C")
