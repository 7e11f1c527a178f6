"""Runs that count the values of every tensor: what a calibration sees.

A plan in float32 is lowered as always, and after each step comes an op that counts the step's output where it lies: in
blocks of channels, while it is in the cache. So no tensor is unpacked, and none lives longer than in a plain run. What
kernels do not count (a step of the reference, a tensor that the caller wants to look at) is given to the caller as an
array.

Bins depend on the range of a tensor, which only a run tells. A run counts what lies within the range that is known. If
a tensor goes beyond it, its range is widened and the same run is made again, in which only this tensor is counted, and
of it only what lies beyond the old range. The first run is always made twice; after that ranges seldom grow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import frexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.histogram import Count, Counters
from qengine.kernels.isa import Isa
from qengine.kernels.program import Call
from qengine.kernels.reference.histogram import NOTHING, Counted
from qengine.model.steps import Tensor
from qengine.runtime.native.executor import Arrays
from qengine.runtime.native.op import Op, Rows
from qengine.runtime.native.plan_lowering import PlanLowering
from qengine.runtime.native.tensor_buffer import TensorBuffer, View, images
from qengine.runtime.plan.plan import BoundStep, Plan

OnArray = Callable[[Tensor, NDArray[Any]], None]
"""Function that is called with a tensor which kernels do not count."""


@dataclass(eq=False)
class CountOp(Op):
    """Counts of a tensor; each call has memory of its own.

    Attributes
    ----------
    tensor : name of the tensor.
    counters : memory of the calls.
    has_channels : whether axis 1 of the tensor counts the channels of the buffer.
    """

    tensor: str = ""
    has_channels: bool = False
    counters: tuple[Counters, ...] = ()

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:  # noqa: ARG002
        """Return the call that counts some rows."""
        (x,), (buffer,) = views, self.inputs
        self.kernel = "count"
        batch, channels, _, width = buffer.shape
        own = Counters(channels, buffer.block)
        self.counters = (*self.counters, own)
        arguments = {
            **x.arguments("x", rows.first),
            **{"batch": batch, "blocks": -(-channels // buffer.block), "rows": rows.count, "width": width},
            **{"channels": channels},
            **own.addresses,
        }
        return [Call(Count(buffer.block), arguments)]


@dataclass(frozen=True)
class _ArrayPart:
    """A part that gives an array to the caller."""

    tensor: Tensor
    observer: Observer

    def run(self, arrays: Arrays) -> None:
        """Call the caller's function."""
        self.observer.give(self.tensor, arrays[self.tensor.name])


class _ObservingLowering(PlanLowering):
    """Lowering of a plan with an op or a part after each step that counts its output."""

    def __init__(self, observer: Observer, plan: Plan, isa: Isa, threads: int, as_arrays: Collection[str]) -> None:
        super().__init__(plan, isa, threads, raw=False)
        self._observer, self._as_arrays = observer, as_arrays
        self._pending: list[Tensor] = []
        self.count_ops: list[CountOp] = []

    def _after_step(self, bound_step: BoundStep, *, is_native: bool) -> None:
        tensor = bound_step.output
        if not tensor.is_float or (is_native and 0 in tensor.shape):  # a move of nothing gives no memory to count
            return
        if not is_native:
            self._give(tensor)
            return
        buffer = next(iter(self.buffers.get(tensor.name, ())), self.plain.get(tensor.name))
        # Three spatial axes lie in frames, and are put together first.
        if buffer is None or tensor.name in self._as_arrays or buffer.stored != "f32":
            if tensor.name not in self.arrays:
                self._unpack(tensor)
            self._pending.append(tensor)
            return
        shape, key = (1, 1, buffer.shape[2], 1), f"\0counts {tensor.name}"
        has_channels = images(tensor.shape) == buffer.shape
        out = TensorBuffer(key, shape, "u8", 1, array=key)
        op = CountOp(self.isa, (buffer,), out, tensor.name, has_channels=has_channels)
        self.segment.append(op)
        self.count_ops.append(op)

    def _turn(self, bound_step: BoundStep) -> bool:  # noqa: ARG002
        """Keep no Transpose for the readers of its output: the output is counted too."""
        return False

    def _give(self, tensor: Tensor) -> None:
        self.parts.append(_ArrayPart(tensor, self._observer))
        self.reads.append({tensor.name})

    def _close_segment(self, index: int) -> None:
        super()._close_segment(index)
        for tensor in self._pending:
            self._give(tensor)
        self._pending.clear()


