"""Lowering of a plan: from steps to segments of ops on native kernels.

A plan is a list of steps, each a function of whole tensors. A native kernel instead computes rows of a tensor that
lies in memory in blocks of 16 channels. Lowering goes through the steps in order and gives each its *ops*, objects
that know their buffers and can make *calls* of kernels for any rows. The table in `lowering_table` names the function
that does this for a type of step; the function raises `NotLowered` where no kernel computes the step exactly.

Steps with ops form *segments*, which run without a return to Python. A step without ops ends a segment: its operands
are *unpacked* into arrays of the plain (N, C, H, W) order, the reference computes the step on them, and the next
segment *packs* what it reads. A tensor may have several buffers at a time, such as one in blocks of 16 channels and
one in planes: `_request_buffer` finds the one that a lowering requests, or adds the op that makes it.

Some steps work on *plain* buffers instead: elements in ONNX's order, as arrays have them, of any type and with any
number of axes. What convolutions read lies in blocks; what transformers read lies in plain order. A step that has
lowerings for both is computed where its inputs are; a tensor goes from one to the other by packing and unpacking.

Halos are settled here too. A *halo* is a margin of zeros around each plane, so that a convolution reads beyond the
edges without a test. Only the reader knows its size, and readers come after the writer: each op that is added widens
the halos of its inputs, and memory is laid out when the whole segment is known (see `schedule`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from qengine.kernels.isa import Isa
from qengine.kernels.program import Slot, load
from qengine.model.rules import Arithmetic
from qengine.model.steps import Evaluated, Linear, Step, Tensor
from qengine.model.steps.forms import Concatenated
from qengine.model.steps.moves import StridedMove
from qengine.runtime.native.columns import on_rows
from qengine.runtime.native.executor import (
    FAULTS,
    NAN_COUNTS,
    Executor,
    Fault,
    NativeSegment,
    OutputSource,
    ReferencePart,
    feed_key,
)
from qengine.runtime.native.frames import depth_of, frames_of, on_frames
from qengine.runtime.native.fusion import fuse_biases
from qengine.runtime.native.half import WideSteps
from qengine.runtime.native.lowering_table import (
    Lowered,
    LoweringContext,
    NotLowered,
    PlainContext,
    function_of,
    plain_function_of,
)
from qengine.runtime.native.lowerings import lowering_of, plain_lowering_of
from qengine.runtime.native.memory import Memory, SpareMemory
from qengine.runtime.native.op import Op
from qengine.runtime.native.packing import is_converted
from qengine.runtime.native.quantized_steps import with_quantized_steps
from qengine.runtime.native.schedule import compile_ops
from qengine.runtime.native.segment_tensors import SegmentTensors
from qengine.runtime.native.tensor_buffer import TensorBuffer, element_type, images, stored_as
from qengine.runtime.plan.plan import BoundStep, Plan


def make_executor(plan: Plan, isa: Isa, threads: int, *, raw: bool, spare: SpareMemory | None = None) -> Executor:
    """Return a plan on native kernels.

    Parameters
    ----------
    plan
        Plan that is computed.
    isa, threads
        Instruction set that kernels are compiled for, and number of threads.
    raw
        Whether outputs in fixed point are codes instead of real numbers.
    spare
        Memory that an earlier plan left.
    """
    return PlanLowering(fuse_biases(with_quantized_steps(plan)), isa, threads, raw, Memory(spare)).executor()


def make_executors(plans: Sequence[Plan], isa: Isa, threads: int) -> list[Executor]:
    """Return plans on native kernels that run one at a time, in memory that they share; see `make_executor`.

    Their kernels are compiled together, and their outputs are real numbers.
    """
    memory, executors = Memory(), []
    for plan in plans:
        lowering = PlanLowering(fuse_biases(with_quantized_steps(plan)), isa, threads, False, memory)
        executors.append(lowering.executor(loads=False))
    load([segment.compiled.program for executor in executors for segment in executor.segments])
    return executors


class PlanLowering(SegmentTensors):
    """State of the lowering of a plan, step after step.

    Attributes
    ----------
    threads, raw : number of threads, and whether outputs in fixed point are codes.
    memory : memory of the tensors between ops, which the segments use one after the other.
    evaluated : plain buffers of all outputs of nodes with several outputs, by the id of the evaluation.
    faults : errors that kernels may find.
    rounding : steps that round real numbers, which may be NaN.
    wide_steps : steps on float32 in the place of float16.
    last_read : index of the last step that reads a tensor, by name.
    """

    def __init__(self, plan: Plan, isa: Isa, threads: int, raw: bool, memory: Memory | None = None) -> None:
        super().__init__(plan, isa)
        self.threads, self.raw = threads, raw
        self.memory = memory or Memory()
        self.evaluated: dict[int, tuple[TensorBuffer, ...]] = {}
        self.faults: list[Fault] = []
        self.rounding: list[BoundStep] = []
        self.wide_steps = WideSteps()
        self.last_read = {s: i for i, b in enumerate(plan.steps) for s in b.reads}

    def executor(self, *, loads: bool = True) -> Executor:
        """Lower all steps and return the executor, with the machine code of its kernels if `loads` is set."""
        self._before_steps()
        for i, bound_step in enumerate(self.plan.steps):
            reason = self._try_native(bound_step)
            self.tensors[bound_step.output.name] = bound_step.output
            if reason is not None:
                self._add_reference(bound_step, reason, i)
            self._after_step(bound_step, is_native=reason is None)
        outputs = self._outputs()
        self._close_segment(len(self.plan.steps))
        if loads:
            load([part.compiled.program for part in self.parts if isinstance(part, NativeSegment)])
        release, later = [], {source.key for source in outputs.values()}
        for reads in reversed(self.reads):
            release.append(tuple(sorted(reads - later)))
            later |= reads
        read = set().union(*self.reads)
        quantized = [t for t in self.plan.inputs if t.format is not None and t.name not in self.plan.encoded]
        unread = tuple(t for t in quantized if feed_key(t.name) not in read)
        return Executor(
            self.plan,
            self.isa,
            self.threads,
            tuple(self.parts),
            outputs,
            tuple(reversed(release)),
            unread,
            tuple(self.faults),
            tuple(self.rounding),
        )

    def _before_steps(self) -> None:
        """Add what comes before the first step."""

    def _after_step(self, bound_step: BoundStep, *, is_native: bool) -> None:
        """Add what comes after a step."""

    def _outputs(self) -> dict[str, OutputSource]:
        """Return the source of every output that a run computes."""
        return {name: self._output(t, self.raw) for name, t in self.plan.outputs.items() if t.value is None}

    def _try_native(self, bound_step: BoundStep) -> str | None:
        """Add a step to the segment; where no native kernel computes it, add nothing and return the reason."""
        widened = self.wide_steps.of(bound_step)
        if self._turn(widened):
            self.segment.steps.append((bound_step, ()))
            return None
        ways: list[Callable[[BoundStep], tuple[Op, ...]]] = [self._lower_to_blocks]
        entry = plain_lowering_of(widened.step)
        if entry is not None:
            ways.insert(0 if entry.is_first or self._reads_plain(bound_step.step) else 1, self._lower_to_plain)
        if any(t.name in self.turned and t.name not in self.plain for t in bound_step.step.operands):
            ways.insert(0, self._lower_to_turned)
        if depth_of(bound_step.step) is not None:
            ways.append(self._lower_to_frames)
        reasons = []
        for way in ways:
            counts = len(self.segment.ops), len(self.faults), len(self.rounding)
            state = dict(self.plain), dict(self.turned), dict(self.sources), dict(self.frames), dict(self.buffers)
            try:
                ops = way(widened)
                if widened is not bound_step:
                    ops = (*ops, *self._round(widened, bound_step.output))
            except NotLowered as reason:
                reasons += [str(reason)] if way != self._lower_to_turned else []
                op_count, fault_count, rounding_count = counts
                self.plain, self.turned, self.sources, self.frames, self.buffers = state
                del self.segment.ops[op_count:], self.faults[fault_count:], self.rounding[rounding_count:]
            else:
                self.segment.steps.append((bound_step, ops))
                return None
        # A lowering that is tried first although blocks are usual need not have the better reason.
        return reasons[-1] if entry is not None and entry.is_first else reasons[0]

    def _reads_plain(self, step: Step) -> bool:
        """Whether the inputs of a step lie in plain order only; of arrays, images are better packed into blocks."""
        computed = [t for t in step.operands if t.value is None]
        if any(t.name in self.buffers for t in computed):
            return False
        plain = self.plain.keys() | self.sources.keys()
        are_arrays = bool(computed) and all(t.format is None and t.ndim < 4 for t in computed)
        return are_arrays or any(t.name in plain for t in computed)

    def _lower_to_turned(self, bound_step: BoundStep) -> tuple[Op, ...]:
        """Add a step on the bases of turned tensors, and return its ops."""
        found = self._turned_step(bound_step)
        if found is None:
            raise NotLowered("no tensor with channels last in blocks")
        return self._lower_to_blocks(found)

    def _lower_to_frames(self, bound_step: BoundStep) -> tuple[Op, ...]:
        """Add a convolution or pool over three spatial axes as one over two, and return its ops."""
        step, out = bound_step.step, bound_step.output
        depth, weights = depth_of(step), step.w if isinstance(step, Linear) else None
        assert depth is not None
        if self.counts or 0 in out.shape or (weights is not None and weights.value is None):
            raise NotLowered("three spatial axes, with weights that are computed or in a run that counts")
        before = len(self.segment.ops)
        if isinstance(step, Linear):
            frames = self._taps(step, depth, f"{out.name} taps")
        else:
            frames = self._as_frames(step.operands[0])
        is_pooled = weights is None and (depth.kernel, depth.stride, depth.out) != (1, 1, depth.length)
        found = frames_of(out, out.shape[1], depth.length if is_pooled else depth.out, f"{out.name} frames")
        self.tensors[found.name] = found
        self._lower_to_blocks(replace(bound_step, step=on_frames(step, frames, depth), output=found))
        self.frames[out.name] = self._largest(found, out, depth) if is_pooled else found
        return tuple(self.segment.ops[before:])

    def _lower_to_blocks(self, bound_step: BoundStep) -> tuple[Op, ...]:
        """Add a step on blocks of channels, and return its ops."""
        bound_step = on_rows(bound_step)
        output = bound_step.output
        if stored_as(output) is None or images(output.shape) is None or 0 in output.shape:
            raise NotLowered(f"{len(output.shape)} axes of {output.dtype}")
        lowered = self._lower(bound_step, output)
        for op in lowered.ops:
            self.segment.append(op)
        self.buffers[output.name] = lowered.outputs
        return lowered.ops

    def _lower_to_plain(self, bound_step: BoundStep) -> tuple[Op, ...]:
        """Add a step on plain buffers, and return its ops."""
        step, output = bound_step.step, bound_step.output
        entry = plain_lowering_of(step)
        assert entry is not None
        evaluation, index = (step.evaluation, step.index) if isinstance(step, Evaluated) else (None, 0)
        if evaluation is not None and id(evaluation) in self.evaluated:
            self.plain[output.name] = self.evaluated[id(evaluation)][index]
            return ()
        outputs = (output,) if evaluation is None else evaluation.outputs
        if isinstance(plain_function_of(step), StridedMove) and 0 in output.shape:
            self.plain[output.name] = TensorBuffer.plain(output)  # nothing is moved
            return ()
        is_concat = isinstance(plain_function_of(step), Concatenated) and output.format is None
        joined = step.operands if is_concat else ()  # some may be empty
        if any(0 in t.shape for t in (*step.operands, *outputs) if t.value is None and t not in joined):
            raise NotLowered("a tensor without elements")
        if any(element_type(t) is None for t in outputs):
            raise NotLowered(f"elements of {outputs[0].dtype}")
        is_real = all(t.format is None for t in (*step.operands, *outputs, output))
        has_rule = evaluation is not None and evaluation.rule is not None
        if evaluation is not None and not ((is_real or has_rule) and bound_step.node.activation is None):
            raise NotLowered("an island in fixed point")
        context = PlainContext(
            step=step,
            function=plain_function_of(step),
            outputs=outputs,
            arithmetic=bound_step.arithmetic or Arithmetic(),
            isa=self.isa,
            request=self._request_plain,
            fault=lambda message: self._add_fault(bound_step, message),
            lies_plain=self._reads_plain(step),
        )
        lowered = entry.lowering(context)
        for op in lowered.ops:
            self.segment.append(op)
        if evaluation is not None:
            self.evaluated[id(evaluation)] = lowered.outputs
        self.plain[output.name] = lowered.outputs[index]
        return lowered.ops

    def _add_fault(self, bound_step: BoundStep, message: str) -> Slot:
        self.faults.append(Fault(bound_step.node, message))
        return Slot(FAULTS, 8 * (len(self.faults) - 1))

    def _lower(self, bound_step: BoundStep, out: Tensor) -> Lowered:
        """Return the ops of a step."""
        step = bound_step.step
        context = LoweringContext(
            step=step,
            function=function_of(step),
            out=out,
            arithmetic=bound_step.arithmetic or Arithmetic(),
            isa=self.isa,
            request_buffer=self._request_buffer,
            buffers=lambda name: self.buffers.get(name, ()),
            nan_counter=lambda: self._nan_counter(bound_step),
            counts=self.counts,
        )
        return lowering_of(step)(context)

    def _nan_counter(self, bound_step: BoundStep) -> Slot:
        """Return the counter of NaN in what a step rounds; those of the inputs come first."""
        self.rounding.append(bound_step)
        return Slot(NAN_COUNTS, 8 * (len(self.plan.inputs) + len(self.rounding) - 1))

    def _output(self, t: Tensor, raw: bool) -> OutputSource:
        """Return the source of an output, as codes or real numbers, and add the ops that it takes."""
        real = t.format is not None and not raw
        if t.name in self._held and (t.name not in self.arrays or real):
            has_kernel = t.name in self.buffers or (t.name in self.plain and is_converted(t))
            if real and t.dtype == np.float32 and has_kernel:
                return OutputSource(self._unpack(t, real=True))
            if t.name not in self.arrays:
                self._unpack(t)
        elif t.name not in self.arrays:
            self._quantize_input(t)
        return OutputSource(t.name, t if real else None)

    def _add_reference(self, bound_step: BoundStep, reason: str, index: int) -> None:
        """End the segment, and add a step that the reference computes."""
        read = set(bound_step.reads)
        for name in sorted(read - self.arrays):
            if name in self.arrays:  # an input became an array for the one before, which is its transposition
                continue
            if name in self._held:
                self._unpack(self.tensors[name])
            else:
                self._quantize_input(self.tensors[name])
        self._close_segment(index)
        self.parts.append(ReferencePart(bound_step, reason, self.counts and bound_step.output.format is not None))
        self.reads.append(read)
        self.arrays.add(bound_step.output.name)

    def _close_segment(self, index: int) -> None:
        """End the segment before the step of an index: unpack what later steps read."""
        is_last = index == len(self.plan.steps)
        for name in sorted(self._held - self.arrays):
            is_read = self.last_read.get(name, -1) > index or (name in self.plan.outputs and not is_last)
            is_quantized_input = name in self.input_index and self.tensors[name].format is not None
            if is_read and not is_quantized_input:
                self._unpack(self.tensors[name])
        segment = self.segment
        if segment.ops or segment.steps:
            compiled = compile_ops(segment.ops, self.isa, self.threads, self.memory)
            outputs = tuple(segment.outputs.values())
            self.parts.append(NativeSegment(tuple(segment.ops), compiled, tuple(segment.steps), outputs))
            self.reads.append(segment.reads)
        self._forget()
        self.evaluated = {}
