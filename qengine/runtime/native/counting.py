"""A counted run on native kernels: a model in fixed point and in float32 at once, compared tensor by tensor.

A report needs, of every tensor, how many codes saturated or underflowed, the largest code, and the noise against
float32. Two runs after each other would have to keep every tensor of the first. So both plans become *one*: its steps
alternate, first the float32 step that computes a tensor, then the fixed-point step. Each kernel that rounds stores
*flags* with its codes (`kernels.epilogue`), and right after the two steps a `StatisticsOp` reads codes, flags and
float32 values of the tensor and writes a record for each row. The schedule treats it like any op. Large tensors are
computed and counted in bands, and are never whole in memory (`schedule`, `bands`).

The reference counts where it computes a step: it adds to a tally. Tensors that kernels do not read, such as those of
float16, are compared as arrays after the segment that computes them. Results and counts are those of the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.isa import Isa
from qengine.kernels.reference.requantize import new_tally
from qengine.model.steps import Join, Move, Tensor
from qengine.runtime.native.executor import Arrays, Executor, OutputArray, OutputSource, tally_key
from qengine.runtime.native.lowering_table import NotLowered
from qengine.runtime.native.op import Op
from qengine.runtime.native.plan_lowering import PlanLowering
from qengine.runtime.native.statistics import (
    StatisticsOp,
    TensorStatistics,
    measure,
    of_records,
    records_buffer,
    sample_step,
)
from qengine.runtime.native.tensor_buffer import TensorBuffer, element_type, images, stored_as
from qengine.runtime.plan.plan import BoundStep, Plan, decode_output

_MIN_ARRAY_ELEMENTS = 1 << 16
"""Fewest elements of two arrays that a kernel compares; NumPy compares fewer as fast."""


def float_name(name: str) -> str:
    """Return the name of a tensor's float32 counterpart in the common plan."""
    return f"\0float32 {name}"


@dataclass(frozen=True)
class CountedRun:
    """Outputs and figures of a counted run.

    Attributes
    ----------
    codes : outputs of the plan in fixed point that are computed, as codes.
    real : outputs of the plan in fixed point as real numbers.
    exact : the outputs in float32.
    tensors : figures of every tensor in fixed point.
    """

    codes: Mapping[str, NDArray[Any]]
    real: Mapping[str, NDArray[Any]]
    exact: Mapping[str, NDArray[Any]]
    tensors: Mapping[str, TensorStatistics]


@dataclass(frozen=True)
class _Compared:
    """Names of the arrays that a run gives for a tensor in fixed point.

    Attributes
    ----------
    size : number of elements.
    records : records of the kernel; None where the tensor was compared as arrays.
    sample : sample of the float32 values.
    tally : counts of the reference; None where the records have them.
    """

    size: int
    records: str | None
    sample: str | None
    tally: str | None


@dataclass(frozen=True)
class ComparePart:
    """Comparison of a tensor's codes with its float32 values as arrays, between segments.

    Attributes
    ----------
    tensor : tensor in fixed point.
    exact : name of the array of its float32 values.
    """

    tensor: Tensor
    exact: str

    def run(self, arrays: Arrays) -> None:
        """Add the sums of squares, and a sample with its extremes, to the arrays."""
        real = decode_output(self.tensor, arrays[self.tensor.name], raw=False)
        found = measure(real, arrays[self.exact], new_tally())
        sums = [np.nan if v is None else v for v in (found.signal, found.noise)]
        arrays[_sums_key(self.tensor.name)] = np.array([*sums, found.signal is not None])
        arrays[_sample_key(self.tensor.name)] = found.sample


def _sums_key(name: str) -> str:
    return f"\0sums {name}"


def _sample_key(name: str) -> str:
    return f"\0sample {name}"


@dataclass(frozen=True)
class CountedExecutor:
    """Two plans of one model as one program that counts.

    Attributes
    ----------
    executor : executor of the common plan.
    fixed, float32 : the two plans.
    compared : names of the arrays of figures for each tensor in fixed point.
    """

    executor: Executor
    fixed: Plan
    float32: Plan
    compared: Mapping[str, _Compared]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> CountedRun:
        """Run both plans on the same feeds; see `Executor.run`."""
        found = self.executor.run({**feeds, **{float_name(t.name): feeds[t.name] for t in self.fixed.inputs}})
        computed = [name for name, t in self.fixed.outputs.items() if t.value is None]
        return CountedRun(
            {name: found[name] for name in computed},
            {name: found.get(_real_name(name), found[name]) for name in computed},
            {name: found[float_name(name)] for name in computed},
            {name: _figures(name, one, found) for name, one in self.compared.items()},
        )