class Observer:
    """A plan in float32 on native kernels that counts the values of its tensors, in all runs together.

    Parameters
    ----------
    plan
        The plan.
    isa, threads
        Instruction set of the kernels, and number of threads.
    as_arrays
        Names of tensors that are given to the caller as arrays.

    Attributes
    ----------
    plan : the plan.
    extremes : the smallest and the largest value in the last run of each tensor that kernels count.
    """

    def __init__(self, plan: Plan, isa: Isa, threads: int, as_arrays: Collection[str]) -> None:
        self.plan = plan
        lowering = _ObservingLowering(self, plan, isa, threads, as_arrays)
        self._executor = lowering.executor()
        self._ops = {op.tensor: op for op in lowering.count_ops}
        self._exponents = dict.fromkeys(self._ops, NOTHING)
        self._counted: list[tuple[str, int, Counted]] = []
        self.extremes: dict[str, tuple[float, float]] = {}
        self._on_array: OnArray | None = None
        for op in self._ops.values():
            for one in op.counters:
                one.begin(NOTHING)

    def give(self, tensor: Tensor, array: NDArray[Any]) -> None:
        """Give an array to the caller, unless the run is one that is made again."""
        if self._on_array is not None:
            self._on_array(tensor, array)

    def run(self, feeds: Mapping[str, NDArray[Any]], on_array: OnArray) -> None:
        """Run the plan and count its tensors.

        Parameters
        ----------
        feeds
            An array for every input of the plan.
        on_array
            Function that is called with every floating-point tensor that kernels do not count, the inputs excepted.
        """
        self._on_array = on_array
        try:
            self._executor.run(feeds)
        finally:
            self._on_array = None
        for name, op in self._ops.items():
            least, most = zip(*(one.extremes for one in op.counters), strict=True)
            self.extremes[name] = min(least), max(most)
        if outgrown := [name for name, op in self._ops.items() if any(one.is_outgrown for one in op.counters)]:
            self._run_again(feeds, outgrown)
        for op in self._ops.values():
            for one in op.counters:
                one.end_run()

    def _run_again(self, feeds: Mapping[str, NDArray[Any]], outgrown: list[str]) -> None:
        """Widen the range of some tensors, and count what lies beyond the range before."""
        for name in outgrown:
            counters, old = self._ops[name].counters, self._exponents[name]
            self._keep(name)
            largest = max(one.largest for one in counters)
            self._exponents[name] = frexp(largest)[1]
            for one in counters:
                one.begin(self._exponents[name], old)
        every = [(name, one) for name, op in self._ops.items() for one in op.counters]
        with_ranges = [(one, one.paused(keeps_range=name in outgrown)) for name, one in every]
        self._executor.run(feeds)
        for one, before in with_ranges:
            one.resume(before)

    def _keep(self, name: str) -> None:
        """Keep what a tensor's counters hold."""
        for one in self._ops[name].counters:
            self._counted.append((name, self._exponents[name], one.found()))

    def channels(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Yield the largest finite magnitude of each channel (axis 1) of tensors of which kernels know it, by name."""
        for name, op in self._ops.items():
            if op.has_channels and op.counters:
                yield name, np.max([one.most_of_channels for one in op.counters], axis=0)

    def counts(self) -> Iterator[tuple[str, int, Counted]]:
        """Yield what was counted: the name of a tensor, the exponent of its range, and the counts.

        The counts of a tensor are the sums of its items. All counters are 0 after the last item.
        """
        for name, op in self._ops.items():
            self._keep(name)
            for one in op.counters:
                one.begin(self._exponents[name])
        counted, self._counted = self._counted, []
        yield from counted
