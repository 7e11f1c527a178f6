"""Search for the cause of an operator's own errors among the hypotheses.

A hypothesis explains a fault only if it gives the very codes of the dump, the wrong and the right ones. All are tried
on a sample of the codes, and on all codes where the sample agrees. Single hypotheses come before pairs. The simplest
that explains everything is the cause; others that give the same codes are equally good, and a vector that would
decide between them is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses import Hypothesis, Operation, Variant, all_hypotheses
from qengine.errors import QEngineError
from qengine.progress import working

Array = NDArray[Any]
Place = Literal["", "operators", "inputs"]
Forward = Callable[[Array], Array]
"""Function of an operator's output that returns the codes of the dumped tensor; the identity for the tensor itself."""

_SAMPLE = 5000
_SMALL = 1500
_PARTNERS = 14
_MOST_WORK = 1 << 35
"""Multiplications that all faults of a span may take."""
_FAILURES = (QEngineError, ValueError, IndexError, AssertionError, OverflowError, TypeError)


@dataclass(frozen=True, eq=False)
class Suspect:
    """An operator that may have caused the errors of a dumped tensor.

    Attributes
    ----------
    operation : the operator and what it read.
    forward : function from its output to the dumped tensor; None where it computes the dumped tensor itself.
    work : number of multiplications of `forward` and of the operator.
    """

    operation: Operation
    forward: Forward | None = None
    work: int = 0


@dataclass(frozen=True, eq=False)
class Explanation:
    """Hypotheses that explain codes of a dumped tensor, wholly or in part.

    Attributes
    ----------
    suspect : the operator with the fault.
    hypotheses : a single hypothesis, or two.
    variant : the operator with the fault.
    codes : codes of the dumped tensor that the fault gives.
    explained : number of differing codes that it gives right.
    broken : number of right codes that it gives wrong.
    throughout : "operators" where every operator since the dumped tensors before has the fault, "inputs" where the
        inputs of the model have it too; "" for one operator.
    """

    suspect: Suspect
    hypotheses: tuple[Hypothesis, ...]
    variant: Variant
    codes: Array
    explained: int
    broken: int
    throughout: Place = ""

    @property
    def name(self) -> str:
        """The names of the hypotheses."""
        return " + ".join(h.name for h in self.hypotheses)

    @property
    def family(self) -> str:
        """The family of the first hypothesis."""
        return self.hypotheses[0].family

    @property
    def sentence(self) -> str:
        """The fault in words."""
        words = ", and ".join(h.describe(self.variant) for h in self.hypotheses)
        if not self.throughout:
            return words
        also = ", and in the inputs" if self.throughout == "inputs" else ""
        return f"{words} in every operator since the tensors that the dump has{also}"

    @property
    def rank(self) -> int:
        """The place in the order of simplicity."""
        return sum(2 * h.rank for h in self.hypotheses) + 2000 * (len(self.hypotheses) - 1) + bool(self.throughout)

    @property
    def net(self) -> int:
        """The number of codes that it explains, less those that it breaks."""
        return self.explained - self.broken


@dataclass(eq=False)
class Findings:
    """Result of a search.

    Attributes
    ----------
    complete : explanations of every code, the simplest first.
    best : the best explanation of a part; None where none explains more codes than it breaks.
    tried : number of hypotheses that were tried.
    left_out : number of those that were not, as the operators of a span would take too long.
    """

    complete: list[Explanation] = field(default_factory=list)
    best: Explanation | None = None
    tried: int = 0
    left_out: int = 0


Throughout = Callable[[Hypothesis, bool], Array | None]
"""Function that returns the codes of the dumped tensor where all operators of its span have a fault, and, if the second
argument says so, the inputs of the model too; None where that is nothing else."""

_GENERAL = ("rounding", "overflow", "accumulator", "bias", "constants", "mean", "table", "add", "target")
"""Families of faults that all operators of a device may have."""


def search(
    suspects: Sequence[Suspect],
    found: Array,
    recomputed: Array,
    throughout: Throughout | None = None,
    *,
    pairs: bool = True,
) -> Findings:
    """Return what explains the codes of a dumped tensor.

    Parameters
    ----------
    suspects
        Operators that may have a fault, one of them at a time.
    found, recomputed
        Codes of the dump, and those without a fault.
    throughout
        See `Throughout`; None where the tensor's own operator is the only one.
    pairs
        Whether two hypotheses at once are tried where no single one explains everything.
    """
    return _Search(found, recomputed).run(suspects, throughout, pairs)