def _real_name(name: str) -> str:
    return f"\0real {name}"


def _figures(name: str, one: _Compared, found: Mapping[str, NDArray[Any]]) -> TensorStatistics:
    """Return the figures of a tensor from the arrays of a run."""
    tally = None if one.tally is None else found[one.tally]
    sample = None if one.sample is None else found[one.sample]
    if one.records is not None:
        counted = of_records(found[one.records], one.size, tally, sample)
        if _sums_key(name) not in found:
            return counted
        tally, sample = counted.tally, found[_sample_key(name)]
    assert tally is not None
    assert sample is not None
    signal, noise, has_sums = found[_sums_key(name)]
    return TensorStatistics(tally, signal if has_sums else None, noise if has_sums else None, sample)


def make_counted_executor(fixed: Plan, float32: Plan, isa: Isa, threads: int) -> CountedExecutor | None:
    """Return two plans of one model, for the same feeds and outputs, as one program that counts.

    None where their steps are not those of the same tensors.
    """
    plan = _common_plan(fixed, float32)
    if plan is None:
        return None
    lowering = _CountedLowering(plan, isa, threads)
    executor = lowering.executor()
    return CountedExecutor(executor, fixed, float32, lowering.compared)


def _common_plan(fixed: Plan, float32: Plan) -> Plan | None:
    """Return a plan whose steps alternate between those of two plans; None where the plans do not correspond."""
    names = [[t.name for t in plan.inputs] + [s.output.name for s in plan.steps] for plan in (fixed, float32)]
    computed = [{name for name, t in plan.outputs.items() if t.value is None} for plan in (fixed, float32)]
    if names[0] != names[1] or computed[0] != computed[1] or fixed.encoded:
        return None
    steps = [step for pair in zip(map(_renamed_step, float32.steps), fixed.steps, strict=True) for step in pair]
    return replace(
        fixed,
        inputs=(*fixed.inputs, *map(_renamed, float32.inputs)),
        steps=tuple(steps),
        outputs={**fixed.outputs} | {float_name(name): _renamed(t) for name, t in float32.outputs.items()},
    )


def _renamed(t: Tensor) -> Tensor:
    """Return a tensor of the float32 plan under its name in the common plan."""
    return Tensor(float_name(t.name), t.dtype, t.shape, t.value, t.format)


def _renamed_step(bound_step: BoundStep) -> BoundStep:
    """Return a step of the float32 plan with the names of the common plan."""
    return bound_step.with_operands(_renamed, _renamed(bound_step.output))


