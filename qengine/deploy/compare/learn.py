"""Learning of a target from traces: the simplest rules of each kind of operator that give every code of a dump.

Each operator whose inputs the dump has is a *case*. For each kind, roundings and overflows that give all codes of all
its cases are kept. Where none does, one more rule of the kind is tried: the register and the bias of linear operators,
the method of means, the entries of tables, the alignment of sums. What the traces leave open is said: the other
roundings that give the same codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.compare.comparison import checked_samples
from qengine.deploy.compare.dump import Dump
from qengine.deploy.compare.subject import Subject
from qengine.deploy.hypotheses import Operation, Variant
from qengine.errors import DumpError, QEngineError
from qengine.model.rules import (
    EXACT_CONSTANTS,
    NARROW_KINDS,
    AccumulatorRule,
    Arithmetic,
    BiasRule,
    Kind,
    MeanRule,
    Modes,
    Rules,
    TableRule,
)
from qengine.model.steps import Move
from qengine.qformat import Overflow, Rounding
from qengine.targets import Target, names

Array = NDArray[Any]
_WITH_CONSTANTS = ("linear", *NARROW_KINDS, "mul", "add")
_Changes = Mapping[str, Any]

_FAILURES = (QEngineError, ValueError, AssertionError, IndexError, TypeError, OverflowError)
_ROUNDINGS = sorted(Rounding, key=lambda r: r not in (Rounding.HALF_EVEN, Rounding.HALF_UP, Rounding.FLOOR))
_OVERFLOWS = sorted(Overflow, key=lambda o: o not in (Overflow.SATURATE, Overflow.WRAP))


@dataclass(frozen=True, eq=False)
class _Case:
    """An operator with the codes that it read and gave."""

    name: str
    kind: Kind
    operation: Operation
    found: Array

    def is_explained(self, changes: _Changes) -> bool:
        """Whether rules give all codes."""
        return self.wrong(changes) == 0

    def wrong(self, changes: _Changes) -> int:
        """Return the number of codes that rules do not give."""
        operation = self.operation
        arithmetic = replace(Arithmetic(islands=operation.arithmetic.islands), **changes)
        try:
            plain = Variant.of(operation)
            if set(changes) <= {"rounding", "overflow"} and operation.arithmetic == _plain(operation.arithmetic):
                codes = replace(plain, arithmetic=arithmetic).codes()
            else:
                codes = operation.step.fixed(operation.output, arithmetic)(*operation.operands)
        except _FAILURES:
            return self.found.size
        return int(np.count_nonzero(codes != self.found)) if codes.shape == self.found.shape else self.found.size


def _plain(arithmetic: Arithmetic) -> Arithmetic:
    return Arithmetic(arithmetic.rounding, arithmetic.overflow, islands=arithmetic.islands)


@dataclass(frozen=True)
class LearnedKind:
    """The rules of a kind of operator that traces show.

    Attributes
    ----------
    kind : kind of operator.
    cases : number of operators that were seen.
    changes : fields of an `Arithmetic`.
    others : further roundings and overflows that give the same codes.
    unexplained : tensors whose codes these rules do not give.
    possible : all rules that give the same codes, the simplest first.
    """

    kind: Kind
    cases: int
    changes: dict[str, Any]
    others: tuple[str, ...] = ()
    unexplained: tuple[str, ...] = ()
    possible: tuple[dict[str, Any], ...] = ()

    def nearest(self, rounding: Rounding, overflow: Overflow) -> LearnedKind:
        """Return the kind with these modes, where they give the same codes too."""
        best = next((one for one in self.possible if (one["rounding"], one["overflow"]) == (rounding, overflow)), None)
        best = self.changes if best is None else best
        others = tuple(dict.fromkeys(_words(best, one) for one in self.possible if one is not best))
        return replace(self, changes=best, others=others)


@dataclass(frozen=True, eq=False)
class Learned:
    """A target that was fitted to traces.

    Attributes
    ----------
    target : the target.
    kinds : rules of each kind that was seen.
    """

    target: Target
    kinds: tuple[LearnedKind, ...] = field(default_factory=tuple)

    @property
    def explains_all(self) -> bool:
        """Whether the target gives every code of every operator that was seen."""
        return not any(one.unexplained for one in self.kinds)

    def as_json(self) -> dict[str, Any]:
        """Return the target and what is open for a JSON object."""
        return {
            "target": self.target.record(),
            "explains_all": self.explains_all,
            "kinds": [
                {
                    "kind": one.kind,
                    "operators": one.cases,
                    "rounding": str(one.changes.get("rounding", Rounding.HALF_EVEN)),
                    "overflow": str(one.changes.get("overflow", Overflow.SATURATE)),
                    "also_possible": list(one.others),
                    "unexplained": list(one.unexplained),
                }
                for one in self.kinds
            ],
        }


def learn(subject: Subject, dump: Dump, layout: str = "auto", name: str = "learned") -> Learned:
    """Return the target with the simplest rules that give the codes of a dump.

    Parameters
    ----------
    subject
        The model, whose own rules do not matter.
    dump
        Traces of the device, with the inputs of the operators that they show.
    layout
        Order of the elements in the dump.
    name
        Name of the target.

    Raises
    ------
    DumpError
        If the dump has no operator together with its inputs.
    """
    learned = _fitted(subject, dump, layout, name)
    if any(one.unexplained and one.kind in _WITH_CONSTANTS for one in learned.kinds):
        for modes in _bundled_constants():
            other = _fitted(_with_constants(subject, modes), dump, layout, name)
            if other.explains_all:
                rules = other.target.rules
                kinds: dict[Kind, Modes] = {**rules.kinds, "constants": modes}
                return replace(other, target=replace(other.target, rules=replace(rules, kinds=kinds)))
    return learned


def _bundled_constants() -> list[Modes]:
    """Return how bundled targets encode constants, where that is not the default."""
    found = [Target.named(name).rules.modes("constants", "") for name in names()]
    return [one for one in dict.fromkeys(found) if one != EXACT_CONSTANTS]


def _with_constants(subject: Subject, modes: Modes) -> Subject:
    """Return a subject whose model has its constants encoded in another way."""
    session = subject.session
    rules = replace(session.rules, kinds={**session.rules.kinds, "constants": modes})
    options = replace(session.options, rules=rules, target=None, rounding=None, overflow=None, accumulator_bits=None)
    return Subject(session.with_options(options), subject.samples, subject.labels, subject.aliases)


def _fitted(subject: Subject, dump: Dump, layout: str, name: str) -> Learned:
    """Return the target with the simplest rules that give the codes, with the constants of the session."""
    cases = list(_cases(subject, dump, layout))
    if not cases:
        raise DumpError(f"{dump.source} has no operator together with all that it reads: dump the inputs of layers too")
    by_kind: dict[Kind, list[_Case]] = {}
    for case in cases:
        by_kind.setdefault(case.kind, []).append(case)
    kinds = tuple(_learned(kind, some) for kind, some in by_kind.items())
    general = _general(kinds)
    kinds = tuple(one.nearest(*general) for one in kinds)
    rules = replace(_rules(kinds, *general), fuses_functions=subject.session.rules.fuses_functions)
    tensors = len({case.name for case in cases})
    return Learned(
        Target(
            name,
            description=f"Rules that were learned from traces of {tensors} tensors",
            status="unverified",
            checked=f"fitted to {sum(case.found.size for case in cases):,} codes of {dump.source}",
            rules=rules,
            notes=tuple(_notes(kinds)),
        ),
        kinds,
    )


def _cases(subject: Subject, dump: Dump, layout: str) -> Iterator[_Case]:
    for sample in checked_samples(subject, dump, layout):
        for name, one in sample.checks.tensors.items():
            if (
                one.step is None
                or one.step.arithmetic is None
                or [n for n in one.span if n in sample.checks.steps] != [name]
                or isinstance(one.step.step, Move)
            ):
                continue
            arrays = {**sample.checks.arrays, name: one.recomputed}
            yield _Case(name, one.step.step.rule_kind, Operation.of(one.step, arrays), one.found)


def _learned(kind: Kind, cases: Sequence[_Case]) -> LearnedKind:
    cases = sorted(cases, key=lambda case: case.found.size)
    modes = [{"rounding": r, "overflow": o} for o, r in product(_OVERFLOWS, _ROUNDINGS)]
    found = _explaining(cases, modes)
    if not found:
        found = _explaining(cases, [{**one, **more} for more in _more(kind) for one in modes])
    if found:
        return LearnedKind(kind, len(cases), found[0], possible=tuple(found))
    best = min(modes, key=lambda one: sum(case.wrong(one) for case in cases))
    left = tuple(case.name for case in cases if not case.is_explained(best))
    return LearnedKind(kind, len(cases), best, (), left)


def _explaining(cases: Sequence[_Case], candidates: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    left = list(candidates)
    for case in cases:
        left = [one for one in left if case.is_explained(one)]
        if not left:
            break
    return left


def _more(kind: Kind) -> Iterator[dict[str, Any]]:
    """Yield further rules of a kind: those of bundled targets, then others, the simplest first."""
    yield from _bundled(kind)
    if kind in ("linear", *NARROW_KINDS):
        biases = [BiasRule(bits, "most", r) for bits in (8, 16, 20) for r in (Rounding.HALF_EVEN, Rounding.HALF_UP)]
        biases += [BiasRule(bits) for bits in (16, 20, 24, 40, 64)]
        registers = [AccumulatorRule(bits) for bits in (32, 24, 20, 16, 40, 48)]
        registers += [AccumulatorRule(bits, rounds_inside=True) for bits in (32, 16)]
        for bits in (20, 16, 24, 32):
            registers += [
                AccumulatorRule(bits, "saturate", "channels_first"),
                AccumulatorRule(bits, "saturate", "channels_last"),
            ]
        yield from ({"bias": bias} for bias in biases)
        yield from ({"accumulator": register} for register in registers)
        yield from ({"bias": bias, "accumulator": register} for bias in biases for register in registers)
    elif kind == "mean":
        for pads, method in product(
            (None, False, True), ("exact", "two_pass", "reciprocal", "shifted_count", "accumulator")
        ):
            yield {"mean": MeanRule(method, pads)}  # type: ignore[arg-type]
        yield {"mean": MeanRule("float32")}
    elif kind == "table":
        for method, entries, limit in product(("cut", "interpolated"), (256, 1024, 512, 128), (8, 4, 16)):
            yield {"table": TableRule(method, entries, limit)}  # type: ignore[arg-type]
    elif kind == "add":
        yield {"aligns": True}


def _bundled(kind: Kind) -> Iterator[dict[str, Any]]:
    """Yield the rules that bundled targets have for a kind, besides roundings and overflows, each once."""
    linear = kind in ("linear", *NARROW_KINDS)
    parts = ("bias", "accumulator") if linear else (kind,) if kind in ("mean", "table") else ()
    plain = Arithmetic()
    seen: list[dict[str, Any]] = [{}]
    for name in names():
        rules = Target.named(name).rules
        own = {part: getattr(rules, part) for part in parts if getattr(rules, part) != getattr(plain, part)}
        if own not in seen:
            seen.append(own)
            yield own


def _words(best: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    differing = [key for key in other if other[key] != best.get(key)]
    return " and ".join(f"{key} {_text(other[key])}" for key in differing)


def _text(value: Any) -> str:
    return str(value) if isinstance(value, Rounding | Overflow) else f"{value}"


def _general(kinds: Sequence[LearnedKind]) -> tuple[Rounding, Overflow]:
    """Return the rounding and overflow that give the codes of the most operators."""

    def weight(modes: tuple[Rounding, Overflow]) -> int:
        can = [any((p["rounding"], p["overflow"]) == modes for p in one.possible) for one in kinds]
        return sum(one.cases for one, possible in zip(kinds, can, strict=True) if possible)

    every = [(r, o) for o, r in product(_OVERFLOWS, _ROUNDINGS)]
    return max(every, key=lambda modes: (weight(modes), -every.index(modes)))


def _rules(kinds: Sequence[LearnedKind], rounding: Rounding, overflow: Overflow) -> Rules:
    """Return the rules of all kinds over the general ones."""
    modes: dict[Kind, Modes] = {}
    parts: dict[str, Any] = {}
    for one in kinds:
        own = one.changes["rounding"], one.changes["overflow"]
        general = (rounding, overflow)
        if one.kind in NARROW_KINDS and "linear" in modes:
            general = (modes["linear"].rounding or rounding, modes["linear"].overflow or overflow)
        if own != general:
            modes[one.kind] = Modes(own[0] if own[0] != general[0] else None, own[1] if own[1] != general[1] else None)
        for key in ("accumulator", "bias", "mean", "table"):
            if key in one.changes:
                parts[key] = one.changes[key]
        if one.changes.get("aligns"):
            parts["aligns_add"] = True
    return Rules(rounding, overflow, kinds=modes, **parts)


def _notes(kinds: Sequence[LearnedKind]) -> Iterator[str]:
    for one in kinds:
        if one.unexplained:
            listed = ", ".join(one.unexplained[:6])
            yield f"{one.kind}: no rules were found that give all codes of {listed}."
        elif one.others:
            listed = "; ".join(one.others[:6]) + (f"; {len(one.others) - 6} more" if len(one.others) > 6 else "")
            yield f"{one.kind}: the traces leave open whether it is not rather {listed}."
    seen = {one.kind for one in kinds}
    unseen = [kind for kind in ("linear", "add", "mul", "mean", "table", "convert") if kind not in seen]
    if unseen:
        yield f"The traces show nothing of {', '.join(unseen)}."