class _Search:
    def __init__(self, found: Array, recomputed: Array) -> None:
        self.found, self.recomputed = found, recomputed
        differs = (found != recomputed).reshape(-1)
        wrong, right = np.flatnonzero(differs), np.flatnonzero(~differs)
        self.index = _spread(wrong, right, _SAMPLE)
        self.small = _spread(wrong, right, _SMALL)
        self.wrong = wrong.size
        self.findings = Findings()
        self.partial: list[Explanation] = []
        self.single: list[tuple[float, Suspect, Hypothesis]] = []

    def run(self, suspects: Sequence[Suspect], throughout: Throughout | None, pairs: bool) -> Findings:
        work = sum(suspect.work for suspect in suspects)
        if throughout is not None:
            self._everywhere(suspects[0], throughout, suspects[0].work if len(suspects) == 1 else work // 2)
        spent = 0
        bases = [Variant.of(suspect.operation) for suspect in suspects]
        hypotheses = all_hypotheses()
        with working("trying hypotheses|hypotheses", len(hypotheses)) as advance:
            for hypothesis in hypotheses:
                for suspect, base in zip(suspects, bases, strict=True):
                    if suspect.forward is not None and not self._is_worth(hypothesis, spent):
                        self.findings.left_out += 1
                        continue
                    self._try(suspect, base, hypothesis)
                    spent += suspect.work if suspect.forward is not None else 0
                advance(1)
        if not self.findings.complete and pairs:
            for suspect in suspects:
                if suspect.forward is None:
                    self._pairs(suspect)
        self.findings.complete.sort(key=lambda e: e.rank)
        if self.partial:
            best = max(self.partial, key=lambda e: (e.net, -e.rank))
            self.findings.best = best if best.net > 0 else None
        return self.findings

    def _try(self, suspect: Suspect, base: Variant, hypothesis: Hypothesis) -> None:
        variant = hypothesis.variant(base)
        if variant is None:
            return
        self.findings.tried += 1
        codes = self._sampled(suspect, variant, self.index)
        if codes is None:
            return
        wanted = self.found.reshape(-1)[self.index]
        usual = self.recomputed.reshape(-1)[self.index]
        equal = codes == wanted
        if np.array_equal(codes, usual):
            return
        near = float(np.minimum(np.abs(codes.astype(np.int64) - wanted), 64).mean())
        self.single.append((float(equal.mean()) - near / 128, suspect, hypothesis))
        explained, broken = (np.count_nonzero(equal & (usual != wanted)), np.count_nonzero(~equal & (usual == wanted)))
        if equal.all() or explained > broken:
            self._confirm(suspect, (hypothesis,), variant)

    def _is_worth(self, hypothesis: Hypothesis, spent: int) -> bool:
        """Whether to try a fault in one operator of a span: one that explains all in every operator may be in one."""
        complete = {one.name for one in self.findings.complete}
        return hypothesis.name in complete if complete else spent <= _MOST_WORK

    def _everywhere(self, suspect: Suspect, throughout: Throughout, work: int) -> None:
        """Try each general fault in all operators of the span, the simplest first, as far as the work allows."""
        spent = 0
        for hypothesis in all_hypotheses():
            if hypothesis.family not in _GENERAL:
                continue
            spent += work
            if spent > _MOST_WORK:
                self.findings.left_out += 1
                continue
            for with_inputs in (False, True):
                codes = throughout(hypothesis, with_inputs)
                self.findings.tried += codes is not None
                if codes is not None and codes.shape == self.found.shape:
                    place: Place = "inputs" if with_inputs else "operators"
                    self._add(suspect, (hypothesis,), Variant.of(suspect.operation), codes, place)

    def _sampled(self, suspect: Suspect, variant: Variant, index: Array) -> Array | None:
        try:
            with np.errstate(all="ignore"):
                if suspect.forward is None:
                    codes = variant.codes(index)
                    return codes if codes.shape == index.shape else None
                whole = self._forward(suspect, variant.codes())
        except _FAILURES:
            return None
        return None if whole is None else whole.reshape(-1)[index]

    def _forward(self, suspect: Suspect, codes: Array) -> Array | None:
        if codes.shape != suspect.operation.output.shape:
            return None
        if suspect.forward is None:
            return codes if codes.shape == self.found.shape else None
        fmt = suspect.operation.codes.dtype
        return suspect.forward(codes.astype(fmt))

    def _confirm(self, suspect: Suspect, hypotheses: tuple[Hypothesis, ...], variant: Variant) -> None:
        try:
            with np.errstate(all="ignore"):
                codes = self._forward(suspect, variant.codes())
        except _FAILURES:
            return
        if codes is not None:
            self._add(suspect, hypotheses, variant, codes)

    def _add(
        self,
        suspect: Suspect,
        hypotheses: tuple[Hypothesis, ...],
        variant: Variant,
        codes: Array,
        throughout: Place = "",
    ) -> None:
        equal, was_right = codes == self.found, self.recomputed == self.found
        explained, broken = int(np.count_nonzero(equal & ~was_right)), int(np.count_nonzero(~equal & was_right))
        explanation = Explanation(suspect, hypotheses, variant, codes, explained, broken, throughout)
        if explained == self.wrong and not broken:
            self.findings.complete.append(explanation)
        elif explained > broken:
            self.partial = sorted((*self.partial, explanation), key=lambda e: -e.net)[:3]

    def _pairs(self, suspect: Suspect) -> None:
        """Try two hypotheses at once: each of the most promising ones with every other."""
        mine = sorted((one for one in self.single if one[1] is suspect), key=lambda one: -one[0])
        base = Variant.of(suspect.operation)
        firsts = [h for _, _, h in mine if h.is_structural][:_PARTNERS]
        firsts += [h for _, _, h in mine if not h.is_structural][:_PARTNERS]
        seconds = [h for _, _, h in mine if not h.is_structural]
        wanted = self.found.reshape(-1)[self.small]
        seen: set[frozenset[str]] = set()
        for first in firsts:
            changed = first.variant(base)
            if changed is None:
                continue
            for second in seconds:
                key = frozenset((first.name, second.name))
                if first.family == second.family or key in seen:
                    continue
                seen.add(key)
                variant = second.variant(changed)
                codes = None if variant is None else self._sampled(suspect, variant, self.small)
                if variant is None or codes is None:
                    continue
                self.findings.tried += 1
                equal = codes == wanted
                if equal.all():
                    self._confirm(suspect, (first, second), variant)


def _spread(wrong: Array, right: Array, most: int) -> Array:
    """Return some indices of wrong and of right codes, spread evenly."""
    return np.sort(np.concatenate([_evenly(wrong, most), _evenly(right, most)]))


def _evenly(index: Array, most: int) -> Array:
    if index.size <= most:
        return index
    return index[np.linspace(0, index.size - 1, most).astype(np.int64)]