class _CountedLowering(PlanLowering):
    """Lowering of a common plan: after each tensor in fixed point it adds the comparison with float32.

    Attributes
    ----------
    compared : names of the arrays of figures for each tensor in fixed point.
    pending : comparisons of arrays that are added after the current segment, with the names that they read.
    """

    counts = True

    def __init__(self, plan: Plan, isa: Isa, threads: int) -> None:
        super().__init__(plan, isa, threads, raw=True)
        self.compared: dict[str, _Compared] = {}
        self._pending: list[ComparePart] = []
        for i, bound_step in enumerate(plan.steps):
            if bound_step.output.format is not None:  # the comparison reads the counterpart after this step
                name = float_name(bound_step.output.name)
                self.last_read[name] = max(self.last_read.get(name, -1), i + 1)

    def _before_steps(self) -> None:
        """Compare the inputs in fixed point."""
        for t in self.plan.inputs:
            if t.format is None:
                continue
            is_native = stored_as(t) is not None and images(t.shape) is not None and 0 not in t.shape
            if is_native and t.dtype == np.float32:
                self._request_buffer(t)
            else:
                self._quantize_input(t)
            self._compare(t, has_flags=t.name in self.buffers)

    def _after_step(self, bound_step: BoundStep, *, is_native: bool) -> None:
        """Compare the tensor that a step computed, where it is in fixed point."""
        t = bound_step.output
        if t.format is None:
            return
        if not is_native:
            self._compare(t, has_flags=False)
            return
        _, ops = self.segment.steps[-1]
        (buffer, *_) = self.buffers.get(t.name) or [self.plain[t.name]]
        is_new = bool(ops) and ops[-1].out is buffer
        self._compare(t, has_flags=is_new and buffer.flagged)

    def _lower_to_plain(self, bound_step: BoundStep) -> tuple[Op, ...]:
        """Add a step on plain buffers; in fixed point only one that rounds nothing, as these kernels store no flags."""
        step, fmt = bound_step.step, bound_step.output.format
        moves = isinstance(step, Move) or (isinstance(step, Join) and all(t.format == fmt for t in step.joined))
        if fmt is not None and not moves:
            raise NotLowered("a step that counts, on plain buffers")
        return super()._lower_to_plain(bound_step)

    def _compare(self, t: Tensor, *, has_flags: bool) -> None:
        """Add the comparison of a tensor with its float32 counterpart, on a kernel where there is one."""
        name, exact = t.name, self.tensors[float_name(t.name)]
        is_native = name in self.buffers or name in self.plain
        tally = None if is_native else tally_key(name)
        is_comparable = exact.shape == t.shape and exact.dtype == t.dtype == np.float32
        buffers = self._buffers_to_compare(t, exact) if is_comparable else None
        if buffers is None and is_native:
            buffers = (self.buffers[name][0] if name in self.buffers else self.plain[name],)
        if buffers is None or len(buffers) == 1:
            if name not in self.arrays:
                self._unpack(t)
            if exact.name in self.buffers | self.plain and exact.name not in self.arrays:
                self._unpack(exact)
            self._pending.append(ComparePart(t, exact.name))
        if buffers is None:
            self.compared[name] = _Compared(prod(t.shape), None, _sample_key(name), tally)
            return
        codes, size = buffers[0], prod(t.shape)
        key, sample = f"\0statistics {name}", None
        if len(buffers) == 2:
            sample = _sample_key(name)
            self.segment.outputs[sample] = OutputArray(sample, (-(-size // sample_step(size)),), np.dtype(np.float32))
        is_plain = codes not in self.buffers.get(name, ())
        kind, zero = (element_type(t), 0) if is_plain else (codes.stored, codes.zero)
        assert kind is not None
        records = records_buffer(key, codes.shape[2])
        self.segment.outputs[key] = OutputArray(key, records.shape[2:], np.dtype(np.float64))
        op = StatisticsOp(self.isa, buffers, records, kind, zero, t.fraction_bits, has_flags, sample)
        self.segment.append(op)
        self.compared[name] = _Compared(size, key, sample, tally)

    def _buffers_to_compare(self, t: Tensor, exact: Tensor) -> tuple[TensorBuffer, ...] | None:
        """Return the buffers of a tensor and its counterpart, in the same blocks; None to compare arrays."""
        codes, values = self.buffers.get(t.name), self.buffers.get(exact.name)
        if codes:
            first = codes[0]
            return first, self._request_buffer(exact, block=first.block, shape=first.shape)
        if values:
            return self._request_buffer(t, block=values[0].block, shape=values[0].shape), values[0]
        if not {t.name, exact.name} & self.plain.keys() and prod(t.shape) < _MIN_ARRAY_ELEMENTS:
            return None
        return self._request_plain(t), self._request_plain(exact)

    def _close_segment(self, index: int) -> None:
        """End the segment, and add the comparisons of arrays that waited for it."""
        super()._close_segment(index)
        for part in self._pending:
            self.parts.append(part)
            self.reads.append({part.tensor.name, part.exact})
        self._pending = []

    def _outputs(self) -> dict[str, OutputSource]:
        """Return the sources of the outputs: codes, real numbers, float32, and what the figures are made of."""
        outputs: dict[str, OutputSource] = {}
        for name, t in self.plan.outputs.items():
            if t.value is None:
                if t.format is not None:
                    outputs[_real_name(name)] = self._output(t, raw=False)
                outputs[name] = self._output(t, raw=True)
        for one in self.compared.values():
            keys = (one.records, one.sample, one.tally)
            outputs |= {key: OutputSource(key) for key in keys if key is not None}
        for part in self._all_comparisons():
            name = part.tensor.name
            outputs |= {key: OutputSource(key) for key in (_sums_key(name), _sample_key(name))}
        return outputs

    def _all_comparisons(self) -> list[ComparePart]:
        return [*(part for part in self.parts if isinstance(part, ComparePart)), *self._pending]
