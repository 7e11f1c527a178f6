"""From a plan's steps to ops on native kernels, section by section; what they do not compute, the reference does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qengine.kernels.isa import Isa
from qengine.kernels.layout import Halo, natural_block
from qengine.kernels.program import Slot
from qengine.model.steps import Arithmetic, Combine, Join, Linear, Mean, Move, Resize, Step, Table, Tensor
from qengine.model.steps.forms import AxisExtreme, Bounded, Concatenated, Reshaped, WindowMax
from qengine.runtime.native.channelwise import DepthwiseOp, FewOp
from qengine.runtime.native.convolution import DotOp
from qengine.runtime.native.edges import EnterOp, LeaveOp, RelayoutOp
from qengine.runtime.native.elements import lower_bounded, lower_combine, lower_concat
from qengine.runtime.native.executor import NAN, Executor, Made, NativePart, Part, QuantizePart, ReferencePart
from qengine.runtime.native.functions import lower_table
from qengine.runtime.native.linear import lower_linear
from qengine.runtime.native.op import Op, Unfit
from qengine.runtime.native.place import Place, images, stored_as
from qengine.runtime.native.pooling import lower_max, lower_mean
from qengine.runtime.native.resizing import AlongOp, lower_resize
from qengine.runtime.native.schedule import compile_ops
from qengine.runtime.plan.plan import BoundStep, Plan


def make_executor(plan: Plan, isa: Isa, threads: int, *, raw: bool) -> Executor:
    """Return a plan on native kernels.

    Parameters
    ----------
    raw
        Outputs in fixed point are codes, instead of real numbers.
    """
    return _Lowering(plan, isa, threads, raw).executor()


@dataclass
class _Section:
    """Steps that run without coming back to Python, and the ops that compute each."""

    ops: list[Op] = field(default_factory=list)
    steps: list[tuple[BoundStep, tuple[Op, ...]]] = field(default_factory=list)
    made: dict[str, Made] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)


class _Lowering:
    """What is known while the steps of a plan are given kernels, one after the other."""

    def __init__(self, plan: Plan, isa: Isa, threads: int, raw: bool) -> None:
        self.plan, self.isa, self.threads, self.raw = plan, isa, threads, raw
        self.arithmetic = plan.fixed.arithmetic if plan.fixed else Arithmetic()
        self.section = _Section()
        self.parts: list[Part] = []
        self.reads: list[set[str]] = []  # the arrays that each part reads
        self.places: dict[str, list[Place]] = {}  # where tensors lie in the current section
        self.tensors = {t.name: t for t in plan.inputs}
        self.fed = {t.name: i for i, t in enumerate(plan.inputs)}
        # Arrays of codes or numbers; of an input in fixed point there is at first only what was fed.
        self.arrays = {t.name for t in plan.inputs if t.format is None} | plan.encoded
        self.last_read = {s: i for i, b in enumerate(plan.steps) for s in b.sources if isinstance(s, str)}

    def executor(self) -> Executor:
        for i, bound in enumerate(self.plan.steps):
            why = self._native(bound)
            self.tensors[bound.output.name] = bound.output
            if why is not None:
                self._reference(bound, why, i)
        outputs = {name: self._output(t) for name, t in self.plan.outputs.items() if t.value is None}
        self._close(len(self.plan.steps))
        kept = {key for key, _ in outputs.values()}
        release, later = [], set(kept)
        for reads in reversed(self.reads):
            release.append(tuple(sorted(reads - later)))
            later |= reads
        read = set().union(*self.reads)
        numbers = [t for t in self.plan.inputs if t.format is not None and t.name not in self.plan.encoded]
        fed = [t for t in numbers if f"\0feed {t.name}" not in read]
        parts, gone = tuple(self.parts), tuple(reversed(release))
        return Executor(self.plan, self.isa, self.threads, parts, outputs, gone, tuple(fed))

    def _native(self, bound: BoundStep) -> str | None:
        """Add a step to the section; where native kernels do not compute it, add nothing and return why."""
        before = len(self.section.ops)
        places = {name: list(found) for name, found in self.places.items()}
        try:
            if stored_as(bound.output) is None or images(bound.output.shape) is None or 0 in bound.output.shape:
                raise Unfit(f"{len(bound.output.shape)} axes of {bound.output.dtype}")
            alias = self._same_memory(bound)
            ops = [] if alias else self._lowered(bound.step, bound.output)
        except Unfit as why:
            del self.section.ops[before:]
            self.places = places
            return str(why)
        for op in ops:
            self._append(op)
        self.places[bound.output.name] = alias or [ops[-1].out]
        self.section.steps.append((bound, tuple(ops)))
        return None

    def _append(self, op: Op) -> None:
        self.section.ops.append(op)
        for place in op.inputs:
            place.halo = place.halo.covering(_halo(op, place))
        if isinstance(op, AlongOp):
            op.out.halo = op.out.halo.covering(Halo(gap=1))  # it writes whole vectors, beyond the last pixel

    def _same_memory(self, bound: BoundStep) -> list[Place]:
        """Return the places of a step that only gives a tensor another shape, if it lies in memory as before."""
        step = bound.step
        if not isinstance(step, Move) or not isinstance(step.function, Reshaped):
            return []
        shape = images(step.shape)
        return [p for p in self.places.get(step.x.name, []) if p.shape == shape and step.x.value is None]

    def _lowered(self, step: Step, out: Tensor) -> list[Op]:
        isa, want, arithmetic = self.isa, self._want, self.arithmetic
        if isinstance(step, Linear):
            return lower_linear(step, out, arithmetic, isa, want)
        if isinstance(step, Resize):
            return lower_resize(step, out, arithmetic, isa, want)
        if isinstance(step, Combine):
            return lower_combine(step, out, arithmetic, isa, want)
        if isinstance(step, Table):
            return lower_table(step, out, arithmetic, isa, want)
        if isinstance(step, Mean):
            return lower_mean(step, out, arithmetic, isa, want)
        if isinstance(step, Move) and isinstance(step.function, WindowMax | AxisExtreme):
            return lower_max(step, out, isa, want)
        if isinstance(step, Move) and isinstance(step.function, Bounded):
            return lower_bounded(step, out, isa, want)
        if isinstance(step, Join) and isinstance(step.function, Concatenated):
            return lower_concat(step, out, arithmetic, isa, want)
        raise Unfit(f"{step.kind}, which has no native kernel")

    def _want(
        self,
        t: Tensor,
        *,
        block: int | None = None,
        stored: str | None = None,
        shape: tuple[int, int, int, int] | None = None,
    ) -> Place:
        """Return the place of an input, made if there is none of the kind."""
        as_images, kind = images(t.shape) if shape is None else shape, stored_as(t)
        if t.value is not None or as_images is None or kind is None or 0 in as_images:
            raise Unfit(f"'{t.name}' {list(t.shape)} {'constant' if t.value is not None else t.dtype}")
        found = [p for p in self.places.get(t.name, []) if p.shape == as_images]

        def fits(place: Place) -> bool:
            return (block is None or place.block == block) and (stored is None or place.stored == stored)

        if not found:
            found = [self._enter(t, as_images, block)]
        for place in found:
            if fits(place):
                return place
        changes: dict[str, Any] = {} if block is None else {"block": block}
        if stored is not None and stored != found[0].stored:
            changes |= {"stored": stored, "zero": 0}
        place = found[0].like(f"{t.name} ({len(self.places[t.name])})", **changes)
        self._append(RelayoutOp(self.isa, (found[0],), place))
        self.places[t.name].append(place)
        return place

    def _enter(self, t: Tensor, shape: tuple[int, int, int, int], block: int | None) -> Place:
        """Bring an array, or a tensor that lies in another shape, into the kernels' layout."""
        known = self.tensors[t.name]
        place = Place.of(Tensor(t.name, t.dtype, shape, None, known.format), block or natural_block(shape[1]))
        word, bits, nan = None, 0, Slot(NAN, 8 * self.fed.get(t.name, 0))
        codes = "f32" if known.format is None else code_type(known)
        if t.name in self.places:
            # Seen in another shape: out to the order that shapes are about, and in again.
            first = self.places[t.name][0]
            flat = first.like(f"{t.name} in order", block=1)
            self._append(LeaveOp(self.isa, (first,), flat, codes, 0))
            outside, source = Place(f"{t.name} in order", shape, flat.stored, 1, same_as=flat), codes
        elif t.name in self.arrays or known.format is None:
            outside, source = Place(t.name, shape, place.stored, 1, plain=t.name), codes
            self.section.read.add(t.name)
        elif known.dtype == np.float32:
            key = f"\0feed {t.name}"
            outside, source = Place(key, shape, "f32", 1, plain=key), "f32"
            word, bits = self.arithmetic.word(known.one_format), known.fraction_bits
            self.section.read.add(key)
        else:
            self._quantized(known)
            outside, source = Place(t.name, shape, place.stored, 1, plain=t.name), codes
            self.section.read.add(t.name)
        self._append(EnterOp(self.isa, (outside,), place, word, bits, source, nan))
        self.places.setdefault(t.name, []).append(place)
        return place

    def _quantized(self, t: Tensor) -> None:
        """Have an input's codes as an array."""
        self.parts.insert(0, QuantizePart(t, self.plan, f"\0feed {t.name}"))
        self.reads.insert(0, {f"\0feed {t.name}"})
        self.arrays.add(t.name)

    def _leave(self, t: Tensor, *, real: bool = False) -> str:
        """Bring a tensor out of the kernels' layout, as it is or as real numbers; return the array's name."""
        place, key = self.places[t.name][0], f"\0real {t.name}" if real else t.name
        target = "f32" if real or t.format is None else code_type(t)
        dtype = np.dtype(np.float32) if target == "f32" else t.one_format.word().dtype
        outside = Place(key, place.shape, "f32" if target == "f32" else place.stored, 1, plain=key)
        self._append(LeaveOp(self.isa, (place,), outside, target, t.fraction_bits if real else 0))
        self.section.made[key] = Made(key, t.shape, dtype)
        if not real:
            self.arrays.add(t.name)
        return key

    def _output(self, t: Tensor) -> tuple[str, Tensor | None]:
        """Return the name of the array of an output, and the tensor if it is still codes that must be numbers."""
        real = t.format is not None and not self.raw
        if t.name in self.places and t.name not in self.arrays:
            if real and t.dtype == np.float32:
                return self._leave(t, real=True), None
            self._leave(t)
        elif t.name not in self.arrays:
            self._quantized(t)
        return t.name, t if real else None

    def _reference(self, bound: BoundStep, why: str, index: int) -> None:
        read = {s for s in bound.sources if isinstance(s, str)}
        for name in sorted(read - self.arrays):
            if name in self.places:
                self._leave(self.tensors[name])
            else:
                self._quantized(self.tensors[name])
        self._close(index)
        self.parts.append(ReferencePart(bound, why))
        self.reads.append(read)
        self.arrays.add(bound.output.name)

    def _close(self, index: int) -> None:
        """End the section before a step: what later steps read must lie in arrays."""
        ended = index == len(self.plan.steps)
        for name in sorted(self.places.keys() - self.arrays):
            later = self.last_read.get(name, -1) > index or (name in self.plan.outputs and not ended)
            if later and not (name in self.fed and self.tensors[name].format is not None):
                self._leave(self.tensors[name])
        section = self.section
        if section.ops or section.steps:
            compiled = compile_ops(section.ops, self.isa, self.threads)
            self.parts.append(
                NativePart(tuple(section.ops), compiled, tuple(section.steps), tuple(section.made.values()))
            )
            self.reads.append(section.read)
        self.section, self.places = _Section(), {}


def code_type(t: Tensor) -> str:
    """Return the element type of a tensor's codes, as kernels name it."""
    dtype = t.one_format.word().dtype
    return f"{dtype.kind}{8 * dtype.itemsize}"


def _halo(op: Op, place: Place) -> Halo:
    """Return what an op reads around an input."""
    if isinstance(op, DotOp):
        samplings = op.samplings
    elif isinstance(op, FewOp | DepthwiseOp):
        samplings = [op.sampling]
    else:
        return Halo()
    _, _, height, width = place.shape
    halo = Halo()
    for s in samplings:
        top, bottom, left, right = s.reach(*op.out.shape[2:])
        gap = max(-left, right - width + 1, 0)
        halo = halo.covering(Halo(max(-top, 0), max(bottom - height + 1, 0), gap))
    return halo
