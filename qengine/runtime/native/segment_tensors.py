"""Tensors of a plan while it is lowered: where each of them lies, and the ops that bring it elsewhere.

A tensor may have several buffers at a time: an array of the caller's or of the reference, one in plain order, some in
blocks of channels. A lowering requests the buffer that its kernel reads; `SegmentTensors` finds it, or adds the op that
makes it from another. Elements of float16 are float32 in every buffer but arrays, see `half`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from qengine.kernels.isa import Isa
from qengine.kernels.layout import natural_block
from qengine.kernels.program import Slot
from qengine.model.rules import Rules
from qengine.model.steps import Linear, Tensor
from qengine.model.steps.moves import Strided
from qengine.runtime.native.block_copies import ChannelsLastOp, is_raw
from qengine.runtime.native.broadcast_op import broadcast_op
from qengine.runtime.native.executor import (
    NAN_COUNTS,
    OutputArray,
    Part,
    QuantizePart,
    feed_key,
)
from qengine.runtime.native.frames import Depth, frame_pieces, frames_of, from_frames, tap_pieces
from qengine.runtime.native.half import is_half, is_rounded, wide
from qengine.runtime.native.lowering_table import NotLowered
from qengine.runtime.native.lowerings.broadcast import MAX_TERMS
from qengine.runtime.native.lowerings.elementwise import round_op
from qengine.runtime.native.lowerings.quantize import decode_op
from qengine.runtime.native.op import Op
from qengine.runtime.native.packing import PackOp, RelayoutOp, UnpackOp, copy_bytes_op, is_converted, plain_quantize_op
from qengine.runtime.native.strided_copies import CopyOp, copy_view
from qengine.runtime.native.tensor_buffer import TensorBuffer, element_type, images, stored_as
from qengine.runtime.native.turned import base_of, first_order, last_order, on_bases, transposition
from qengine.runtime.plan.plan import BoundStep, Plan


@dataclass
class Segment:
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


class SegmentTensors:
    """Buffers of the tensors of a plan, segment after segment.

    Attributes
    ----------
    segment : segment that steps are added to.
    parts, reads : finished parts, and the names of the arrays that each reads.
    buffers : buffers of the current segment, by the tensor's name.
    tensors : tensors that were computed so far, by name.
    plain : plain buffers of the current segment, by the tensor's name.
    turned : base of each tensor that lies in its base's buffers; see `turned`.
    sources : tensor that another one is the transposition of, with channels second; see `turned`.
    frames : frames that a tensor with three spatial axes is made of; see `frames`.
    arrays : names of tensors that are arrays of codes or numbers. Inputs in fixed point are not: they are numbers yet.
    counts : whether kernels that round store flags, and steps of the reference count; see `counting`.
    """

    counts = False

    def __init__(self, plan: Plan, isa: Isa) -> None:
        self.plan, self.isa = plan, isa
        self.rules = plan.fixed.rules if plan.fixed else Rules()
        self.segment = Segment()
        self.parts: list[Part] = []
        self.reads: list[set[str]] = []
        self.buffers: dict[str, tuple[TensorBuffer, ...]] = {}
        self.plain: dict[str, TensorBuffer] = {}
        self.turned: dict[str, Tensor] = {}
        self.sources: dict[str, Tensor] = {}
        self.frames: dict[str, Tensor] = {}
        self.tensors = {t.name: t for t in plan.inputs}
        self.input_index = {t.name: i for i, t in enumerate(plan.inputs)}
        self.arrays = {t.name for t in plan.inputs if t.format is None} | plan.encoded

    def _round(self, widened: BoundStep, output: Tensor) -> tuple[Op, ...]:
        """Round what a step has computed to float16, and return the ops that do."""
        name = output.name
        for others in (self.turned, self.frames):
            name = others[name].name if name in others else name
        if not is_half(output) or not is_rounded(widened.step):
            return ()
        first = len(self.segment.ops)
        if name in self.plain:
            x, y = self.plain[name], TensorBuffer.plain(widened.output)
            self.segment.append(broadcast_op(self.isa, "round", [(x, output.shape)], y, output.shape))
            self.plain[name] = y
        else:
            (x, *_) = self.buffers[name]
            y = x.like(f"{name} rounded")
            self.segment.append(round_op(self.isa, x, y))
            self.buffers[name] = (y,)
        return tuple(self.segment.ops[first:])

    def _request_plain(self, t: Tensor) -> TensorBuffer:
        """Return the plain buffer of an input; see `PlainContext`."""
        if t.value is not None:
            buffer = TensorBuffer.plain(t) if element_type(t) is not None else None
            if buffer is None or t.value.size == 0:
                raise NotLowered(f"constant '{t.name}' {list(t.shape)} {t.dtype}")
            buffer.elements = np.ascontiguousarray(t.elements)
            return buffer
        if t.name in self.plain:
            return self.plain[t.name]
        tensor = self.tensors[t.name]
        if element_type(tensor) is None or 0 in tensor.shape:
            raise NotLowered(f"'{t.name}' {list(t.shape)} {t.dtype}")
        buffer = TensorBuffer.plain(wide(tensor))
        if t.name in self.turned and self.turned[t.name].name in self.buffers:
            (blocks, *_) = self.buffers[self.turned[t.name].name]
            self.segment.append(ChannelsLastOp(self.isa, (blocks,), buffer, packs=False))
        elif t.name in self.frames:
            frames = self._request_plain(self.frames[t.name])
            self.segment.append(copy_view(self.isa, frames, from_frames(t.shape), buffer))
        elif t.name in self.sources and t.name not in self.buffers:
            last = self.sources[t.name]
            view = Strided.whole(last.shape).transposed(first_order(last.ndim))
            self.segment.append(copy_view(self.isa, self._request_plain(wide(last)), view, buffer))
        elif t.name in self.buffers and (t.name not in self.arrays or is_half(tensor)):
            (source, *_) = self.buffers[t.name]
            unpacked = TensorBuffer(t.name, source.shape, buffer.stored, 1, view_of=buffer)
            self.segment.append(UnpackOp(self.isa, (source,), unpacked, buffer.stored, 0))
        elif t.name not in self.arrays and not self.counts and is_converted(tensor):
            feed = replace(TensorBuffer.flat(f"{t.name} as given", prod(t.shape), "f32"), array=feed_key(t.name))
            nan = Slot(NAN_COUNTS, 8 * self.input_index[t.name])
            word = self.rules.of("inputs", t.name).word(tensor.one_format)
            self.segment.append(plain_quantize_op(self.isa, feed, buffer, word, tensor.fraction_bits, nan))
            self.segment.reads.add(feed_key(t.name))
        else:
            if t.name not in self.arrays:
                self._quantize_input(tensor)
            self.segment.reads.add(t.name)
            if is_half(tensor):
                source = replace(TensorBuffer.plain(tensor), array=t.name)
                self.segment.append(broadcast_op(self.isa, "cast", [(source, t.shape)], buffer, t.shape))
            else:
                buffer.array = t.name
        self.plain[t.name] = buffer
        return buffer

    def _request_buffer(
        self,
        tensor: Tensor,
        *,
        block: int | None = None,
        stored: str | None = None,
        shape: tuple[int, int, int, int] | None = None,
    ) -> TensorBuffer:
        """Return a buffer of an input; see `RequestBuffer`."""
        as_images, t = images(tensor.shape) if shape is None else shape, wide(tensor)
        if t.value is not None or as_images is None or stored_as(t) is None or 0 in as_images:
            raise NotLowered(f"'{t.name}' {list(t.shape)} {'constant' if t.value is not None else t.dtype}")
        existing = [b for b in self.buffers.get(t.name, ()) if b.shape == as_images]
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
        self.buffers[t.name] += (buffer,)
        return buffer

    def _pack(self, t: Tensor, shape: tuple[int, int, int, int], block: int | None) -> TensorBuffer:
        """Add the op that packs an array, or a tensor that lies in memory in another shape; return its buffer."""
        tensor = wide(self.tensors[t.name])
        is_elsewhere = is_half(self.tensors[t.name]) or t.name in self.turned or t.name in self.frames
        if is_elsewhere and t.name not in self.buffers and t.name not in self.sources:
            self._request_plain(tensor)
        buffer = TensorBuffer.of(Tensor(t.name, t.dtype, shape, None, tensor.format), block or natural_block(shape[1]))
        word, bits, nan = None, 0, Slot(NAN_COUNTS, 8 * self.input_index.get(t.name, 0))
        source_type = element_type(tensor)
        assert source_type is not None
        if t.name in self.sources and not (t.name in self.plain or t.name in self.buffers):
            if shape != images(t.shape):
                self._request_plain(tensor)
                return self._pack(t, shape, block)
            last = self._request_plain(wide(self.sources[t.name]))
            self.segment.append(ChannelsLastOp(self.isa, (last,), buffer, packs=True))
            self.buffers[t.name] = (buffer,)
            return buffer
        if t.name in self.plain and t.name not in self.buffers:
            plain = self.plain[t.name]
            source = TensorBuffer(f"{t.name} in order", shape, plain.stored, 1, view_of=plain)
        elif t.name in self.buffers:
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
                word, bits = self.rules.of("inputs", t.name).word(tensor.one_format), tensor.fraction_bits
                buffer.flagged = self.counts
            elif is_unquantized:
                self._quantize_input(tensor)
            self.segment.reads.add(key)
            source = TensorBuffer(key, shape, stored, 1, array=key)
        self.segment.append(PackOp(self.isa, (source,), buffer, word, bits, source_type, nan))
        self.buffers[t.name] = (*self.buffers.get(t.name, ()), buffer)
        return buffer

    @property
    def _held(self) -> set[str]:
        """The names of the tensors that lie in the memory of the current segment, or are transpositions of such."""
        others = self.turned.keys() | self.sources.keys() | self.frames.keys()
        return self.buffers.keys() | self.plain.keys() | others

    def _forget(self) -> None:
        """Begin a new segment without any tensors."""
        self.segment = Segment()
        self.buffers, self.plain, self.turned, self.sources, self.frames = {}, {}, {}, {}, {}

    def _turn(self, bound_step: BoundStep) -> bool:
        """Keep a Transpose that puts channels last or second for the readers of its output; see `turned`.

        A run that counts compares each tensor where it lies, so there every tensor has buffers of its own.
        """
        step, out, order = bound_step.step, bound_step.output, transposition(bound_step.step)
        if self.counts or order is None or step.operands[0].value is not None or 0 in out.shape:
            return False
        (x,) = step.operands
        is_last, is_first = order == last_order(x.ndim), order == first_order(x.ndim)
        if is_first and x.name in self.turned and self.turned[x.name].name in self.buffers:
            self.buffers[out.name] = self.buffers[self.turned[x.name].name]
        elif is_last and x.name in self.buffers and x.name not in self.plain and self._is_stored_raw(x):
            self.turned[out.name] = wide(x)
        elif is_first and self._is_stored_raw(x):
            self.sources[out.name] = x
        else:
            return False
        return True

    def _is_stored_raw(self, t: Tensor) -> bool:
        element = element_type(wide(t))
        if element is None or stored_as(wide(t)) is None or images(t.shape) is None:
            return False
        return is_raw(element, TensorBuffer.of(wide(t)))

    def _turned_step(self, bound_step: BoundStep) -> BoundStep | None:
        """Return a step that reads turned tensors as the same step on their bases; None for other steps."""
        step, out = bound_step.step, bound_step.output
        found = on_bases(step, self._base)
        if found is None or not self._is_stored_raw(out):
            return None
        if len(found.shape) > 2:  # a mean of whole images has no channels last
            base = base_of(out, f"{out.name} with channels second")
            self.tensors[base.name] = self.turned[out.name] = base
            out = base
        return replace(bound_step, step=found, output=out)

    def _base(self, t: Tensor) -> Tensor | None:
        """Return the tensor with channels second of a tensor with channels last, which is packed if it must be."""
        if t.name not in self.turned:
            if not self._is_stored_raw(t):
                return None
            base = base_of(t, f"{t.name} with channels second")
            self.tensors[base.name], self.sources[base.name], self.turned[t.name] = base, t, base
        return self.turned[t.name]

    def _taps(self, step: Linear, depth: Depth, name: str) -> Tensor:
        """Put the taps of a convolution along the depth together; return the tensor of frames."""
        x, group = step.x, step.product.group  # type: ignore[attr-defined]
        frames = frames_of(x, x.shape[1] * depth.kernel, depth.out, name)
        source = self.frames.get(x.name)
        buffer, plain = TensorBuffer.plain(frames), self._request_plain(source or x)
        kind = x.dtype if x.format is None else x.one_format.word().dtype
        zero = self._request_plain(Tensor(f"{name} zero", kind, (1,), np.zeros(1, kind)))
        pieces = tuple(tap_pieces(x.shape, depth, group, are_frames=source is not None))
        self.segment.append(CopyOp(self.isa, (plain, zero), buffer, pieces))
        self.tensors[name], self.plain[name] = frames, buffer
        return frames

    def _as_frames(self, x: Tensor) -> Tensor:
        """Return the tensor of the frames of a tensor with three spatial axes, which is made if there is none yet."""
        if x.name not in self.frames:
            frames = frames_of(x, x.shape[1], x.shape[2], f"{x.name} frames")
            buffer, view = TensorBuffer.plain(frames), Strided.whole(x.shape).transposed((0, 2, 1, 3, 4))
            self.segment.append(copy_view(self.isa, self._request_plain(x), view, buffer))
            self.tensors[frames.name], self.plain[frames.name] = frames, buffer
            self.frames[x.name] = frames
        return self.frames[x.name]

    def _largest(self, frames: Tensor, out: Tensor, depth: Depth) -> Tensor:
        """Add the largest of the frames in each window along the depth; return the tensor of those."""
        plain, size = self._request_plain(frames), prod(frames.shape[1:])
        taps: list[tuple[TensorBuffer, tuple[int, ...]]] = []
        found = frames_of(out, out.shape[1], depth.out, f"{out.name} pooled")
        for k in range(depth.kernel):
            pieces = frame_pieces(size, out.shape[0], depth, k)
            if pieces is None:
                raise NotLowered("a window without an element")
            tap = TensorBuffer.plain(Tensor(f"{found.name} {k}", found.dtype, found.shape, None, found.format))
            self.segment.append(CopyOp(self.isa, (plain,), tap, tuple(pieces)))
            taps.append((tap, found.shape))
        while len(taps) > 1:
            some, taps = taps[:MAX_TERMS], taps[MAX_TERMS:]
            buffer = TensorBuffer.plain(found)
            self.segment.append(broadcast_op(self.isa, "maximum", some, buffer, found.shape))
            taps.insert(0, (buffer, found.shape))
        self.tensors[found.name], self.plain[found.name] = found, taps[0][0]
        return found

    def _quantize_input(self, t: Tensor) -> None:
        """Add the quantization of an input by the reference, before all other parts."""
        self.parts.insert(0, QuantizePart(t, self.plan, self.counts))
        self.reads.insert(0, {feed_key(t.name)})
        self.arrays.add(t.name)

    def _unpack(self, t: Tensor, *, real: bool = False) -> str:
        """Add what makes a tensor an array, of codes or of real numbers; return the name of the array."""
        if is_half(t):
            return self._write_half(t)
        if t.name not in self.plain and t.name not in self.buffers:
            self._request_plain(t)
        if t.name in self.plain and not (real and t.format is not None):
            return self._write_out(t)
        if t.name in self.plain and t.name not in self.buffers:
            return self._write_real(t)
        buffer, key = self.buffers[t.name][0], f"\0real {t.name}" if real else t.name
        target = "f32" if real else element_type(t)
        assert target is not None
        dtype = np.dtype(np.float32) if target == "f32" else t.one_format.word().dtype
        array = TensorBuffer(key, buffer.shape, "f32" if target == "f32" else buffer.stored, 1, array=key)
        self.segment.append(UnpackOp(self.isa, (buffer,), array, target, t.fraction_bits if real else 0))
        self.segment.outputs[key] = OutputArray(key, t.shape, dtype)
        if not real:
            self.arrays.add(t.name)
        return key

    def _write_out(self, t: Tensor) -> str:
        """Make a plain buffer an array: its memory, or a copy where that has a name already."""
        buffer = self.plain[t.name]
        storage = buffer.storage
        if storage.array is None and storage.elements is None:
            storage.array = t.name
        else:
            copy = replace(TensorBuffer.plain(t), array=t.name)
            self.segment.append(copy_bytes_op(self.isa, buffer, copy))
        dtype = t.dtype if t.format is None else t.one_format.word().dtype
        self.segment.outputs[t.name] = OutputArray(t.name, t.shape, dtype)
        self.arrays.add(t.name)
        return t.name

    def _write_real(self, t: Tensor) -> str:
        """Make an array of real numbers of the codes in a plain buffer."""
        key = f"\0real {t.name}"
        array = replace(TensorBuffer.flat(key, prod(t.shape), "f32"), array=key)
        self.segment.append(decode_op(self.isa, self.plain[t.name], array, t.fraction_bits))
        self.segment.outputs[key] = OutputArray(key, t.shape, np.dtype(np.float32))
        return key

    def _write_half(self, t: Tensor) -> str:
        """Make an array of float16 from a tensor whose elements are held in float32."""
        array = replace(TensorBuffer.plain(t), array=t.name)
        source = self._request_plain(wide(t))
        self.segment.append(broadcast_op(self.isa, "cast", [(source, t.shape)], array, t.shape))
        self.segment.outputs[t.name] = OutputArray(t.name, t.shape, t.dtype)
        self.arrays.add(t.name)
        return t.name
