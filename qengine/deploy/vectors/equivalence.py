"""Proofs that a fault shows on no input: the faulty operator is the same function.

Most faults of rounding, overflow and accumulators change only what becomes of a sum, one sum at a time. If the sums of
an operator can only lie in a range, then all sums of the range decide: where the faulty code is the right one for each
of them, no input tells the two apart, and a pack is not to blame for passing it. Other proofs are of rules that an
operator of its kind does not read, of means of elements in another order, and of registers that saturate on the way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses import Hypothesis, Operation, Variant
from qengine.deploy.hypotheses.exact import Exact, activation_codes
from qengine.deploy.vectors.equal_rules import same_function
from qengine.deploy.vectors.reach import Reach
from qengine.deploy.vectors.sums import Sums
from qengine.deploy.vectors.taps import Taps
from qengine.errors import QEngineError
from qengine.model.steps import Mean
from qengine.model.steps.forms import AxisSum
from qengine.runtime.plan.plan import BoundStep

Array = NDArray[Any]

_FAMILIES = ("rounding", "overflow", "accumulator", "activation")
"""Families of faults that look at one sum at a time."""

_FAULTS_OF_COMPUTING = (QEngineError, ValueError, IndexError, AssertionError, OverflowError, TypeError)


@dataclass(frozen=True)
class Proofs:
    """The facts of an operator from which it may follow that no input shows a fault.

    Attributes
    ----------
    bound_step : the operator.
    sums, reach : exact numbers of any input, and limits of the operator.
    taps : taps of a linear operator.
    random : operands of random codes; none where there are none.
    """

    bound_step: BoundStep
    sums: Sums | None
    reach: Reach
    taps: Taps | None
    random: tuple[Array, ...]

    def hidden(self, faults: list[Hypothesis]) -> set[str]:
        """Return the names of those of some faults that no input shows."""
        checks = (
            self._has_equal_numbers,
            self._has_equal_sums,
            self._has_equal_rules,
            self._only_reorders,
            self._ends_beyond,
        )
        found = set()
        for fault in faults:
            for check in checks:
                try:
                    with np.errstate(all="ignore"):
                        is_hidden = check(fault)
                except _FAULTS_OF_COMPUTING:
                    is_hidden = False
                if is_hidden:
                    found.add(fault.name)
                    break
        return found

    def _has_equal_numbers(self, fault: Hypothesis) -> bool:
        """Whether a fault gives an operator the number that it has: pads of 0 where that is the least code, a count.

        The least code, which symmetric saturation leaves out, may be below an activation. Bounds on sums are those on
        codes, as rounding keeps the order of numbers.
        """
        step, sums = self.bound_step.step, self.sums
        if fault.name == "pad:least":
            return step.operands[0].one_format.word().least == 0
        if fault.name == "overflow:symmetric" and sums is not None:
            return sums.word.overflow == "saturate" and (sums.low > sums.word.least or not sums.word.signed)
        if fault.name == "activation:before_rounding" and sums is not None:
            shift = np.asarray(sums.shift)
            is_plain = bool(np.all(shift >= 0) and np.all(shift <= 40) and np.all(np.asarray(sums.count) == 1))
            return sums.word.overflow == "saturate" and is_plain
        if fault.family != "mean" or not isinstance(step, Mean) or not self.random:
            return False
        faulty = fault.variant(Variant.of(Operation(self.bound_step, self.random)))
        if faulty is None or not isinstance(faulty.step, Mean) or faulty.step is step:
            return False
        counts = [np.asarray(one.count() if callable(one.count) else one.count) for one in (step, faulty.step)]
        return faulty.step.total is step.total and bool(np.all(counts[0] == counts[1]))

    def _has_equal_sums(self, fault: Hypothesis) -> bool:
        """Whether a fault that looks at one sum at a time gives the right code for every sum."""
        if self.sums is None or not self.reach.parts or fault.family not in _FAMILIES:
            return False
        if fault.is_structural and fault.family != "activation":
            return False
        if fault.name.startswith("accumulator:saturate_") and self.sums.word.overflow == "saturate":
            return self._is_equal(fault, self._ends(int(fault.name.rpartition("_")[2])))
        return self.reach.is_short and all(self._is_equal(fault, exact) for exact in self._every_sum())

    def _exact(self, every: Sums) -> Exact:
        low, high = activation_codes(self.bound_step.step, self.bound_step.output)
        return Exact(every.accumulators, int(every.shift), divisor=int(every.count), low=low, high=high)

    def _every_sum(self) -> list[Exact]:
        assert self.sums is not None
        return [self._exact(every) for every in self.reach.every(self.sums)]

    def _ends(self, bits: int) -> Exact:
        """Return the ends of all parts and the rails of a register: codes that saturate are in the order of sums."""
        assert self.sums is not None
        parts = self.reach.parts
        rails = np.array([-(1 << (bits - 1)), (1 << (bits - 1)) - 1])
        each = [np.concatenate([[p.least, p.most], np.clip(rails, p.least, p.most)]) for p in parts]
        shifts = [np.full(4, p.fraction_bits - self.sums.fraction_bits_out) for p in parts]
        counts = [np.full(4, p.count) for p in parts]
        exact = self._exact(replace(self.sums, accumulators=np.zeros(1, np.int64), fraction_bits=0, count=1))
        return replace(exact, sums=np.concatenate(each), shift=np.concatenate(shifts), divisor=np.concatenate(counts))

    def _is_equal(self, fault: Hypothesis, exact: Exact) -> bool:
        """Whether a fault gives the right code for some sums."""
        operation = Operation(self.bound_step, ())
        operation._kept[()] = exact
        right = Variant.of(operation)
        faulty = fault.variant(right)
        if faulty is None:  # it changes no sum of the range, or there is no bias to be before
            return fault.family != "activation"
        if faulty.run is not None or faulty.own_epilogue.bounds == "products":  # which looks at sums without bias
            return False
        if faulty.structure:
            low, high = activation_codes(faulty.step, faulty.output)
            operation._kept[faulty.structure] = replace(exact, low=low, high=high)
        return np.array_equal(faulty.codes(), right.codes())

    def _has_equal_rules(self, fault: Hypothesis) -> bool:
        """Whether a fault changes only rules, to others by which the operator computes the same."""
        if not self.random or fault.family not in ("rounding", "overflow", "mean", "table", "target", "add", "bias"):
            return False
        right = Variant.of(Operation(self.bound_step, self.random))
        faulty = fault.variant(right)
        if faulty is None or faulty.step is not right.step or faulty.operands is not right.operands:
            return False
        if faulty.epilogue is not None or faulty.change_bias is not None or faulty.arithmetic == right.arithmetic:
            return False
        return same_function(self.bound_step, self.sums, self.reach, faulty.arithmetic)

    def _only_reorders(self, fault: Hypothesis) -> bool:
        """Whether a fault only reorders elements of which an operator takes the sum."""
        step = self.bound_step.step
        if not self.random or fault.family != "input" or not isinstance(step, Mean):
            return False
        axes = step.total.axes if isinstance(step.total, AxisSum) else tuple(range(2, len(step.x.shape)))
        summed = {axis % len(step.x.shape) for axis in axes}
        kept = [axis for axis in range(len(step.x.shape)) if axis not in summed]
        if prod(step.shape) != prod(step.x.shape[axis] for axis in kept):
            return False
        faulty = fault.variant(Variant.of(Operation(self.bound_step, self.random)))
        if faulty is None or faulty.run is not None or faulty.operands[0].shape != self.random[0].shape:
            return False

        def in_order(x: Array) -> Array:
            return np.sort(x.transpose(*kept, *sorted(summed)).reshape(*(x.shape[a] for a in kept), -1), axis=-1)

        return np.array_equal(in_order(faulty.operands[0]), in_order(self.random[0]))

    def _ends_beyond(self, fault: Hypothesis) -> bool:
        """Whether a register that saturates at every step never does so before a visible end.

        A sum that reaches a rail R has used taps that raise it by R minus the bias. They lower it no more, so that it
        ends at least at R plus the least that the other taps can add. If that is beyond the last code of the output,
        the output saturates on any register. One sum does not reach both rails where all taps move it by less than
        2 R, or each way by less than the 3 R that the taps up to one rail and from there to the other one need.
        """
        match = re.fullmatch(r"accumulator:saturate_([0-9]+)_channels_(first|last)", fault.name)
        taps, sums = self.taps, self.sums
        if match is None or taps is None or sums is None or sums.word.overflow != "saturate" or np.any(taps.shift < 0):
            return False
        word = self.bound_step.step.operands[0].one_format.word()
        ends = taps.weights[..., None] * np.array([word.least, word.most])
        up, down = ends.max(axis=3).sum(axis=2)[..., None], ends.min(axis=3).sum(axis=2)[..., None]
        bias, shift, rail = taps.bias, np.clip(taps.shift, 0, 62), 1 << (int(match[1]) - 1)
        ratio = min(word.most, -word.least) / max(word.most, -word.least)
        after_high = rail - 1 + down + np.floor(ratio * (rail - 1 - bias)).astype(np.int64)
        after_low = -rail + up + np.ceil(ratio * (-rail - bias)).astype(np.int64)
        is_hidden = (after_high >> shift >= sums.high) & (-(-after_low >> shift) <= sums.low)
        is_one_rail = (up - down + np.abs(bias) < 2 * rail) | (
            np.maximum(up, -down) < ratio * (3 * rail - np.abs(bias))
        )
        return bool(np.all(is_hidden & is_one_rail))
