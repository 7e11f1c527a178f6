"""Checks of each tensor of a dump by itself.

Every operator is computed again from the codes that the dump has for its inputs. What differs then is an error of its
own; what only differs from a clean run was inherited. Where the dump lacks a tensor it is computed from those before
it, so that the operators between two dumped tensors are checked together: they are a *span*.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.compare.decoding import Decoded, Habit, decode
from qengine.deploy.compare.layouts import PLAIN_CHANNELS, REVERSED
from qengine.deploy.compare.matching import Matches
from qengine.deploy.compare.subject import Reference, compute
from qengine.errors import DumpError
from qengine.model.steps import Move, Tensor
from qengine.model.steps.forms import Bounded
from qengine.runtime.plan.plan import BoundStep

Array = NDArray[Any]


@dataclass(eq=False)
class Checked:
    """A tensor of the dump with the codes that it should have.

    Attributes
    ----------
    tensor : tensor of the model.
    step : step that computes it; None for an input.
    found : codes of the dump.
    recomputed : codes that the dump's own inputs give.
    expected : codes of a clean run.
    decoded : the codes with the way in which they were read.
    by : "name", "number" or "size", by which the tensor was matched.
    span : names of the tensors since the dumped ones before it, inputs included, itself the last.
    """

    tensor: Tensor
    step: BoundStep | None
    found: Array
    recomputed: Array
    expected: Array
    decoded: Decoded
    by: str
    span: tuple[str, ...] = ()

    @property
    def own(self) -> int:
        """The number of codes that differ from what the dump's own inputs give."""
        return int(np.count_nonzero(self.found != self.recomputed))

    @property
    def differing(self) -> int:
        """The number of codes that differ from those of a clean run."""
        return int(np.count_nonzero(self.found != self.expected))


@dataclass(eq=False)
class Checks:
    """All tensors of a sample of a dump, checked.

    Attributes
    ----------
    reference : codes of a clean run.
    tensors : checked tensors by name, in the order in which they are computed.
    arrays : codes as the device had them: those of the dump, and computed ones where it has none.
    steps : steps by the name of their output, as they were checked.
    problems : why a tensor could not be read, by name.
    """

    reference: Reference
    tensors: dict[str, Checked] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    steps: dict[str, BoundStep] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def own(self) -> list[Checked]:
        """The tensors with errors of their own, in order."""
        return [one for one in self.tensors.values() if one.own]

    @property
    def inherited(self) -> list[Checked]:
        """The tensors that differ only because their inputs do."""
        return [one for one in self.tensors.values() if one.differing and not one.own]

    def arrays_before(self, name: str) -> dict[str, Array]:
        """Return the codes as the device had them, with the recomputed ones of a tensor in place of the dump's."""
        return {**self.arrays, name: self.tensors[name].recomputed}

    @property
    def share(self) -> float:
        """The share of codes that equal those of a clean run."""
        total = sum(one.found.size for one in self.tensors.values())
        differing = sum(one.differing for one in self.tensors.values())
        return 1.0 - differing / total if total else 0.0


def check(reference: Reference, matches: Matches, layout: str = "auto") -> Checks:
    """Check every tensor of a sample; see the module.

    Parameters
    ----------
    reference
        Codes of a clean run.
    matches
        Tensors of the dump.
    layout
        Layout of the dump; "auto" to find that of each tensor.

    Raises
    ------
    DumpError
        If no tensor can be read.
    """
    checks = _check(reference, matches, layout, Habit())
    habits = [one.decoded.habit for one in checks.tensors.values() if one.decoded.share == 1.0]
    usual = max(set(habits), key=habits.count, default=Habit())
    unclear = [one for one in checks.tensors.values() if one.decoded.share < 1.0 and one.decoded.habit != usual]
    mirrored = _mirrored(checks) if layout == "auto" else frozenset()
    if mirrored or (usual != Habit() and unclear):
        checks = _check(reference, matches, layout, usual, mirrored)
    if not checks.tensors:
        raise DumpError(next(iter(checks.problems.values())))
    return checks


def _mirrored(checks: Checks) -> frozenset[str]:
    """Return the tensors with reversed channels where others are plain: an operator reverses them, and no layout.

    Inputs do not count, as images are in either order, and neither do tensors that are the same in both.
    """
    computed = [one for one in checks.tensors.values() if one.step is not None and one.decoded.share == 1.0]
    found = [one.tensor.name for one in computed if one.decoded.layout.endswith(REVERSED)]
    plain = [one.found for one in computed if one.found.ndim >= 3 and one.tensor.name not in found]
    return frozenset(found) if any(not np.array_equal(a, a[:, ::-1]) for a in plain) else frozenset()


def _check(
    reference: Reference, matches: Matches, layout: str, habit: Habit, mirrored: frozenset[str] = frozenset()
) -> Checks:
    checks = Checks(reference)
    clean: set[str] = set()  # tensors whose codes are those of the clean run
    spans: dict[str, tuple[str, ...]] = {}
    for name, tensor in reference.tensors.items():
        step = reference.steps.get(name)
        if step is not None:
            step = _after_activation(step, reference, matches)
            checks.steps[name] = step
        expected = reference.arrays[name]
        if step is None or all(read in clean for read in step.reads):
            recomputed = expected
        else:
            recomputed = compute(step, checks.arrays)
        span = tuple(dict.fromkeys((*(n for read in (step.reads if step else ()) for n in spans.get(read, ())), name)))
        order = PLAIN_CHANNELS if name in mirrored else layout
        checked = _read(name, tensor, step, recomputed, expected, matches, checks, order, habit)
        if checked is None:
            checks.arrays[name], spans[name] = recomputed, span
        else:
            checked.span = span
            checks.tensors[name], checks.arrays[name] = checked, checked.found
            spans[name] = ()
        if checks.arrays[name] is expected or np.array_equal(checks.arrays[name], expected):
            clean.add(name)
            checks.arrays[name] = expected
    return checks


def _read(
    name: str,
    tensor: Tensor,
    step: BoundStep | None,
    recomputed: Array,
    expected: Array,
    matches: Matches,
    checks: Checks,
    layout: str,
    habit: Habit,
) -> Checked | None:
    match = matches.found.get(name)
    if match is None:
        return None
    try:
        decoded = decode(match.dumped, tensor, recomputed, habit, layout)
    except DumpError as error:
        checks.problems[name] = str(error)
        return None
    codes = np.ascontiguousarray(decoded.codes).astype(expected.dtype)
    return Checked(tensor, step, codes, recomputed, expected, decoded, match.by)


def _after_activation(step: BoundStep, reference: Reference, matches: Matches) -> BoundStep:
    """Return a step, or the activation alone that is fused into it where the dump has what the activation reads."""
    before = reference.before.get(step.output.name)
    if before is None or before not in matches.found or before not in reference.tensors:
        return step
    x, activation = reference.tensors[before], getattr(step.step, "activation", None)
    if activation is None or x.format != step.output.format:
        return step
    bounds = Move(x, Bounded(), x.shape, constants=(activation.low, activation.high))
    assert step.arithmetic is not None
    return replace(step, step=bounds, kernel=bounds.fixed(step.output, step.arithmetic))
