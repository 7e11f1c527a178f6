"""Comparison: what a comparison of a dump with a model found, as data, as JSON and in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.results import Record, Result

Array = NDArray[Any]
_BINS = 8


@dataclass(frozen=True)
class Fault:
    """The first error of its own.

    Attributes
    ----------
    tensor, operator : tensor of the dump with the error, and its operator.
    element : index of an element that differs.
    expected, found : code that the dump's own inputs give, and the one in the dump.
    """

    tensor: str
    operator: str
    element: tuple[int, ...]
    expected: int
    found: int


@dataclass(frozen=True)
class Cause:
    """Explanation of the first error.

    Attributes
    ----------
    name : name of the hypothesis, such as "rounding:floor"; two with a plus sign between them.
    sentence : the fault in words.
    operator, tensor : operator that has the fault, and the tensor that it computes.
    explained : share of the differing codes that it gives.
    broken : number of right codes that it would make wrong.
    equally_good : names of other hypotheses that give the same codes.
    decided_by : vectors that would decide between them, by name of the other hypothesis.
    same_always : others for which no vector was found that would decide.
    by_hand : an element worked out.
    also : tensors whose own errors it explains as well.
    targets : bundled targets whose rules give all codes too.
    """

    name: str
    sentence: str
    operator: str
    tensor: str
    explained: float
    broken: int = 0
    equally_good: tuple[str, ...] = ()
    decided_by: dict[str, str] = field(default_factory=dict)
    same_always: tuple[str, ...] = ()
    by_hand: str = ""
    also: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether it gives every code, and no other hypothesis does."""
        return self.explains_all and not self.equally_good

    @property
    def explains_all(self) -> bool:
        """Whether it gives every code."""
        return self.explained == 1.0 and not self.broken


