"""Lowering of a plan: from steps to segments of ops on native kernels.

A plan is a list of steps, each a function of whole tensors. A native kernel instead computes rows of a tensor that
lies in memory in blocks of 16 channels. Lowering goes through the steps in order and gives each its *ops*, objects
that know their buffers and can make *calls* of kernels for any rows. The table in `lowering_table` names the function
that does this for a type of step; the function raises `NotLowered` where no kernel computes the step exactly.

Steps with ops form *segments*, which run without a return to Python. A step without ops ends a segment: its operands
are *unpacked* into arrays of the plain (N, C, H, W) order, the reference computes the step on them, and the next
segment *packs* what it reads. A tensor may have several buffers at a time, such as one in blocks of 16 channels and
one in planes: `_request_buffer` finds the one that a lowering requests, or adds the op that makes it.

Halos are settled here too. A *halo* is a margin of zeros around each plane, so that a convolution reads beyond the
edges without a test. Only the reader knows its size, and readers come after the writer: each op that is added widens
the halos of its inputs, and memory is laid out when the whole segment is known (see `schedule`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qengine.kernels.isa import Isa
from qengine.kernels.layout import natural_block
from qengine.kernels.program import Slot
from qengine.model.steps import Arithmetic, Step, Tensor
from qengine.runtime.native.executor import (
    NAN_COUNTS,
    Executor,
    NativeSegment,
    OutputArray,
    OutputSource,
    Part,
    QuantizePart,
    ReferencePart,
    feed_key,
)
from qengine.runtime.native.lowering_table import Lowered, LoweringContext, NotLowered, function_of
from qengine.runtime.native.lowerings import lowering_of
from qengine.runtime.native.op import Op
from qengine.runtime.native.packing import PackOp, RelayoutOp, UnpackOp
from qengine.runtime.native.schedule import compile_ops
from qengine.runtime.native.tensor_buffer import TensorBuffer, images, stored_as
from qengine.runtime.plan.plan import BoundStep, Plan


def make_executor(plan: Plan, isa: Isa, threads: int, *, raw: bool) -> Executor:
    """Return a plan on native kernels.

    Parameters
    ----------
    plan
        Plan that is computed.
    isa, threads
        Instruction set that kernels are compiled for, and number of threads.
    raw
        Whether outputs in fixed point are codes instead of real numbers.
    """
    return PlanLowering(plan, isa, threads, raw).executor()


@dataclass
class _Segment:
    """Segment under construction.

    Attributes
    ----------
    ops : ops in order.
    steps : steps, each with its ops.
    outputs : arrays that the segment writes, by name.
    reads : names of the arrays that the segment reads.
    """

    ops: list[Op] = field(default_factory=list)
    steps: list[tuple[BoundStep, tuple[Op, ...]]] = field(default_factory=list)
    outputs: dict[str, OutputArray] = field(default_factory=dict)
    reads: set[str] = field(default_factory=set)

    def append(self, op: Op) -> None:
        """Append an op, and widen the halos of its buffers."""
        self.ops.append(op)
        for buffer in op.inputs:
            buffer.halo = buffer.halo.covering(op.halo(buffer))
        op.out.halo = op.out.halo.covering(op.output_halo)


class PlanLowering:
    """State of the lowering of a plan, step after step.

    Attributes
    ----------
    segment : segment that steps are added to.
    parts, reads : finished parts, and the names of the arrays that each reads.
    buffers : buffers of the current segment, by the tensor's name.
    tensors : tensors that were computed so far, by name.
    arrays : names of tensors that are arrays of codes or numbers. Inputs in fixed point are not: they are numbers yet.
    """

    def __init__(self, plan: Plan, isa: Isa, threads: int, raw: bool) -> None:
        self.plan, self.isa, self.threads, self.raw = plan, isa, threads, raw
        self.arithmetic = plan.fixed.arithmetic if plan.fixed else Arithmetic()
        self.segment = _Segment()
        self.parts: list[Part] = []
        self.reads: list[set[str]] = []
        self.buffers: dict[str, list[TensorBuffer]] = {}
        self.tensors = {t.name: t for t in plan.inputs}
        self.input_index = {t.name: i for i, t in enumerate(plan.inputs)}
        self.arrays = {t.name for t in plan.inputs if t.format is None} | plan.encoded
        self.last_read = {s: i for i, b in enumerate(plan.steps) for s in b.reads}

    def executor(self) -> Executor:
        """Lower all steps and return the executor."""
        for i, bound_step in enumerate(self.plan.steps):
            reason = self._try_native(bound_step)
            self.tensors[bound_step.output.name] = bound_step.output
            if reason is not None:
                self._add_reference(bound_step, reason, i)
            self._after_step(bound_step, is_native=reason is None)
        outputs = {name: self._output(t) for name, t in self.plan.outputs.items() if t.value is None}
        self._close_segment(len(self.plan.steps))
        release, later = [], {source.key for source in outputs.values()}
        for reads in reversed(self.reads):
            release.append(tuple(sorted(reads - later)))
            later |= reads
        read = set().union(*self.reads)
        quantized = [t for t in self.plan.inputs if t.format is not None and t.name not in self.plan.encoded]
        unread = tuple(t for t in quantized if feed_key(t.name) not in read)
        return Executor(self.plan, self.isa, self.threads, tuple(self.parts), outputs, tuple(reversed(release)), unread)

    def _after_step(self, bound_step: BoundStep, *, is_native: bool) -> None:
        """Add what comes after a step."""

    def _try_native(self, bound_step: BoundStep) -> str | None:
        """Add a step to the segment; where no native kernel computes it, add nothing and return the reason."""
        op_count, output = len(self.segment.ops), bound_step.output
        buffers = {name: list(self.buffers.get(name, ())) for name in bound_step.reads}
        try:
            if stored_as(output) is None or images(output.shape) is None or 0 in output.shape:
                raise NotLowered(f"{len(output.shape)} axes of {output.dtype}")
            lowered = self._lower(bound_step.step, output)
        except NotLowered as reason:
            del self.segment.ops[op_count:]
            self.buffers |= buffers
            for name in [name for name, existing in buffers.items() if not existing]:
                del self.buffers[name]
            return str(reason)
        for op in lowered.ops:
            self.segment.append(op)
        self.buffers[output.name] = list(lowered.outputs)
        self.segment.steps.append((bound_step, lowered.ops))
        return None

    def _lower(self, step: Step, out: Tensor) -> Lowered:
        """Return the ops of a step."""
        context = LoweringContext(
            step=step,
            function=function_of(step),
            out=out,
            arithmetic=self.arithmetic,
            isa=self.isa,
            request_buffer=self._request_buffer,
            buffers=lambda name: self.buffers.get(name, []),
        )
        return lowering_of(step)(context)

    def _request_buffer(
        self,
        tensor: Tensor,
        *,
        block: int | None = None,
        stored: str | None = None,
        shape: tuple[int, int, int, int] | None = None,
    ) -> TensorBuffer:
        """Return a buffer of an input; see `RequestBuffer`."""
        as_images, t = images(tensor.shape) if shape is None else shape, tensor
        if t.value is not None or as_images is None or stored_as(t) is None or 0 in as_images:
            raise NotLowered(f"'{t.name}' {list(t.shape)} {'constant' if t.value is not None else t.dtype}")
        existing = [b for b in self.buffers.get(t.name, []) if b.shape == as_images]
        if not existing:
            existing = [self._pack(t, as_images, block)]
        for buffer in existing:
            if block in (None, buffer.block) and stored in (None, buffer.stored):
                return buffer
        changes: dict[str, Any] = {} if block is None else {"block": block}
        if stored is not None and stored != existing[0].stored:
            changes |= {"stored": stored, "zero": 0}
        buffer = existing[0].like(f"{t.name} ({len(self.buffers[t.name])})", **changes)
        self.segment.append(RelayoutOp(self.isa, (existing[0],), buffer))
        self.buffers[t.name].append(buffer)
        return buffer

    def _pack(self, t: Tensor, shape: tuple[int, int, int, int], block: int | None) -> TensorBuffer:
        """Add the op that packs an array, or a tensor that lies in memory in another shape; return its buffer."""
        tensor = self.tensors[t.name]
        buffer = TensorBuffer.of(Tensor(t.name, t.dtype, shape, None, tensor.format), block or natural_block(shape[1]))
        word, bits, nan = None, 0, Slot(NAN_COUNTS, 8 * self.input_index.get(t.name, 0))
        source_type = element_type(tensor)
        if t.name in self.buffers:
            # The new shape is one of the elements in plain order: unpack them, and pack them again.
            first, key = self.buffers[t.name][0], f"{t.name} in order"
            plain = first.like(key, block=1)
            self.segment.append(UnpackOp(self.isa, (first,), plain, source_type, 0))
            source = TensorBuffer(key, shape, plain.stored, 1, view_of=plain)
        else:
            key, stored = t.name, buffer.stored
            is_unquantized = t.name not in self.arrays and tensor.format is not None
            if is_unquantized and tensor.dtype == np.float32:
                key, stored, source_type = feed_key(t.name), "f32", "f32"
                word, bits = self.arithmetic.word(tensor.one_format), tensor.fraction_bits
            elif is_unquantized:
                self._quantize_input(tensor)
            self.segment.reads.add(key)
            source = TensorBuffer(key, shape, stored, 1, array=key)
        self.segment.append(PackOp(self.isa, (source,), buffer, word, bits, source_type, nan))
        self.buffers.setdefault(t.name, []).append(buffer)
        return buffer

    def _quantize_input(self, t: Tensor) -> None:
        """Add the quantization of an input by the reference, before all other parts."""
        self.parts.insert(0, QuantizePart(t, self.plan))
        self.reads.insert(0, {feed_key(t.name)})
        self.arrays.add(t.name)

    def _unpack(self, t: Tensor, *, real: bool = False) -> str:
        """Add the op that unpacks a tensor, as codes or as real numbers; return the name of the array."""
        buffer, key = self.buffers[t.name][0], f"\0real {t.name}" if real else t.name
        target = "f32" if real else element_type(t)
        dtype = np.dtype(np.float32) if target == "f32" else t.one_format.word().dtype
        array = TensorBuffer(key, buffer.shape, "f32" if target == "f32" else buffer.stored, 1, array=key)
        self.segment.append(UnpackOp(self.isa, (buffer,), array, target, t.fraction_bits if real else 0))
        self.segment.outputs[key] = OutputArray(key, t.shape, dtype)
        if not real:
            self.arrays.add(t.name)
        return key

    def _output(self, t: Tensor) -> OutputSource:
        """Return the source of an output, and add the ops that it takes."""
        real = t.format is not None and not self.raw
        if t.name in self.buffers and t.name not in self.arrays:
            if real and t.dtype == np.float32:
                return OutputSource(self._unpack(t, real=True))
            self._unpack(t)
        elif t.name not in self.arrays:
            self._quantize_input(t)
        return OutputSource(t.name, t if real else None)

    def _add_reference(self, bound_step: BoundStep, reason: str, index: int) -> None:
        """End the segment, and add a step that the reference computes."""
        read = set(bound_step.reads)
        for name in sorted(read - self.arrays):
            if name in self.buffers:
                self._unpack(self.tensors[name])
            else:
                self._quantize_input(self.tensors[name])
        self._close_segment(index)
        self.parts.append(ReferencePart(bound_step, reason))
        self.reads.append(read)
        self.arrays.add(bound_step.output.name)

    def _close_segment(self, index: int) -> None:
        """End the segment before the step of an index: unpack what later steps read."""
        is_last = index == len(self.plan.steps)
        for name in sorted(self.buffers.keys() - self.arrays):
            is_read = self.last_read.get(name, -1) > index or (name in self.plan.outputs and not is_last)
            is_quantized_input = name in self.input_index and self.tensors[name].format is not None
            if is_read and not is_quantized_input:
                self._unpack(self.tensors[name])
        segment = self.segment
        if segment.ops or segment.steps:
            compiled = compile_ops(segment.ops, self.isa, self.threads)
            outputs = tuple(segment.outputs.values())
            self.parts.append(NativeSegment(tuple(segment.ops), compiled, tuple(segment.steps), outputs))
            self.reads.append(segment.reads)
        self.segment, self.buffers = _Segment(), {}


def element_type(t: Tensor) -> str:
    """Return the element type of a tensor's array, as kernels name it: "f32", or the type of its codes."""
    if t.format is None:
        return "f32"
    dtype = t.one_format.word().dtype
    return f"{dtype.kind}{8 * dtype.itemsize}"