@dataclass(frozen=True, eq=False)
class TensorResult:
    """A tensor of the dump, compared with the model's.

    Attributes
    ----------
    name, operator, format : tensor of the model, what computes it, and its format.
    codes : number of codes.
    differing, own : codes that differ from a clean run, and from what the dump's own inputs give.
    largest : largest difference of the own errors; of all where there are none.
    differences : number of codes by difference, in steps of the last bit.
    read : way in which the dump was read, "" for codes in the model's layout.
    matched_by : "name", "number" or "size".
    """

    name: str
    operator: str
    format: str
    codes: int
    differing: int
    own: int
    largest: int
    differences: dict[int, int]
    read: str = ""
    matched_by: str = "name"

    @property
    def is_inherited(self) -> bool:
        """Whether it differs only because its inputs do."""
        return bool(self.differing) and not self.own

    def record(self) -> Record:
        """Return the tensor for a JSON object."""
        return {
            "name": self.name,
            "operator": self.operator,
            "format": self.format,
            "codes": self.codes,
            "differing": self.differing,
            "own": self.own,
            "largest": self.largest,
            "differences": {str(k): n for k, n in self.differences.items()},
            "read": self.read,
            "matched_by": self.matched_by,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """Result of a comparison.

    Attributes
    ----------
    equal : whether every code of the dump is right.
    tensors : tensors of the dump in the order in which they are computed.
    first : first error of its own; None where there is none.
    cause : explanation of that error; None where there is none.
    sample : name of the sample of which the dump is.
    samples : number of samples that were compared.
    missing : tensors of the model that the dump lacks.
    unread : tensors whose numbers in the dump cannot be theirs; notes say why.
    unmatched : names in the dump that the model does not have.
    notes : remarks, such as how the dump was read.
    tried : number of hypotheses that were tried.
    maps : codes that differ, found less expected, of tensors with errors, for a heat map.
    """

    equal: bool
    tensors: tuple[TensorResult, ...]
    first: Fault | None = None
    cause: Cause | None = None
    sample: str = ""
    samples: int = 1
    missing: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tried: int = 0
    maps: dict[str, Array] = field(default_factory=dict, repr=False)

    @property
    def inherited(self) -> tuple[str, ...]:
        """The names of the tensors that differ only because their inputs do."""
        return tuple(one.name for one in self.tensors if one.is_inherited)

    @property
    def own(self) -> tuple[str, ...]:
        """The names of the tensors with errors of their own."""
        return tuple(one.name for one in self.tensors if one.own)

    @property
    def explained(self) -> float:
        """The share of the differing codes of the first error that the cause gives."""
        return 0.0 if self.cause is None else self.cause.explained

    @property
    def sentence(self) -> str:
        """The answer in one paragraph."""
        return _sentence(self)

    @property
    def summary(self) -> str:
        """The answer in one paragraph."""
        return self.sentence

    def records(self) -> list[Record]:
        """Return a row for each tensor of the dump."""
        return [one.record() for one in self.tensors]

    def record(self) -> Record:
        """Return everything but the maps for a JSON object."""
        cause = self.cause
        first = None if self.first is None else {**vars(self.first), "element": list(self.first.element)}
        return {
            "equal": self.equal,
            "first": first,
            "cause": None if cause is None else cause.name,
            "explained": self.explained,
            "explained_completely": cause is not None and cause.is_complete,
            "broken": 0 if cause is None else cause.broken,
            "sentence": self.sentence,
            "operator": None if cause is None else cause.operator,
            "equally_good": [] if cause is None else list(cause.equally_good),
            "decided_by": {} if cause is None else cause.decided_by,
            "same_for_every_input": [] if cause is None else list(cause.same_always),
            "by_hand": "" if cause is None else cause.by_hand,
            "also_explains": [] if cause is None else list(cause.also),
            "targets": [] if cause is None else list(cause.targets),
            "inherited": list(self.inherited),
            "own": list(self.own),
            "sample": self.sample,
            "samples": self.samples,
            "missing": list(self.missing),
            "unread": list(self.unread),
            "unmatched": list(self.unmatched),
            "notes": list(self.notes),
            "tried": self.tried,
            "tensors": [one.record() for one in self.tensors],
        }


def differences_of(found: Array, expected: Array) -> tuple[int, dict[int, int]]:
    """Return the largest difference, and the number of codes by difference, the most frequent ones."""
    difference = found.astype(np.int64) - expected.astype(np.int64)
    values, counts = np.unique(difference[difference != 0], return_counts=True)
    if not values.size:
        return 0, {}
    most = np.sort(np.argsort(-counts, kind="stable")[:_BINS])
    return int(np.abs(values).max()), {int(values[i]): int(counts[i]) for i in most}


def _sentence(result: Comparison) -> str:
    codes = sum(one.codes for one in result.tensors)
    if result.first is None:
        if result.equal:
            return f"Equal: all {codes:,} codes of {_counted(len(result.tensors), 'tensor')}."
        names = [one.name for one in result.tensors if one.differing] or list(result.unread)
        listed = ", ".join(f"'{name}'" for name in names[:4]) + (", ..." if names[4:] else "")
        found = "cannot be read" if result.unread and result.unread[0] in names else "differ" + "s" * (len(names) == 1)
        return f"{_counted(len(names), 'tensor')} {found} ({listed}), and no operator has an error of its own."
    tensor = next(one for one in result.tensors if one.name == result.first.tensor)
    start = (
        f"{tensor.name} ({tensor.operator}): {tensor.own:,} of {tensor.codes:,} codes differ, {_by_how_much(tensor)}"
    )
    cause = result.cause
    if cause is None:
        return f"{start}: no hypothesis explains them ({result.tried:,} were tried)."
    where = "" if cause.tensor == tensor.name else f" of {cause.operator} ('{cause.tensor}', which the dump lacks)"
    others = [name for name in cause.equally_good if name not in cause.same_always]
    same = ", ".join(cause.same_always)
    if not cause.explains_all:
        left = round(tensor.own * (1 - cause.explained))
        breaks = f", and {_counted(cause.broken, 'right code')} would be wrong" if cause.broken else ""
        text = f"best explained by {cause.sentence}{where} ({cause.name}): {cause.explained:.1%} of them; "
        text += f"{_counted(left, 'code')} remain{breaks}"
    elif others:
        listed = ", ".join(others[:6]) + (f" and {len(others) - 6} more" if len(others) > 6 else "")
        text = (
            f"{cause.sentence}{where} ({cause.name}) explains every code, and so does {listed}: this dump cannot tell"
        )
    else:
        text = (
            f"{'every code is explained' if same else 'explained completely'} by {cause.sentence}{where} ({cause.name})"
        )
        text += f"; {same} would give the same codes here for every input" if same else ""
    if cause.by_hand:
        text += f". {cause.by_hand}"
    decided = next(iter(cause.decided_by.values()), "")
    if others and decided:
        text += f". To decide: {decided}"
    return f"{start}: {text}."


def _by_how_much(tensor: TensorResult) -> str:
    values = list(tensor.differences)
    if len(values) == 1:
        return f"all by {values[0]:+d} LSB"
    return f"by up to {tensor.largest:,} LSB"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
